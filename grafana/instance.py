"""One instance: does it answer, since when, how fast, and what does Nova say."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana import parts
from grafana.parts import Column
from grafana.project import PROJECT
from grafana.queries import Scope

__all__ = ["UID", "build"]

UID = "fping-instance"

INSTANCE = parts.variable(
    "id",
    "Instance",
    'query_result(group by (id, name) (instance_info{job=~"$job",project_id="$project"}))',
    regex='/id="(?<value>[^"]*)".*name="(?<text>[^"]*)"/',
)

SCOPE = Scope('job=~"$job",id="$id"')
RAW = SCOPE.matchers


def build() -> Dashboard:
    """Put it together."""
    return (
        parts.new(UID, "instance", "One instance, over time.", PROJECT, INSTANCE)
        .with_row(Row("Now"))
        .with_panel(
            parts.single(
                "State",
                "Nova's word and the ping's together.",
                f"{SCOPE.alive} + on (id) 2 * {SCOPE.active}",
                mappings=parts.STATE,
            )
        )
        .with_panel(
            parts.single(
                "Nova says", "The status that Nova reports.", SCOPE.info_by("status"), label="status"
            )
        )
        .with_panel(
            parts.single(
                "Silent, because",
                "The one reason why it does not answer; empty while it answers.",
                SCOPE.reasons(),
                label="reason",
                steps=[(None, "orange")],
            )
        )
        .with_panel(
            parts.single(
                "Last answer",
                "When it answered any exporter last; empty until it has.",
                f"1000 * {SCOPE.of('instance_last_reply_timestamp_seconds')}",
                unit="dateTimeFromNow",
            )
        )
        .with_panel(
            parts.single(
                "Answered",
                "Share of the sweeps of the chosen time that it answered.",
                f"max by (id) (avg_over_time(instance_alive{{{RAW}}}[$__range]))",
                unit="percentunit",
                steps=[(None, "red"), (0.95, "orange"), (0.999, "green")],
            )
        )
        .with_panel(
            parts.single("Hypervisor", "Where Nova runs it.", SCOPE.info_by("hypervisor"), label="hypervisor")
        )
        .with_row(Row("Over time"))
        .with_panel(
            parts.timeline(
                "Nova's word and the ping's",
                "Off: not ACTIVE, and silent. A gap: no exporter could reach it, or none was there.",
                {"{{name}}": SCOPE.state("name")},
                mappings=parts.STATE,
                height=5,
            )
        )
        .with_panel(
            parts.series(
                "Round trip",
                "Best of the sweep over all its addresses, for each exporter; a gap where it was silent.",
                {"{{instance}}": f"instance_rtt_seconds{{{RAW}}}"},
                unit="s",
            )
        )
        .with_panel(
            parts.series(
                "Packets lost",
                "Of the packets to its best address, for each exporter; 100 % is silence.",
                {"{{instance}}": f"instance_packet_loss_ratio{{{RAW}}}"},
                unit="percentunit",
                maximum=1,
                steps=[(None, "green"), (0.1, "orange"), (1, "red")],
            )
        )
        .with_row(Row("What Nova says"))
        .with_panel(
            parts.tabular(
                "Instance",
                "As each exporter has it from Nova.",
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
                        "group by (instance, name, status, power_state, task_state, hypervisor,"
                        f" availability_zone, addresses) (instance_info{{{RAW}}})",
                    )
                ],
                hide=["info"],
                span=24,
                height=5,
            )
        )
    )
