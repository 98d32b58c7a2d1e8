"""What all dashboards have in common: variables, links, annotations, their place among each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    TextBoxVariable,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    DashboardCursorSync,
    DashboardLinkType,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from manifests.monitoring.dashboards.panels import PROMETHEUS, RUNBOOK, AnyPanel

TAG = "epilstm"

#: Where the documents are that panels link to; set the dashboards' variable `docs` to read them elsewhere.
DOCS = "https://github.com/epilstm/epilstm/blob/main/docs"

#: Selectors. A label that a Prometheus outside of Kubernetes does not set, as namespace, is matched by "All".
PIPELINE = 'namespace=~"$namespace", pipeline=~"$pipeline"'
STEP = f'{PIPELINE}, step=~"$step"'
SERVER = 'namespace=~"$namespace"'
MODEL = f'{SERVER}, model=~"$model"'

#: The process that exports a series; a run in progress exports `epilstm_run_info` too.
PROCESS = "namespace, job, instance"


@dataclass(frozen=True)
class Event:
    """Moments that are marked in every panel.

    Parameters
    ----------
    name : str
        Heading.
    expression : str
        Whose values are moments, in milliseconds since 1970.
    title : str
        With labels as ``{{label}}``.
    color : str
    """

    name: str
    expression: str
    title: str
    color: str


class _Moments(AnnotationQuery):
    """Annotations at the moments that are a query's values; the SDK knows no such field."""

    def __init__(self, event: Event) -> None:
        super().__init__(event.name, PROMETHEUS, icon_color=event.color, expr=event.expression)
        self.title = event.title

    def to_json(self) -> dict[str, object]:
        """As Grafana reads it."""
        return {**super().to_json(), "useValueForTime": True, "titleFormat": self.title}


class _Annotation(Builder[AnnotationQuery]):
    def __init__(self, event: Event) -> None:
        self.event = event

    def build(self) -> AnnotationQuery:
        """As the dashboard's builder takes it."""
        return _Moments(self.event)


def frame(
    uid: str,
    title: str,
    text: str,
    variables: Sequence[QueryVariable],
    events: Sequence[Event],
    sections: Sequence[tuple[str, Sequence[AnyPanel]]],
    since: str,
) -> Dashboard:
    """A dashboard.

    Parameters
    ----------
    uid : str
        Without the leading ``epilstm-``; what addresses are made of, not to be changed.
    title, text : str
    variables : sequence of QueryVariable
        After the data source and the namespace.
    events : sequence of Event
    sections : sequence of (str, sequence of panels)
        Headings and what is below them.
    since : str
        Start of the time range at first, such as ``now-7d``.
    """
    dashboard = (
        Dashboard(title)
        .uid(f"epilstm-{uid}")
        .description(text)
        .tags([TAG])
        .editable()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time(since, "now")
        .refresh("1m")
        .timezone("browser")
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in variables:
        dashboard.with_variable(variable)
    docs = TextBoxVariable("docs").description("Address of the project's docs folder").default_value(DOCS)
    dashboard.with_variable(docs.current(VariableOption(text=DOCS, value=DOCS)).hide(VariableHide.HIDE_VARIABLE))
    for event in events:
        dashboard.annotation(_Annotation(event))
    dashboard.link(
        DashboardLink("epilstm").type(DashboardLinkType.DASHBOARDS).tags([TAG]).include_vars(True).keep_time(True)
    )
    dashboard.link(DashboardLink("Runbook").type(DashboardLinkType.LINK).url(RUNBOOK).target_blank(True))
    for heading, panels in sections:
        dashboard.with_row(Row(heading))
        for panel in panels:
            dashboard.with_panel(panel)
    return dashboard


def choice(name: str, label: str, metric: str, selector: str = "", everything: str = ".*") -> QueryVariable:
    """Values of a label that can be chosen, several at a time, all at first.

    Parameters
    ----------
    name : str
        Of the variable and of the label in Prometheus.
    label : str
        Heading.
    metric, selector : str
        Where the values are looked up.
    everything : str
        Regular expression that "All" stands for.
    """
    query = f"label_values({metric}{{{selector}}}, {name})" if selector else f"label_values({metric}, {name})"
    return (
        QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(everything)
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def namespace(metric: str) -> QueryVariable:
    """Choice of the Kubernetes namespace, among those with a metric."""
    return choice("namespace", "Namespace", metric)


#: Marks of dashboards about steps and models.
PROMOTIONS = Event(
    "Promotions",
    f"max by (namespace, pipeline) (epilstm_promotion_last_promoted_timestamp_seconds{{{PIPELINE}}}) * 1000",
    "{{pipeline}}: challenger promoted",
    "green",
)
FAILURES = Event(
    "Failed runs",
    f"max by (namespace, pipeline, step) (epilstm_step_last_failure_timestamp_seconds{{{PIPELINE}}}) * 1000",
    "{{pipeline}}: {{step}} failed",
    "red",
)
RELOADS = Event(
    "New models",
    f"min by (namespace) (epilstm_serve_model_loaded_timestamp_seconds{{{SERVER}}}) * 1000",
    "server took a model",
    "purple",
)
