"""One project: its instances, each over time."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana import parts
from grafana.parts import Column
from grafana.queries import Scope, count

__all__ = ["PROJECT", "UID", "build"]

UID = "fping-project"

PROJECT = parts.variable(
    "project",
    "Project",
    'query_result(group by (project_id, name) (project_info{job=~"$job"}) or on (project_id) label_replace('
    'group by (project_id) (instance_info{job=~"$job"}), "name", "$1", "project_id", "(.*)"))',
    regex='/name="(?<text>[^"]*)".*project_id="(?<value>[^"]*)"/',
)

SCOPE = Scope('job=~"$job",project_id="$project"')


def build() -> Dashboard:
    """Put it together."""
    return (
        parts.new(UID, "project", "The instances of one project, beside what a ping says of them.", PROJECT)
        .with_row(Row("Now"))
        .with_panel(
            parts.single("Instances", "All that Nova lists in the project.", count(SCOPE.info_by()), span=6)
        )
        .with_panel(
            parts.single(
                "Answer",
                "Instances of which any address answered the last sweep of any exporter.",
                count(f"{SCOPE.alive} == 1"),
                steps=[(None, "green")],
                span=6,
            )
        )
        .with_panel(
            parts.single(
                "ACTIVE, and silent",
                "Nova calls them ACTIVE, and no exporter that can reach them gets an answer.",
                count(SCOPE.dead),
                steps=parts.GOOD_IS_ZERO,
                span=6,
            )
        )
        .with_panel(
            parts.single(
                "Off, and answering",
                "Nova does not call them ACTIVE, and still they answer.",
                count(SCOPE.haunted),
                steps=[(None, "green"), (1, "orange")],
                span=6,
            )
        )
        .with_panel(
            parts.tabular(
                "Instances",
                "Every instance, with Nova's status, what the last sweep brought, and when it answered last.",
                keys=["name", "id", "status", "hypervisor"],
                columns=[
                    Column("info", SCOPE.info_by("name", "status", "hypervisor")),
                    Column("ping", SCOPE.alive, mappings=parts.ANSWER),
                    Column("round trip", SCOPE.of("instance_rtt_seconds", how="min"), unit="s"),
                    Column(
                        "lost",
                        SCOPE.of("instance_packet_loss_ratio", how="min"),
                        unit="percentunit",
                        steps=[(None, "text"), (0.1, "orange"), (1, "red")],
                    ),
                    Column(
                        "last answer",
                        f"1000 * {SCOPE.of('instance_last_reply_timestamp_seconds')}",
                        unit="dateTimeFromNow",
                    ),
                ],
                hide=["info"],
                links={"id": parts.link("fping-instance", "project", id="id")},
                span=24,
            )
        )
        .with_row(Row("Over time"))
        .with_panel(
            parts.timeline(
                "Nova's word and the ping's",
                "Off: not ACTIVE, and silent. A gap: no exporter could reach it, or none was there.",
                # Prometheus sorts series by their labels: this one, the first, by name.
                {"{{name}}": f'label_replace({SCOPE.state("name")}, "_", "$1", "name", "(.*)")'},
                mappings=parts.STATE,
                height=14,
            )
        )
        .with_panel(
            parts.series(
                "Slowest round trips",
                "The ten instances that once had the longest best round trip in the chosen time.",
                {"{{name}}": _top("instance_rtt_seconds", "max_over_time")},
                unit="s",
            )
        )
        .with_panel(
            parts.series(
                "Most packets lost",
                "The ten instances that lost most packets to their best address, of those that answered"
                " in the chosen time; 100 % is silence.",
                {"{{name}}": _top("instance_packet_loss_ratio", "avg_over_time", below=" < 1")},
                unit="percentunit",
                maximum=1,
                steps=[(None, "green"), (0.1, "orange"), (1, "red")],
            )
        )
        .with_panel(
            parts.series(
                "Instances by status",
                "As Nova calls them.",
                {"{{status}}": f"count by (status) ({SCOPE.info_by('status')})"},
                stacked=True,
            )
        )
        .with_panel(
            parts.series(
                "Silent, by reason",
                "Instances that no exporter hears, by the reason that the exporters give.",
                {"{{reason}}": f"count by (reason) ({SCOPE.reasons()})"},
                stacked=True,
            )
        )
    )


def _top(metric: str, over_time: str, *, below: str = "") -> str:
    """Return the ten series that have most over all of the chosen time, so that they stay the same ten."""
    over = f"{over_time}({metric}{{{SCOPE.matchers}}}[$__range] @ end())"
    return (
        f"{SCOPE.of(metric, how='min')} * on (id) group_left (name) {SCOPE.info_by('name')}"
        f" and on (id) topk(10, min by (id) ({over}){below})"
    )
