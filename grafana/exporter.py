"""The dashboard of the exporters: whether their results are fresh, and what they cost."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models.dashboard import ValueMap

from grafana import parts
from grafana.parts import Column
from grafana.queries import ANY, PROCESS

__all__ = ["UID", "build"]

UID = "fping-exporter"

EXPORTERS = parts.variable("exporter", "Exporter", f"label_values(up{{{ANY}}}, instance)", every=True)

IT = f'{ANY},instance=~"$exporter"'
ITS_PROCESS = f'{PROCESS},instance=~"$exporter"'
YES = parts.values({"0": ("no", "red"), "1": ("yes", "green")})


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        parts.new(
            UID,
            "exporters",
            "The health of the exporters.",
            EXPORTERS,
            alerts='alertname=~"FpingExporter.+"',
        )
        .with_row(Row("Now"))
        .with_panel(
            parts.tabular(
                "Exporters",
                "Whether each is scraped and has results; success and age of its last listing and sweep; "
                "whether it is blind, so that silence says nothing of an instance. Of several clouds, each "
                "has a row.",
                keys=["instance", "cloud"],
                columns=[
                    _newest("scraped", "up", how="min", mappings=YES),
                    _newest("results", "fping_exporter_up", mappings=YES),
                    _newest("listing ok", "fping_exporter_inventory_success", mappings=YES),
                    _age("listing age", "inventory", steps=[(None, "green"), (240, "orange"), (480, "red")]),
                    _newest("sweep ok", "fping_exporter_sweep_success", mappings=YES),
                    _age("sweep age", "sweep", steps=[(None, "green"), (120, "orange"), (180, "red")]),
                    _newest(
                        "blind",
                        "fping_exporter_blind",
                        mappings=parts.values({"0": ("no", "green"), "1": ("yes", "red")}),
                    ),
                    _newest("state stored", "fping_exporter_state_success", mappings=YES),
                ],
                span=16,
                height=6,
            )
        )
        .with_panel(
            parts.tabular(
                "Processes",
                "The version that runs, and whether the configuration could be read when it last changed.",
                keys=["instance", "version"],
                columns=[
                    Column(
                        "build", f"group by (instance, version) (fping_exporter_build_info{{{ITS_PROCESS}}})"
                    ),
                    Column(
                        "config ok",
                        f"max by (instance) (fping_exporter_config_last_reload_successful{{{ITS_PROCESS}}})",
                        mappings=YES,
                    ),
                    Column(
                        "config loaded",
                        "1000 * max by (instance)"
                        f" (fping_exporter_config_last_reload_success_timestamp_seconds{{{ITS_PROCESS}}})",
                        unit="dateTimeFromNow",
                    ),
                ],
                hide=["build"],
                span=8,
                height=6,
            )
        )
        .with_row(Row("Sweeps"))
        .with_panel(
            parts.series(
                "Sweep duration",
                "From the first packet until the last reply or timeout.",
                {"{{instance}} {{cloud}}": f"fping_exporter_sweep_duration_seconds{{{IT}}}"},
                unit="s",
                span=8,
            )
        )
        .with_panel(
            parts.series(
                "Targets",
                "Addresses that a sweep pings.",
                {"{{instance}} {{cloud}}": f"fping_exporter_sweep_targets{{{IT}}}"},
                span=8,
            )
        )
        .with_panel(
            parts.series(
                "Packets",
                "Echo requests sent and replies counted, over all selected exporters.",
                {
                    "sent": f"sum(rate(fping_exporter_packets_sent_total{{{IT}}}[$__rate_interval]))",
                    "received": f"sum(rate(fping_exporter_packets_received_total{{{IT}}}[$__rate_interval]))",
                },
                unit="pps",
                span=8,
            )
        )
        .with_panel(
            parts.series(
                "Packets rejected",
                "Received packets that do not count as replies: wrong source, duplicate, another program's.",
                {
                    "{{reason}}": "sum by (reason)"
                    f" (rate(fping_exporter_packets_rejected_total{{{IT}}}[$__rate_interval]))"
                },
                unit="pps",
                steps=[(None, "green"), (1, "orange")],
            )
        )
        .with_panel(
            parts.series(
                "Scrape duration",
                "As Prometheus measures it. If the last sweep is too old, a scrape waits for the next one.",
                {"{{instance}} {{cloud}}": f"max by (instance, cloud) (scrape_duration_seconds{{{IT}}})"},
                unit="s",
                steps=[(None, "green"), (10, "orange"), (15, "red")],
            )
        )
        .with_row(Row("Vantages"))
        .with_panel(
            parts.tabular(
                "Vantages",
                "From where it pings, by kind: its own network namespace (local) or those of Neutron. "
                "How many have targets, how many of these can send, and the number of targets.",
                keys=["instance", "cloud", "vantage"],
                columns=[
                    Column(
                        "with targets",
                        f"max by (instance, cloud, vantage) (fping_exporter_vantages{{{IT}}})",
                    ),
                    Column(
                        "can send",
                        f"max by (instance, cloud, vantage) (fping_exporter_vantage_up{{{IT}}})",
                        steps=[(None, "red"), (1, "green")],
                    ),
                    Column(
                        "targets",
                        f"max by (instance, cloud, vantage) (fping_exporter_vantage_targets{{{IT}}})",
                    ),
                ],
                span=12,
                height=8,
            )
        )
        .with_panel(
            parts.series(
                "Vantages that cannot send",
                "They have targets, which are not asked. FpingExporterVantageLost fires after three minutes.",
                {
                    "{{instance}} {{cloud}} {{vantage}}": f"fping_exporter_vantages{{{IT}}}"
                    f" - fping_exporter_vantage_up{{{IT}}}"
                },
                steps=[(None, "green"), (1, "red")],
                span=6,
            )
        )
        .with_panel(
            parts.series(
                "Neighbour table overflows",
                "How often the kernel had no room for another neighbour during a sweep, in five minutes. "
                "Raise net.ipv4.neigh.default.gc_thresh3 to more than the addresses pinged.",
                {
                    "{{instance}} {{cloud}}": "increase"
                    f"(fping_exporter_neighbour_table_overflows_total{{{IT}}}[5m])"
                },
                steps=[(None, "green"), (1, "orange")],
                span=6,
            )
        )
        .with_row(Row("Fleet"))
        .with_panel(
            parts.tabular(
                "Readings of the fleet",
                "Only of exporters with `fleet` in their configuration: whether the last reading of what the "
                "other exporters say was completed, the age and duration of the newest complete one, and the "
                "instances in it. Partial: Prometheus warned that it may lack something.",
                keys=["instance", "cloud"],
                columns=[
                    _newest("ok", "fping_exporter_fleet_success", mappings=YES),
                    _age("age", "fleet", steps=[(None, "green"), (120, "orange"), (180, "red")]),
                    _newest("duration", "fping_exporter_fleet_duration_seconds", unit="s"),
                    _newest("instances", "fping_exporter_fleet_instances"),
                    _newest(
                        "partial",
                        "fping_exporter_fleet_partial",
                        mappings=parts.values({"0": ("no", "green"), "1": ("yes", "orange")}),
                    ),
                ],
                height=8,
            )
        )
        .with_panel(
            parts.series(
                "Exporters in the reading",
                "How many other exporters it knows of. heard: their word counts; blind: only replies to them "
                "count; stale: nothing they say counts, as it is too old.",
                {"{{instance}} {{cloud}} {{state}}": f"fping_exporter_fleet_exporters{{{IT}}}"},
            )
        )
        .with_row(Row("OpenStack"))
        .with_panel(
            parts.series(
                "Listing duration",
                "To list all instances, with projects, hypervisors and ports.",
                {"{{instance}} {{cloud}}": f"fping_exporter_inventory_duration_seconds{{{IT}}}"},
                unit="s",
                span=6,
            )
        )
        .with_panel(
            parts.series(
                "Instances",
                "In the newest complete listing, after the configuration's selection.",
                {"{{instance}} {{cloud}}": f"fping_exporter_inventory_instances{{{IT}}}"},
                span=6,
            )
        )
        .with_panel(
            parts.series(
                "OpenStack responses",
                "By service and HTTP status code.",
                {
                    "{{service}} {{code}}": "sum by (service, code)"
                    f" (rate(fping_exporter_openstack_requests_total{{{IT}}}[$__rate_interval]))"
                },
                unit="reqps",
                span=6,
            )
        )
        .with_panel(
            parts.tabular(
                "Parts of the listing",
                "What is listed, how many entries could not be read in five minutes, and whether the last "
                "list succeeded.",
                keys=["instance", "cloud", "part"],
                columns=[
                    Column(
                        "unreadable",
                        "sum by (instance, cloud, part)"
                        f" (increase(fping_exporter_entries_skipped_total{{{IT}}}[5m]))",
                        steps=[(None, "green"), (1, "orange")],
                    ),
                    Column(
                        "ok",
                        f"max by (instance, cloud, part) (fping_exporter_part_success{{{IT}}})",
                        mappings=YES,
                    ),
                ],
                span=6,
                height=8,
            )
        )
        .with_row(Row("Process"))
        .with_panel(
            parts.series(
                "Memory",
                "Resident memory.",
                {"{{instance}}": f"process_resident_memory_bytes{{{ITS_PROCESS}}}"},
                unit="bytes",
                span=8,
            )
        )
        .with_panel(
            parts.series(
                "CPU",
                "Share of one core.",
                {"{{instance}}": f"rate(process_cpu_seconds_total{{{ITS_PROCESS}}}[$__rate_interval])"},
                unit="percentunit",
                span=8,
            )
        )
        .with_panel(
            parts.series(
                "Open files",
                "Open file descriptors, sockets included, as a share of the limit.",
                {"{{instance}}": f"process_open_fds{{{ITS_PROCESS}}} / process_max_fds{{{ITS_PROCESS}}}"},
                unit="percentunit",
                span=8,
            )
        )
    )


def _newest(
    name: str, metric: str, *, how: str = "max", unit: str = "short", mappings: Sequence[ValueMap] = ()
) -> Column:
    """Return a column of a metric's newest value; `how` to aggregate the shards of an exporter."""
    return Column(name, f"{how} by (instance, cloud) ({metric}{{{IT}}})", unit=unit, mappings=mappings)


def _age(name: str, of: str, *, steps: parts.Steps) -> Column:
    """Return a column of the age of the last success of the listing, the sweep or the reading, in seconds."""
    newest = f"max by (instance, cloud) (fping_exporter_{of}_last_success_timestamp_seconds{{{IT}}})"
    return Column(name, f"time() - {newest}", unit="s", steps=steps)
