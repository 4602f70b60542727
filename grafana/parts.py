"""What the dashboards are put together from: panels, variables, links."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    TableSortByFieldState,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    BigValueTextMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = [
    "ANSWER",
    "GOOD_IS_ZERO",
    "STATE",
    "Column",
    "link",
    "new",
    "series",
    "single",
    "tabular",
    "timeline",
    "values",
    "variable",
]

_DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_TAG = "fping-exporter"


def new(uid: str, title: str, description: str, *variables: dashboard.QueryVariable) -> dashboard.Dashboard:
    """Begin a dashboard with a data source, the exporters' job and more `variables` to choose from."""
    builder = (
        dashboard.Dashboard(f"fping-exporter: {title}")
        .uid(uid)
        .description(description)
        .tags([_TAG, "openstack"])
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("fping-exporter")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(variable("job", "Job", "label_values(fping_exporter_up, job)", every=True))
    )
    for each in variables:
        builder = builder.with_variable(each)
    return builder


def variable(
    name: str, label: str, query: str, *, regex: str = "", every: bool = False
) -> dashboard.QueryVariable:
    """Let the reader choose one of what `query` finds, or, with `every`, several or all."""
    builder = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_DATASOURCE)
        .query({"query": query, "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .regex(regex)
    )
    return builder.multi(multi=True).include_all(include_all=True).all_value(".*") if every else builder


def values(texts: Mapping[str, tuple[str, str]]) -> list[ValueMap]:
    """Show a value as a text in a colour."""
    return [
        ValueMap(
            {
                value: ValueMappingResult(text=text, color=color, index=index)
                for index, (value, (text, color)) in enumerate(texts.items())
            }
        )
    ]


ANSWER = values({"0": ("silent", "red"), "1": ("answers", "green")})
STATE = values(
    {
        "0": ("off", "blue"),
        "1": ("answers though off", "purple"),
        "2": ("silent", "red"),
        "3": ("answers", "green"),
    }
)
"""Of 2 * Nova's word + the ping's."""

Steps = Sequence[tuple[float | None, str]]
"""From which value on (None: from below) which colour."""
GOOD_IS_ZERO: Steps = [(None, "green"), (1, "red")]


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=color) for value, color in steps])
    )


def _query(ref: str, expr: str, *, legend: str = "") -> prometheus.Dataquery:
    query = prometheus.Dataquery().ref_id(ref).datasource(_DATASOURCE).expr(expr)
    return query.legend_format(legend) if legend else query


def _refs(count: int) -> str:
    return "ABCDEFGHIJ"[:count]


