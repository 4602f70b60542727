"""The dashboard of a project: its instances, each over time."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable, Row

from grafana import parts
from grafana.parts import Column
from grafana.queries import ANY, Scope, count

__all__ = ["PROJECT", "UID", "build", "project_variable"]

UID = "fping-project"


def project_variable(*, every: bool = False) -> QueryVariable:
    """Return the variable of the projects, each shown by its name and, where there is one, its cloud."""
    return parts.variable(
        "project",
        "Project",
        f"query_result(label_join(group by (cloud, project_id, name) (project_info{{{ANY}}})"
        f" or on (cloud, project_id) label_replace(group by (cloud, project_id) (instance_info{{{ANY}}}),"
        ' "name", "$1", "project_id", "(.*)"), "name", ", ", "name", "cloud"))',
        regex='/name="(?<text>[^"]*?)(?:, )?".*project_id="(?<value>[^"]*)"/',
        every=every,
    )


PROJECT = project_variable()

SCOPE = Scope(f'{ANY},project_id="$project"')


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        parts.new(
            UID,
            "project",
            "The instances of one project, and whether they answer pings.",
            PROJECT,
            alerts='project_id="$project"',
        )
        .with_row(Row("Now"))
        .with_panel(
            parts.single("Instances", "All that Nova lists in the project.", count(SCOPE.info_by()), span=4)
        )
        .with_panel(
            parts.single(
                "Answering",
                "Instances of which any address answered the last sweep of any exporter.",
                count(f"{SCOPE.alive} == 1"),
                steps=[(None, "green")],
                span=4,
            )
        )
        .with_panel(
            parts.single(
                "ACTIVE, stopped answering",
                "ACTIVE in Nova. They answered an exporter before, and now no exporter gets an answer.",
                count(SCOPE.stopped_answering),
                steps=parts.RED_ABOVE_ZERO,
                span=4,
            )
        )
        .with_panel(
            parts.single(
                "ACTIVE, never answered",
                "ACTIVE in Nova. They have not answered an exporter since it started.",
                count(SCOPE.never_answered),
                steps=[(None, "green"), (1, "orange")],
                span=4,
            )
        )
        .with_panel(
            parts.single(
                "Off, but answering",
                "Off, paused, suspended or shelved in Nova, and an address answers.",
                count(SCOPE.answering_though_off),
                steps=[(None, "green"), (1, "orange")],
                span=4,
            )
        )
        .with_panel(parts.exporters_healthy())
        .with_panel(
            parts.tabular(
                "Instances",
                "Every instance, with its Nova status, the result of the last sweep, and its last reply.",
                keys=["name", "id", "status", "hypervisor"],
                columns=[
                    Column("info", SCOPE.info_by("name", "status", "hypervisor")),
                    Column("ping", SCOPE.alive, mappings=parts.ANSWER),
                    Column("layer 2", SCOPE.of("instance_layer2_alive"), mappings=parts.LAYER2),
                    Column("round trip", SCOPE.of("instance_rtt_seconds", how="min"), unit="s"),
                    Column(
                        "sweeps with loss",
                        SCOPE.lossy("30m"),
                        unit="percentunit",
                        steps=[(None, "text"), (0.1, "orange")],
                    ),
                    Column(
                        "last reply",
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
                "State",
                "Nova status and ping. A gap: no exporter could ask the instance, or there was none.",
                # Prometheus sorts series by their labels; `_` is the first, so they are sorted by name.
                {"{{name}}": f'label_replace({SCOPE.state("name")}, "_", "$1", "name", "(.*)")'},
                mappings=parts.STATE,
                height=14,
            )
        )
        .with_panel(
            parts.series(
                "Slowest round trips",
                "Best round trip of the ten instances with the highest one in the chosen time.",
                {
                    "{{name}}": _top(
                        SCOPE.of("instance_rtt_seconds", how="min"),
                        f"max_over_time(instance_rtt_seconds{{{SCOPE.matchers}}}[$__range] @ end())",
                    )
                },
                unit="s",
            )
        )
        .with_panel(
            parts.series(
                "Sweeps with packet loss",
                "Share of the sweeps of half an hour that an instance answered and that lost packets: the"
                " ten instances with the highest share at the end of the chosen time.",
                {"{{name}}": _top(SCOPE.lossy("30m"), SCOPE.lossy("30m", at=" @ end()"))},
                unit="percentunit",
                maximum=1,
                steps=[(None, "green"), (0.1, "orange")],
            )
        )
        .with_panel(
            parts.series(
                "Instances by status",
                "By Nova status.",
                {"{{status}}": f"count by (status) ({SCOPE.info_by('status')})"},
                stacked=True,
            )
        )
        .with_panel(
            parts.series(
                "Silent instances by reason",
                "Instances that answer no exporter, by the reason that the exporters give.",
                {"{{reason}}": f"count by (reason) ({SCOPE.reasons()})"},
                stacked=True,
            )
        )
    )


def _top(shown: str, ranked_by: str) -> str:
    """Return the series of the ten instances that rank highest.

    `ranked_by` has one value for the whole of the chosen time, so these stay the same ten.
    """
    return (
        f"{shown} * on (id) group_left (name) {SCOPE.info_by('name')}"
        f" and on (id) topk(10, min by (id) ({ranked_by}))"
    )
