"""The dashboard of an instance: whether it answers, since when, how fast, and its Nova status."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana import parts
from grafana.parts import Column
from grafana.project import PROJECT
from grafana.queries import ANY, Scope

__all__ = ["UID", "build"]

UID = "fping-instance"

INSTANCE = parts.variable(
    "id",
    "Instance",
    f'query_result(group by (id, name) (instance_info{{{ANY},project_id="$project"}}))',
    regex='/id="(?<value>[^"]*)".*name="(?<text>[^"]*)"/',
)

SCOPE = Scope('job=~"$job",id="$id"')
RAW = SCOPE.matchers


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        parts.new(UID, "instance", "One instance, over time.", PROJECT, INSTANCE, alerts='id="$id"')
        .with_row(Row("Now"))
        .with_panel(
            parts.single(
                "State",
                "Nova status and ping together.",
                f"{SCOPE.alive} + on (id) 2 * {SCOPE.active}",
                mappings=parts.STATE,
                span=3,
            )
        )
        .with_panel(
            parts.single(
                "Layer 2",
                "Whether its kernel answers ARP or neighbour discovery; no data while it answers pings.",
                SCOPE.of("instance_layer2_alive"),
                mappings=parts.LAYER2,
                span=3,
            )
        )
        .with_panel(
            parts.single(
                "Nova status",
                "The status that Nova reports.",
                SCOPE.info_by("status"),
                label="status",
                span=3,
            )
        )
        .with_panel(
            parts.single(
                "Reason",
                "Why it does not answer; no data while it answers.",
                SCOPE.reasons(),
                label="reason",
                span=3,
                steps=[(None, "orange")],
            )
        )
        .with_panel(
            parts.single(
                "Last reply",
                "When it last answered any exporter; no data until it has.",
                f"1000 * {SCOPE.of('instance_last_reply_timestamp_seconds')}",
                unit="dateTimeFromNow",
                span=3,
            )
        )
        .with_panel(
            parts.single(
                "Availability",
                "Share of the scrapes of the chosen time at which it was answering.",
                f"max by (id) (avg_over_time(instance_alive{{{RAW}}}[$__range]))",
                unit="percentunit",
                steps=[(None, "red"), (0.95, "orange"), (0.999, "green")],
                span=3,
            )
        )
        .with_panel(
            parts.single(
                "Hypervisor", "Where Nova runs it.", SCOPE.info_by("hypervisor"), label="hypervisor", span=3
            )
        )
        .with_panel(parts.exporters_healthy(span=3))
        .with_row(Row("Over time"))
        .with_panel(
            parts.timeline(
                "State",
                "Nova status and ping. A gap: no exporter could ask the instance, or there was none.",
                {"{{name}}": SCOPE.state("name")},
                mappings=parts.STATE,
                height=5,
            )
        )
        .with_panel(
            parts.series(
                "Round trip",
                "Best round trip of each sweep, by exporter. A gap: the instance was silent.",
                {"{{instance}}": f"instance_rtt_seconds{{{RAW}}}"},
                unit="s",
            )
        )
        .with_panel(
            parts.series(
                "Sweeps with packet loss",
                "Share of the sweeps of half an hour that it answered and that lost packets to its best"
                " address; of several exporters, the one with the fewest losses.",
                {"with loss": SCOPE.lossy("30m")},
                unit="percentunit",
                maximum=1,
                steps=[(None, "green"), (0.1, "orange")],
            )
        )
        .with_row(Row("Nova"))
        .with_panel(
            parts.tabular(
                "Instance",
                "Nova's data, as each exporter has it. The exporter's name links to its page.",
                keys=[
                    "instance",
                    "name",
                    "status",
                    "power_state",
                    "task_state",
                    "hypervisor",
                    "availability_zone",
                    "addresses",
                ],
                columns=[
                    Column(
                        "info",
                        # The page of one of several clouds is HOST:PORT/clouds/NAME.
                        "label_replace(label_join(group by (instance, cloud, name, status, power_state,"
                        f" task_state, hypervisor, availability_zone, addresses) (instance_info{{{RAW}}}),"
                        ' "instance", "/clouds/", "instance", "cloud"), "instance", "$1", "instance",'
                        ' "(.*)/clouds/")',
                    )
                ],
                hide=["info"],
                links={"instance": "http://${__data.fields.instance}/instance/${id}"},
                span=24,
                height=5,
            )
        )
    )
