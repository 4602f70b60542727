"""The dashboard of the cloud: which instances answer, which do not and why, beside Nova's status."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana import parts
from grafana.parts import Column
from grafana.project import project_variable
from grafana.queries import ANY, Scope, count

__all__ = ["UID", "build"]

UID = "fping-cloud"

PROJECTS = project_variable(every=True)
HYPERVISORS = parts.variable(
    "hypervisor", "Hypervisor", f"label_values(instance_info{{{ANY}}}, hypervisor)", every=True
)

SCOPE = Scope(f'{ANY},project_id=~"$project"', 'hypervisor=~"$hypervisor"')
PLACED = SCOPE._replace(info='hypervisor=~"$hypervisor",hypervisor!=""')
"""The instances whose hypervisor the credentials may see."""
HYPERVISOR_UP = f'max by (cloud, hypervisor) (hypervisor_up{{{ANY},hypervisor=~"$hypervisor"}})'


def build() -> Dashboard:
    """Return the dashboard."""
    info = SCOPE.info_by("status")
    return (
        parts.new(
            UID,
            "cloud",
            "Nova's status of the instances, and whether they answer pings.",
            PROJECTS,
            HYPERVISORS,
            alerts='alertname=~"(Instance|Project|Hypervisor|FpingExporter).+"',
        )
        .with_row(Row("Now"))
        .with_panel(
            parts.single("Instances", "All that Nova lists, in any status.", count(SCOPE.info_by()), span=3)
        )
        .with_panel(
            parts.single(
                "Answering",
                "Instances of which any address answered the last sweep of any exporter.",
                count(f"{SCOPE.alive} == 1"),
                steps=[(None, "green")],
                span=3,
            )
        )
        .with_panel(
            parts.single(
                "ACTIVE, stopped answering",
                "ACTIVE in Nova. They answered an exporter before, and now no exporter gets an answer.",
                count(SCOPE.stopped_answering),
                steps=parts.RED_ABOVE_ZERO,
                span=3,
            )
        )
        .with_panel(
            parts.single(
                "ACTIVE, never answered",
                "ACTIVE in Nova. They have not answered an exporter since it started.",
                count(SCOPE.never_answered),
                steps=[(None, "green"), (1, "orange")],
                span=3,
            )
        )
        .with_panel(
            parts.single(
                "Off, but answering",
                "Off, paused, suspended or shelved in Nova, and an address answers.",
                count(SCOPE.answering_though_off),
                steps=[(None, "green"), (1, "orange")],
                span=3,
            )
        )
        .with_panel(
            parts.single(
                "Hypervisors down",
                "Hypervisors whose nova-compute does not report in. No data without the right to list them.",
                f"count({HYPERVISOR_UP} == 0) or 0 * count({HYPERVISOR_UP})",
                steps=parts.RED_ABOVE_ZERO,
                span=3,
            )
        )
        .with_panel(
            parts.single(
                "Oldest sweep",
                "Age of the last complete sweep, of the exporter with the oldest one.",
                f"max(time() - fping_exporter_sweep_last_success_timestamp_seconds{{{ANY}}})",
                unit="s",
                steps=[(None, "green"), (120, "orange"), (180, "red")],
                span=3,
            )
        )
        .with_panel(parts.exporters_healthy(span=3))
        .with_panel(
            parts.tabular(
                "Instances by Nova status and ping",
                "How many instances of each Nova status answer, are silent, or could not be asked.",
                keys=["status"],
                columns=[
                    _counted("answering", f"{info} and on (id) {SCOPE.alive} == 1", "green"),
                    _counted("silent", f"{info} and on (id) {SCOPE.alive} == 0", "red"),
                    _counted("not asked", f"{info} unless on (id) {SCOPE.alive}", "orange"),
                ],
                span=8,
                height=8,
            )
        )
        .with_panel(
            parts.series(
                "Silent instances by reason",
                "Instances that answer no exporter, by the reason that the exporters give. One with two"
                " reasons from two exporters counts twice.",
                {"{{reason}}": f"count by (reason) ({SCOPE.reasons()})"},
                stacked=True,
                span=8,
            )
        )
        .with_panel(
            parts.series(
                "State changes",
                "How many times instances stopped or began to answer, within the last four scrapes.",
                {
                    "changes": f"sum(max by (id) (changes(instance_alive{{{SCOPE.matchers}}}"
                    f"[$__rate_interval]) and on (id) instance_info{{{SCOPE.matchers},{SCOPE.info}}}))"
                },
                span=8,
            )
        )
        .with_row(Row("By hypervisor and project"))
        .with_panel(
            parts.tabular(
                "Hypervisors",
                "Whether nova-compute reports in, and how the instances answer.",
                keys=["hypervisor", "cloud"],
                columns=[
                    Column(
                        "nova-compute",
                        HYPERVISOR_UP,
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
                keys=["name", "cloud", "project_id"],
                columns=[
                    Column(
                        "info",
                        f"group by (cloud, project_id, name) (project_info{{{SCOPE.matchers}}})",
                    ),
                    *_answers("project_id"),
                ],
                hide=["info"],
                links={"project_id": parts.link("fping-project", project="project_id")},
                span=13,
            )
        )
        .with_row(Row("Silent instances and latency"))
        .with_panel(
            parts.tabular(
                "ACTIVE and silent",
                "Each instance that is ACTIVE in Nova and answers no exporter, with its project's contact.",
                keys=["name", "cloud", "id", "project_id", "email", "hypervisor", "reason"],
                columns=[
                    Column(
                        "reason",
                        f"({SCOPE.reasons()} and on (id) ({SCOPE.silent}))"
                        " * on (id) group_left (name, cloud, project_id, hypervisor)"
                        f" {SCOPE.info_by('name', 'cloud', 'project_id', 'hypervisor')}",
                    ),
                    Column(
                        "contact",
                        f"({SCOPE.info_by('cloud', 'project_id')} and on (id) ({SCOPE.silent}))"
                        " * on (cloud, project_id) group_left (email) max by (cloud, project_id, email)"
                        f" (topk by (cloud, project_id) (1, project_contact_info{{{ANY}}}))",
                    ),
                    Column(
                        "last reply",
                        f"(1000 * {SCOPE.of('instance_last_reply_timestamp_seconds')}"
                        f" and on (id) ({SCOPE.silent}))"
                        f" or on (id) ({SCOPE.silent})",
                        unit="dateTimeFromNow",
                        mappings=parts.values({"0": ("never", "text")}),
                        steps=[(None, "text")],
                        sorts=True,
                    ),
                    Column(
                        "layer 2",
                        f"{SCOPE.of('instance_layer2_alive')} and on (id) ({SCOPE.silent})",
                        mappings=parts.LAYER2,
                    ),
                ],
                hide=["reason", "contact"],
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
                "Best round trip of the last sweep, over all instances that answer.",
                {
                    text: f"quantile({share}, {SCOPE.of('instance_rtt_seconds', how='min')})"
                    for text, share in (("median", 0.5), ("95 %", 0.95), ("slowest", 1))
                },
                unit="s",
            )
        )
        .with_panel(
            parts.series(
                "Sweeps with packet loss",
                "Share of the sweeps of five minutes that an instance answered and that lost packets to its"
                " best address, averaged over all instances that answer.",
                {"with loss": f"avg({SCOPE.lossy('5m')})"},
                unit="percentunit",
            )
        )
    )


def _counted(name: str, expr: str, color: str) -> Column:
    """Return a column that counts by status, with 0 for a status without such instances."""
    return Column(
        name,
        f"count by (status) ({expr}) or 0 * count by (status) ({SCOPE.info_by('status')})",
        steps=[(None, "text"), (1, color)],
    )


def _answers(label: str) -> list[Column]:
    """Return columns that count answering and silent ACTIVE instances by a label of instance_info."""
    info = (PLACED if label == "hypervisor" else SCOPE).info_by("cloud", label)
    none = f"0 * count by (cloud, {label}) ({info})"
    return [
        Column("answering", f"count by (cloud, {label}) ({info} and on (id) {SCOPE.alive} == 1) or {none}"),
        Column(
            "ACTIVE and silent",
            f"count by (cloud, {label}) ({info} and on (id) ({SCOPE.silent})) or {none}",
            steps=[(None, "text"), (1, "red")],
            sorts=True,
        ),
    ]
