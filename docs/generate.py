"""Write the parts of the documentation that follow from the code: ``make docs``.

A generated part stands between two comments of its page, ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``. A test
compares the pages with what this module makes of the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from epilstm.pipelines.submit.alert_webhook import ReceiverMetrics
from epilstm.runtime.step_table import STEPS, Port
from epilstm.runtime.telemetry.failures import ALL_REASONS
from epilstm.runtime.telemetry.names import METRICS
from epilstm.serving.server.input_statistics import InputStatistics
from epilstm.serving.server.metrics import ServerMetrics

FOLDER = Path(__file__).parent


class Documented(NamedTuple):
    """A metric as its code declares it: kind, own labels and meaning."""

    kind: str
    labels: tuple[str, ...]
    text: str


def step_metrics(*when: str) -> dict[str, Documented]:
    """Metrics of the steps by name; with `when`, those that are exported at one of these times."""
    return {
        name: Documented(metric.kind, metric.labels, metric.text)
        for name, metric in METRICS.items()
        if not when or metric.when in when
    }


def server_metrics() -> dict[str, Documented]:
    """Metrics of the server by name."""
    metrics = ServerMetrics()
    inputs = CollectorRegistry()
    inputs.register(InputStatistics(["track"]))
    labels = {
        name: tuple(metric._labelnames)
        for metric, names in metrics.registry._collector_to_names.items()
        if hasattr(metric, "_labelnames")
        for name in names
    }
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: Documented(
            family.type, labels.get(family.name, ("track",)), family.documentation
        )
        for family in (*metrics.registry.collect(), *inputs.collect())
        if family.name.startswith("epilstm_")
    }


def receiver_metrics() -> dict[str, Documented]:
    """Metrics of the receiver of alerts by name."""
    labels = {"epilstm_alert_receiver_notifications": ("outcome",)}
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: Documented(
            family.type, labels.get(family.name, ()), family.documentation
        )
        for family in ReceiverMetrics().registry.collect()
    }


def all_metrics() -> dict[str, Documented]:
    """Every metric of the project by name."""
    return {**step_metrics(), **server_metrics(), **receiver_metrics()}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    names = list(head)
    lines = [f"| {' | '.join(cells)} |" for cells in (names, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(names), *lines[1:]])


def listed(words: Iterable[str]) -> str:
    """Words as code, separated by commas."""
    return ", ".join(f"`{word}`" for word in words)


def metrics_table(metrics: dict[str, Documented]) -> str:
    """A row per metric."""
    rows = ([f"`{name}`", known.kind, listed(known.labels), known.text] for name, known in metrics.items())
    return table(("metric", "kind", "labels", "meaning"), rows)


def step_end_metrics(every_step: bool) -> dict[str, Documented]:
    """Metrics at the end of a step: those of every step, or those of single steps."""
    ended = step_metrics("at the end")
    return {name: known for name, known in ended.items() if name.startswith("epilstm_step_") == every_step}


def steps_table() -> str:
    """A row per step: what it reads and writes, where its code is, and what it can be split by."""

    def ports(of: tuple[Port, ...]) -> str:
        return ", ".join(f"`{port.name}`{'?' if port.optional else ''}" for port in of if port.kind != "metrics")

    rows = (
        [f"`{step.name}`", ports(step.inputs), ports(step.outputs), f"`{step.target.removesuffix(':run')}`",
         "yes" if step.part else ""]
        for step in STEPS.values()
    )  # fmt: skip
    return table(("step", "reads", "writes", "code", "can be split"), rows)


#: Page -> name of a generated part -> what makes it.
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "metrics.md": {
        "every step": lambda: metrics_table(step_end_metrics(every_step=True)),
        "single steps": lambda: metrics_table(step_end_metrics(every_step=False)),
        "while it runs": lambda: metrics_table(step_metrics("while it runs")),
        "both": lambda: metrics_table(step_metrics("both")),
        "server": lambda: metrics_table(server_metrics()),
        "receiver": lambda: metrics_table(receiver_metrics()),
        "reasons": lambda: listed(ALL_REASONS),
    },
    "architecture.md": {"steps": steps_table},
}


def regenerated(page: str, text: str) -> str:
    """A page with its generated parts made anew.

    Parameters
    ----------
    page : str
        Name of the page in this folder.
    text : str
        Its present text.

    Raises
    ------
    ValueError
        A generated part is missing from the page, or is there twice.
    """
    for name, made in PARTS[page].items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{page}: needs one '{begin}' and one '{end}'")
        before, after = text.split(begin)[0], text.split(end)[1]
        text = f"{before}{begin}\n\n{made()}\n\n{end}{after}"
    return text


def main() -> None:
    """Write the generated parts into their pages."""
    for page in PARTS:
        path = FOLDER / page
        path.write_text(regenerated(page, path.read_text(encoding="utf-8")), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
