"""Kinds of panels, as every dashboard has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

#: The data source that is chosen at the top of a dashboard.
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")

#: Where the project's documents are; a hidden variable of every dashboard.
RUNBOOK = "${docs}/runbook.md"

GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"

#: For 1 and 0.
YES_IS_GOOD = {"1": ("yes", GREEN), "0": ("no", RED)}
YES_IS_BAD = {"1": ("yes", RED), "0": ("no", GREEN)}

AnyPanel = timeseries.Panel | stat.Panel | statetimeline.Panel | bargauge.Panel | table.Panel | heatmap.Panel
_Panel = TypeVar(
    "_Panel", timeseries.Panel, stat.Panel, statetimeline.Panel, bargauge.Panel, table.Panel, heatmap.Panel
)


@dataclass(frozen=True)
class Query:
    """A query in PromQL, and what its series are called.

    Parameters
    ----------
    expression : str
    legend : str
        With labels as ``{{label}}``.
    """

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Words:
    """What every panel says of itself.

    Parameters
    ----------
    title : str
    text : str
        What is shown, and how to read it.
    unit : str
        Grafana's name of the unit.
    alert : str, optional
        Alert about the same; the panel links to its entry in the runbook.
    """

    title: str
    text: str
    unit: str
    alert: str | None = None


def over_time(
    words: Words,
    *queries: Query,
    width: int = 8,
    height: int = 8,
    stacked: bool = False,
    steps: bool = False,
    limits: tuple[float | None, float | None] = (0, None),
    thresholds: Sequence[tuple[float, str]] = (),
) -> timeseries.Panel:
    """Lines; `steps` for what changes only when a run ends, `stacked` for parts of a whole.

    `limits` are the least and the largest value of the axis, which are never cut off but always in sight.
    """
    panel = _dressed(timeseries.Panel(), words, width, height)
    for query in _targets(queries):
        panel.with_target(query.range())
    low, high = limits
    if low is not None:
        panel.axis_soft_min(low)
    if high is not None:
        panel.axis_soft_max(high)
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(40)
    if steps:
        panel.line_interpolation(LineInterpolation.STEP_AFTER)
    if thresholds:
        panel.thresholds(_thresholds(thresholds))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    return panel.legend(legend.show_legend(True)).tooltip(tooltip).show_points(VisibilityMode.AUTO).line_width(1)


def number(
    words: Words,
    query: Query,
    width: int = 4,
    height: int = 4,
    thresholds: Sequence[tuple[float, str]] = (),
    values: Mapping[str, tuple[str, str]] | None = None,
    none: str | None = None,
    decimals: int | None = None,
) -> stat.Panel:
    """One number for each series, as it is at the end of the time range.

    `thresholds` are lower ends of ranges and their colours, below the first of which all is green; `values` gives text
    and colour of single values, `none` the text where there is no series.
    """
    panel = _dressed(stat.Panel(), words, width, height)
    for target in _targets([query]):
        panel.with_target(target.instant())
    panel.graph_mode(BigValueGraphMode.NONE).color_mode(BigValueColorMode.VALUE).reduce_options(_last())
    if thresholds:
        panel.thresholds(_thresholds(thresholds))
    else:
        panel.color_scheme(FieldColor().mode(FieldColorModeId.FIXED).fixed_color(BLUE))
    if values:
        panel.mappings(_mappings(values))
        panel.color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
    if none is not None:
        panel.no_value(none)
    return panel if decimals is None else panel.decimals(decimals)


def states(
    words: Words, query: Query, values: Mapping[str, tuple[str, str]], width: int = 24, height: int = 8
) -> statetimeline.Panel:
    """What each series was, as coloured intervals of time."""
    panel = _dressed(statetimeline.Panel(), words, width, height)
    for target in _targets([query]):
        panel.with_target(target.range())
    panel.mappings(_mappings(values)).show_value(VisibilityMode.NEVER).row_height(0.8).merge_values(True)
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    return panel.legend(legend.show_legend(True))


def bars(
    words: Words,
    query: Query,
    width: int = 8,
    height: int = 8,
    limits: tuple[float, float | None] = (0, None),
    thresholds: Sequence[tuple[float, str]] = (),
) -> bargauge.Panel:
    """One bar for each series, as it is at the end of the time range."""
    panel = _dressed(bargauge.Panel(), words, width, height)
    for target in _targets([query]):
        panel.with_target(target.instant())
    panel.min(limits[0])
    if limits[1] is not None:
        panel.max(limits[1])
    if thresholds:
        panel.thresholds(_thresholds(thresholds))
    else:
        panel.color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    panel.orientation(VizOrientation.HORIZONTAL).display_mode(BarGaugeDisplayMode.BASIC)
    return panel.reduce_options(_last())


def rows(
    words: Words,
    queries: Mapping[str, str],
    columns: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    width: int = 24,
    height: int = 8,
    first: str | None = None,
) -> table.Panel:
    """A row for each namespace and set of labels that are columns, as it is at the end of the time range.

    Parameters
    ----------
    words : Words
    queries : mapping of str to str
        PromQL by the name of the column that holds the value; "" hides the value.
    columns : mapping of str to str
        Heading of each label that is shown, in order.
    units : mapping of str to str, optional
        Of columns that have another unit than the panel.
    width, height : int
    first : str, optional
        Column by which rows are sorted, the largest first.
    """
    panel = _dressed(table.Panel(), words, width, height)
    columns = {"namespace": "Namespace", **columns}
    labels = ", ".join(columns)
    for target in _targets([Query(f"max by ({labels}) ({expression})") for expression in queries.values()]):
        panel.with_target(target.instant().format(PromQueryFormat.TABLE))
    several = len(queries) > 1
    fields = {f"Value #{_letter(place)}" if several else "Value": name for place, name in enumerate(queries)}
    if several:
        panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    order = [*columns, *fields]
    organised = {
        "excludeByName": {"Time": True} | {field: True for field, name in fields.items() if not name},
        "indexByName": {field: place for place, field in enumerate(order)},
        "renameByName": {**columns, **{field: name for field, name in fields.items() if name}},
    }
    panel.with_transformation(DataTransformerConfig(id_val="organize", options=organised))
    for name, unit in (units or {}).items():
        panel.override_by_name(name, [DynamicConfigValue("unit", unit)])
    if first is not None:
        panel.sort_by([common.TableSortByFieldState().display_name(first).desc(True)])
    return panel


def density(words: Words, query: Query, width: int = 12, height: int = 8) -> heatmap.Panel:
    """A histogram over time; the query gives the counts of buckets, each with its upper end as the label ``le``."""
    panel = _dressed(heatmap.Panel(), words, width, height)
    for target in _targets([query]):
        panel.with_target(target.range().format(PromQueryFormat.HEATMAP))
    panel.color(heatmap.HeatmapColorOptions().scheme("Blues").steps(64)).cell_gap(1)
    return panel.y_axis(heatmap.YAxisConfig().unit(words.unit))


def _dressed(panel: _Panel, words: Words, width: int, height: int) -> _Panel:
    panel.title(words.title).description(words.text).unit(words.unit)
    panel.datasource(PROMETHEUS).span(width).height(height)
    if words.alert is not None:
        url = f"{RUNBOOK}#{words.alert.lower()}"
        panel.links([DashboardLink(f"Runbook: {words.alert}").type(DashboardLinkType.LINK).url(url).target_blank(True)])
    return panel


def _targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery()
        .ref_id(_letter(place))
        .expr(query.expression)
        .legend_format(query.legend)
        .datasource(PROMETHEUS)
        for place, query in enumerate(queries)
    ]


def _letter(place: int) -> str:
    return "ABCDEFGHIJKLMNOP"[place]


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _thresholds(steps: Sequence[tuple[float, str]]) -> ThresholdsConfig:
    thresholds = [Threshold(None, GREEN), *(Threshold(value, color) for value, color in steps)]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(thresholds)


def _mappings(values: Mapping[str, tuple[str, str]]) -> list[ValueMapping]:
    results = {
        value: ValueMappingResult(text=text, color=color, index=place)
        for place, (value, (text, color)) in enumerate(values.items())
    }
    return [ValueMap(options=results)]
