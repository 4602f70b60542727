"""The cloud at a glance: who answers, who does not and why, Nova's word against the ping's."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana import parts
from grafana.parts import Column
from grafana.queries import Scope, count

__all__ = ["UID", "build"]

UID = "fping-cloud"

PROJECTS = parts.variable(
    "project",
    "Project",
    'query_result(group by (project_id, name) (project_info{job=~"$job"}) or on (project_id) label_replace('
    'group by (project_id) (instance_info{job=~"$job"}), "name", "$1", "project_id", "(.*)"))',
    regex='/name="(?<text>[^"]*)".*project_id="(?<value>[^"]*)"/',
    every=True,
)
HYPERVISORS = parts.variable(
    "hypervisor", "Hypervisor", 'label_values(instance_info{job=~"$job"}, hypervisor)', every=True
)

SCOPE = Scope('job=~"$job",project_id=~"$project"', 'hypervisor=~"$hypervisor"')
PLACED = SCOPE._replace(info='hypervisor=~"$hypervisor",hypervisor!=""')
"""Those of which the credentials may see the hypervisor."""


def build() -> Dashboard:
    """Put it together."""
    info = SCOPE.info_by("status")
    return (
        parts.new(
            UID,
            "cloud",
            "What Nova says of the instances, beside what a ping says.",
            PROJECTS,
            HYPERVISORS,
        )
        .with_row(Row("Now"))
        .with_panel(
            parts.single("Instances", "All that Nova lists, whatever their state.", count(SCOPE.info_by()))
        )
        .with_panel(
            parts.single(
                "Answer",
                "Instances of which any address answered the last sweep of any exporter.",
                count(f"{SCOPE.alive} == 1"),
                steps=[(None, "green")],
            )
        )
        .with_panel(
            parts.single(
                "ACTIVE, and silent",
                "Nova calls them ACTIVE, and no exporter that can reach them gets an answer.",
                count(SCOPE.dead),
                steps=parts.GOOD_IS_ZERO,
            )
        )
        .with_panel(
            parts.single(
                "Off, and answering",
                "Nova does not call them ACTIVE, and still they answer.",
                count(SCOPE.haunted),
                steps=[(None, "green"), (1, "orange")],
            )
        )
        .with_panel(
            parts.single(
                "Hypervisors down",
                "Hypervisors whose nova-compute does not report in. Needs the right to list them.",
                count('max by (hypervisor) (hypervisor_up{job=~"$job",hypervisor=~"$hypervisor"}) == 0'),
                steps=parts.GOOD_IS_ZERO,
            )
        )
        .with_panel(
            parts.single(
                "Oldest sweep",
                "Age of the last complete sweep, of the exporter that is farthest behind.",
                'max(time() - fping_exporter_sweep_last_success_timestamp_seconds{job=~"$job"})',
                unit="s",
                steps=[(None, "green"), (120, "orange"), (180, "red")],
            )
        )
        .with_panel(
            parts.tabular(
                "Nova's word against the ping's",
                "How many instances of each status of Nova answer, are silent, or cannot be reached from"
                " any exporter.",
                keys=["status"],
                columns=[
                    _counted("answer", f"{info} and on (id) {SCOPE.alive} == 1", "green"),
                    _counted("silent", f"{info} and on (id) {SCOPE.alive} == 0", "red"),
                    _counted("out of reach", f"{info} unless on (id) {SCOPE.alive}", "orange"),
                ],
                span=8,
                height=8,
            )
        )
        .with_panel(
            parts.series(
                "Silent, by reason",
                "Instances that no exporter hears, by the reason that the exporters give. One that two"
                " exporters give different reasons for counts for each.",
                {"{{reason}}": f"count by (reason) ({SCOPE.reasons()})"},
                stacked=True,
                span=8,
            )
        )
        .with_panel(
            parts.series(
                "Changes",
                "How many times instances fell silent or answered again, within the last four scrapes.",
                {
                    "changes": 'sum(max by (id) (changes(instance_alive{job=~"$job",project_id=~"$project"}'
                    '[$__rate_interval]) and on (id) instance_info{job=~"$job",hypervisor=~"$hypervisor"}))'
                },
                span=8,
            )
        )
        .with_row(Row("Where"))
        .with_panel(
            parts.tabular(
                "Hypervisors",
                "What nova-compute of each hypervisor says of itself, and how its instances answer.",
                keys=["hypervisor"],
                columns=[
                    Column(
                        "nova-compute",
                        'max by (hypervisor) (hypervisor_up{job=~"$job",hypervisor=~"$hypervisor"})',
                        mappings=parts.values({"0": ("down", "red"), "1": ("up", "green")}),
                    ),
                    *_answers("hypervisor"),
                ],
                span=11,
            )
        )
        .with_panel(
            parts.tabular(
                "Projects",
                "How the instances of each project answer.",
                keys=["name", "project_id"],
                columns=[
                    Column(
                        "info",
                        'group by (project_id, name) (project_info{job=~"$job",project_id=~"$project"})',
                    ),
                    *_answers("project_id"),
                ],
                hide=["info"],
                links={"project_id": parts.link("fping-project", project="project_id")},
                span=13,
            )
        )
        .with_row(Row("Who"))
        .with_panel(
            parts.tabular(
                "ACTIVE, and silent",
                "Each instance that Nova calls ACTIVE and that no exporter hears.",
                keys=["name", "id", "project_id", "hypervisor", "reason"],
                columns=[
                    Column(
                        "reason",
                        f"({SCOPE.reasons()} and on (id) ({SCOPE.dead}))"
                        " * on (id) group_left (name, project_id, hypervisor)"
                        f" {SCOPE.info_by('name', 'project_id', 'hypervisor')}",
                    ),
                    Column(
                        "last answer",
                        f"(1000 * {SCOPE.of('instance_last_reply_timestamp_seconds')}"
                        f" and on (id) ({SCOPE.dead}))"
                        f" or on (id) ({SCOPE.dead})",
                        unit="dateTimeFromNow",
                        mappings=parts.values({"0": ("never", "text")}),
                        steps=[(None, "text")],
                        leads=True,
                    ),
                ],
                hide=["reason"],
                links={
                    "id": parts.link("fping-instance", project="project_id", id="id"),
                    "project_id": parts.link("fping-project", project="project_id"),
                },
                span=24,
            )
        )
        .with_panel(
            parts.series(
                "Round trip",
                "Of the instances that answer, by the exporter that is nearest to each.",
                {
                    text: f"quantile({share}, {SCOPE.of('instance_rtt_seconds', how='min')})"
                    for text, share in (("median", 0.5), ("95 %", 0.95), ("slowest", 1))
                },
                unit="s",
            )
        )
        .with_panel(
            parts.series(
                "Packets lost",
                "Of the packets to the best address of each instance that answers, on average.",
                {
                    "lost": f"avg({SCOPE.of('instance_packet_loss_ratio', how='min')}"
                    f" and on (id) {SCOPE.alive} == 1)"
                },
                unit="percentunit",
            )
        )
    )


def _counted(name: str, expr: str, color: str) -> Column:
    """Count by status, with a 0 for each status that has none."""
    return Column(
        name,
        f"count by (status) ({expr}) or 0 * count by (status) ({SCOPE.info_by('status')})",
        steps=[(None, "text"), (1, color)],
    )


def _answers(label: str) -> list[Column]:
    """How many answer and how many ACTIVE ones are silent, by a label of instance_info."""
    info = (PLACED if label == "hypervisor" else SCOPE).info_by(label)
    none = f"0 * count by ({label}) ({info})"
    return [
        Column("answer", f"count by ({label}) ({info} and on (id) {SCOPE.alive} == 1) or {none}"),
        Column(
            "ACTIVE, and silent",
            f"count by ({label}) ({info} and on (id) ({SCOPE.dead})) or {none}",
            steps=[(None, "text"), (1, "red")],
            leads=True,
        ),
    ]
