"""The exporters themselves: is what they say young, and what does it cost."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana import parts
from grafana.parts import Column

__all__ = ["UID", "build"]

UID = "fping-exporter"

EXPORTERS = parts.variable("exporter", "Exporter", 'label_values(up{job=~"$job"}, instance)', every=True)

IT = 'job=~"$job",instance=~"$exporter"'
YES = parts.values({"0": ("no", "red"), "1": ("yes", "green")})


def build() -> Dashboard:
    """Put it together."""
    return (
        parts.new(UID, "exporters", "The exporters' own health.", EXPORTERS)
        .with_row(Row("Now"))
        .with_panel(
            parts.tabular(
                "Exporters",
                "Whether each is scraped, shows results, and could do its last work; and how old that is.",
                keys=["instance", "version"],
                columns=[
                    Column("build", f"group by (instance, version) (fping_exporter_build_info{{{IT}}})"),
                    Column("scraped", f"max by (instance) (up{{{IT}}})", mappings=YES),
                    Column("results", f"max by (instance) (fping_exporter_up{{{IT}}})", mappings=YES),
                    Column(
                        "list good",
                        f"max by (instance) (fping_exporter_inventory_success{{{IT}}})",
                        mappings=YES,
                    ),
                    Column(
                        "list age",
                        "time() - max by (instance)"
                        f" (fping_exporter_inventory_last_success_timestamp_seconds{{{IT}}})",
                        unit="s",
                        steps=[(None, "green"), (240, "orange"), (480, "red")],
                    ),
                    Column(
                        "sweep good",
                        f"max by (instance) (fping_exporter_sweep_success{{{IT}}})",
                        mappings=YES,
                    ),
                    Column(
                        "sweep age",
                        "time() - max by (instance)"
                        f" (fping_exporter_sweep_last_success_timestamp_seconds{{{IT}}})",
                        unit="s",
                        steps=[(None, "green"), (120, "orange"), (180, "red")],
                    ),
                    Column(
                        "config good",
                        f"max by (instance) (fping_exporter_config_last_reload_successful{{{IT}}})",
                        mappings=YES,
                    ),
                    Column(
                        "config read",
                        "1000 * max by (instance)"
                        f" (fping_exporter_config_last_reload_success_timestamp_seconds{{{IT}}})",
                        unit="dateTimeFromNow",
                    ),
                ],
                hide=["build"],
                span=24,
                height=6,
            )
        )
        .with_row(Row("Sweeps"))
        .with_panel(
            parts.series(
                "Sweep takes",
                "From the first packet until the last reply, or the last wait is over.",
                {"{{instance}}": f"fping_exporter_sweep_duration_seconds{{{IT}}}"},
                unit="s",
                span=8,
            )
        )
        .with_panel(
            parts.series(
                "Targets",
                "Addresses that a sweep asks.",
                {"{{instance}}": f"fping_exporter_sweep_targets{{{IT}}}"},
                span=8,
            )
        )
        .with_panel(
            parts.series(
                "Packets",
                "Echo requests sent and replies counted, of all chosen exporters.",
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
                "Came in, and were not counted as replies: forged, late, twice, or another program's.",
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
                "Scrape takes",
                "As Prometheus sees it; the scrape that finds a sweep too old waits for the next.",
                {"{{instance}}": f"scrape_duration_seconds{{{IT}}}"},
                unit="s",
                steps=[(None, "green"), (10, "orange"), (15, "red")],
            )
        )
        .with_row(Row("OpenStack"))
        .with_panel(
            parts.series(
                "List takes",
                "To list all instances and what belongs to them.",
                {"{{instance}}": f"fping_exporter_inventory_duration_seconds{{{IT}}}"},
                unit="s",
                span=6,
            )
        )
        .with_panel(
            parts.series(
                "Instances",
                "On the newest complete list, after the selection of the configuration.",
                {"{{instance}}": f"fping_exporter_inventory_instances{{{IT}}}"},
                span=6,
            )
        )
        .with_panel(
            parts.series(
                "Answers of OpenStack",
                "By service and HTTP status; 4xx and 5xx are refusals.",
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
                "Optional parts of the list",
                "What the credentials may see besides the instances, and whether it could be had.",
                keys=["instance", "part"],
                columns=[
                    Column(
                        "had",
                        f"max by (instance, part) (fping_exporter_part_success{{{IT}}})",
                        mappings=YES,
                    )
                ],
                span=6,
                height=8,
            )
        )
        .with_row(Row("Process"))
        .with_panel(
            parts.series(
                "Memory",
                "Resident.",
                {"{{instance}}": f"process_resident_memory_bytes{{{IT}}}"},
                unit="bytes",
                span=8,
            )
        )
        .with_panel(
            parts.series(
                "CPU",
                "Share of one core.",
                {"{{instance}}": f"rate(process_cpu_seconds_total{{{IT}}}[$__rate_interval])"},
                unit="percentunit",
                span=8,
            )
        )
        .with_panel(
            parts.series(
                "Open files",
                "Sockets among them, as a share of what is allowed.",
                {"{{instance}}": f"process_open_fds{{{IT}}} / process_max_fds{{{IT}}}"},
                unit="percentunit",
                span=8,
            )
        )
    )
