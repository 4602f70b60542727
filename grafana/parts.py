"""Building blocks of the dashboards: panels, variables, links, annotations."""

import string
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
    DashboardSpecialValueMapOptions,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableHide,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.queries import EXPORTERS_HEALTHY

__all__ = [
    "ANSWER",
    "LAYER2",
    "RED_ABOVE_ZERO",
    "STATE",
    "Column",
    "exporters_healthy",
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


def new(
    uid: str, title: str, description: str, *variables: dashboard.QueryVariable, alerts: str
) -> dashboard.Dashboard:
    """Return an empty dashboard with the variables of all dashboards and `variables`.

    `alerts` are label matchers: firing alerts are shown as annotations.
    """
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
        .link(
            dashboard.DashboardLink("Runbook")
            .type(DashboardLinkType.LINK)
            .url("${runbook}")
            .target_blank(target_blank=True)
        )
        .link(dashboard.DashboardLink("Alerts").type(DashboardLinkType.LINK).url("/alerting/list"))
        .annotation(
            dashboard.AnnotationQuery()
            .name("Alerts")
            .datasource(_DATASOURCE)
            .enable(enable=True)
            .icon_color("red")
            .expr(
                "max by (alertname, cloud, id, hypervisor)"
                f' (ALERTS{{alertstate="firing",cloud=~"$cloud",{alerts}}})'
            )
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        # No `.*` for "All": `up` of every job would match. A job of processes has no such metric.
        .with_variable(
            variable("job", "Job", "label_values(fping_exporter_blind, job)")
            .multi(multi=True)
            .include_all(include_all=True)
        )
        # None to choose where exporters have one cloud: `.*` selects series without the label, too.
        .with_variable(
            variable("cloud", "Cloud", 'label_values(fping_exporter_up{job=~"$job"}, cloud)', every=True)
        )
        .with_variable(
            variable("runbook", "Runbook", "label_values(fping_exporter:runbook:info, url)").hide(
                VariableHide.HIDE_VARIABLE
            )
        )
    )
    for each in variables:
        builder = builder.with_variable(each)
    return builder


def variable(
    name: str, label: str, query: str, *, regex: str = "", every: bool = False
) -> dashboard.QueryVariable:
    """Return a variable with the values that `query` finds; with `every`, several or all can be selected."""
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
    """Return value mappings: texts and colours by value."""
    return [
        ValueMap(
            {
                value: ValueMappingResult(text=text, color=color, index=index)
                for index, (value, (text, color)) in enumerate(texts.items())
            }
        )
    ]


ANSWER = values({"0": ("silent", "red"), "1": ("answering", "green")})
STATE = values(
    {
        "0": ("not ACTIVE, silent", "blue"),
        "1": ("not ACTIVE, answering", "purple"),
        "2": ("ACTIVE, silent", "red"),
        "3": ("ACTIVE, answering", "green"),
    }
)
"""Of 2 * (ACTIVE) + (answering)."""
LAYER2 = values({"0": ("silent", "red"), "1": ("kernel answers", "green")})
"""Of instance_layer2_alive."""

Steps = Sequence[tuple[float | None, str]]
"""Pairs of lower bound (None: no bound) and colour."""
RED_ABOVE_ZERO: Steps = [(None, "green"), (1, "red")]


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
    return string.ascii_uppercase[:count]


_NO_DATA = SpecialValueMap(
    DashboardSpecialValueMapOptions(
        match=SpecialValueMatch.NULL_AND_NAN, result=ValueMappingResult(text="no data", color="gray")
    )
)


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
    """Return a panel with one current number, or, with `label`, that label of the one series.

    Without data it says so in grey, whatever the colours of `steps`.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .unit(unit)
        .thresholds(_thresholds(steps))
        .mappings([*mappings, _NO_DATA])
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(BigValueGraphMode.NONE)
        .no_value("no data")
        .span(span)
        .height(4)
        .with_target(_query("A", expr, legend=f"{{{{{label}}}}}" if label else "").instant())
    )
    return panel.text_mode(BigValueTextMode.NAME) if label else panel


def exporters_healthy(*, span: int = 4) -> stat.Panel:
    """Return the tile that tells whether to believe the others; it links to the exporters' dashboard."""
    return single(
        "Exporters",
        "Healthy: each is scraped, has results, completed its last listing and sweep, and is not blind.",
        EXPORTERS_HEALTHY,
        mappings=values({"0": ("in trouble", "red"), "1": ("healthy", "green")}),
        span=span,
    ).links([dashboard.DashboardLink("Exporters").url(link("fping-exporter"))])


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
    """Return a graph of `queries`, given by legend, over time."""
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
    """Return a timeline of the states of each series of `queries`, given by legend."""
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
"""In pixels: columns that must not be cut off."""
_NARROWEST = 80
"""In pixels: minimum width of the other columns. Grafana's default makes narrow panels scroll."""


class Column(NamedTuple):
    """A column of a table: a query whose series have the table's first key as a label."""

    name: str
    expr: str
    unit: str = "short"
    mappings: Sequence[ValueMap] = ()
    steps: Steps | None = None
    sorts: bool = False
    """Whether the rows are sorted by it, in descending order."""


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
    """Return a table of current values: a row for each set of labels that the queries share.

    `keys` are the labels to show, in this order. Columns in `hide` only add labels. `links` are URLs by
    key. The rows are sorted by the first key, unless a column has `sorts`.
    """
    refs = _refs(len(columns))
    fields = ["Value"] if len(columns) == 1 else [f"Value #{ref}" for ref in refs]
    names = dict(zip(fields, (column.name for column in columns), strict=True))
    hidden = [field for field, name in names.items() if name in hide]
    sort_column = next((column.name for column in columns if column.sorts), None)
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .filterable(filterable=True)
        .min_width(_NARROWEST)
        .sort_by([TableSortByFieldState().display_name(sort_column or keys[0]).desc(sort_column is not None)])
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
    """Return a URL to another dashboard, with variables `kept` or `chosen` from fields of the row."""
    parameters = [
        *(f"${{{name}:queryparam}}" for name in ("datasource", "job", "cloud", *kept)),
        *(f"var-{name}=${{__data.fields.{field}}}" for name, field in chosen.items()),
        "${__url_time_range}",
    ]
    return f"/d/{uid}?{'&'.join(parameters)}"