def single(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str = "short",
    steps: Steps = ((None, "blue"),),
    mappings: Sequence[ValueMap] = (),
    label: str = "",
    span: int = 4,
) -> stat.Panel:
    """Show one number of now, or, with `label`, that label of the one series."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .unit(unit)
        .thresholds(_thresholds(steps))
        .mappings(list(mappings))
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(BigValueGraphMode.NONE)
        .no_value("-")
        .span(span)
        .height(4)
        .with_target(_query("A", expr, legend=f"{{{{{label}}}}}" if label else "").instant())
    )
    return panel.text_mode(BigValueTextMode.NAME) if label else panel


def series(
    title: str,
    description: str,
    queries: Mapping[str, str],
    *,
    unit: str = "short",
    maximum: float | None = None,
    stacked: bool = False,
    steps: Steps | None = None,
    span: int = 12,
) -> timeseries.Panel:
    """Draw queries, given by legend, over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(30 if stacked else 5)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .span(span)
        .height(8)
    )
    if maximum is not None:
        panel = panel.max(maximum)
    if stacked:
        panel = panel.stacking(StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if steps is not None:
        panel = panel.thresholds(_thresholds(steps)).thresholds_style(
            GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    for ref, (legend, expr) in zip(_refs(len(queries)), queries.items(), strict=True):
        panel = panel.with_target(_query(ref, expr, legend=legend).range())
    return panel


def timeline(
    title: str,
    description: str,
    queries: Mapping[str, str],
    *,
    mappings: Sequence[ValueMap],
    height: int,
) -> statetimeline.Panel:
    """Draw how each series of the queries, given by legend, was in which state."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .mappings(list(mappings))
        # With the panel's own scheme, a gradient, there would be no legend of the states.
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.FIXED))
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs([])
        )
        .merge_values(merge_values=True)
        .show_value(VisibilityMode.NEVER)
        .per_page(25)
        .span(24)
        .height(height)
    )
    for ref, (legend, expr) in zip(_refs(len(queries)), queries.items(), strict=True):
        panel = panel.with_target(_query(ref, expr, legend=legend).range())
    return panel


_WIDTHS = {"id": 320, "project_id": 290}
"""In pixels, of columns that are to be read to their end."""
_NARROWEST = 80
"""In pixels, of the others; by default they would rather stick out of a narrow panel."""


class Column(NamedTuple):
    """A column of a table: the value of a query that has the table's first key for a label."""

    name: str
    expr: str
    unit: str = "short"
    mappings: Sequence[ValueMap] = ()
    steps: Steps | None = None
    leads: bool = False
    """Whether the rows that have the most of it come first."""


def tabular(
    title: str,
    description: str,
    *,
    keys: Sequence[str],
    columns: Sequence[Column],
    links: Mapping[str, str] | None = None,
    hide: Sequence[str] = (),
    span: int = 12,
    height: int = 10,
) -> table.Panel:
    """Lay out queries of now side by side, a row for each set of labels that they share.

    `keys` are the labels to show, in this order; columns in `hide` only bring labels along.
    `links` give, by key, where a click on it leads. The rows are sorted by the first key, unless
    a column leads.
    """
    refs = _refs(len(columns))
    fields = ["Value"] if len(columns) == 1 else [f"Value #{ref}" for ref in refs]
    names = dict(zip(fields, (column.name for column in columns), strict=True))
    hidden = [field for field, name in names.items() if name in hide]
    leader = next((column.name for column in columns if column.leads), None)
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .filterable(filterable=True)
        .min_width(_NARROWEST)
        .sort_by([TableSortByFieldState().display_name(leader or keys[0]).desc(leader is not None)])
        .span(span)
        .height(height)
        .transformations(
            [
                DataTransformerConfig(id_val="merge", options={}),
                DataTransformerConfig(
                    id_val="organize",
                    options={
                        "excludeByName": dict.fromkeys(["Time", *hidden], True),
                        "indexByName": {name: index for index, name in enumerate([*keys, *names])},
                        "renameByName": {name: text for name, text in names.items() if name not in hidden},
                    },
                ),
            ]
        )
    )
    for ref, column in zip(refs, columns, strict=True):
        panel = panel.with_target(_query(ref, column.expr).instant().format(PromQueryFormat.TABLE))
        if column.name in hide:
            continue
        properties = [DynamicConfigValue("unit", column.unit)]
        if column.mappings:
            properties += [DynamicConfigValue("mappings", list(column.mappings))]
        if column.steps is not None:
            properties += [DynamicConfigValue("thresholds", _thresholds(column.steps).build())]
        if column.mappings or column.steps is not None:
            properties += [DynamicConfigValue("custom.cellOptions", {"type": "color-text"})]
        panel = panel.override_by_name(column.name, properties)
    for key in keys:
        properties = []
        if key in _WIDTHS:
            properties += [DynamicConfigValue("custom.width", _WIDTHS[key])]
        if links and key in links:
            properties += [DynamicConfigValue("links", [{"title": "Open", "url": links[key]}])]
        if properties:
            panel = panel.override_by_name(key, properties)
    return panel


def link(uid: str, *kept: str, **chosen: str) -> str:
    """Lead to another dashboard at the same time, variables `kept`, or `chosen` from a field of the row."""
    parameters = [
        *(f"${{{name}:queryparam}}" for name in ("datasource", "job", *kept)),
        *(f"var-{name}=${{__data.fields.{field}}}" for name, field in chosen.items()),
        "${__url_time_range}",
    ]
    return f"/d/{uid}?{'&'.join(parameters)}"
