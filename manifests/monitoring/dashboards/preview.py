"""Draw the dashboards with the data of a Prometheus, without Grafana: one PNG each.

``python -m manifests.monitoring.dashboards.preview --prometheus http://localhost:9090``
"""

from __future__ import annotations

import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

FOLDER = Path(__file__).parent
DASHBOARDS = ("pipeline", "quality", "drift", "serving")

Json = dict[str, Any]

_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


@dataclass(frozen=True)
class Window:
    """The time range that a dashboard shows.

    Parameters
    ----------
    end : float
        Seconds since 1970.
    seconds : int
        Length.
    rate : int
        Seconds over which rates are computed (``$__rate_interval``): at least four scrapes.
    """

    end: float
    seconds: int
    rate: int

    @property
    def step(self) -> float:
        """Seconds between points of a line."""
        return max(1.0, self.seconds / 300)


def load(name: str) -> Json:
    """One of the dashboards."""
    return dict(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def panels_of(dashboard: Json) -> list[Json]:
    """Panels without the headings between them."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expression_of(expression: str, window: Window) -> str:
    """What Grafana asks Prometheus when every variable is at "All".

    Raises
    ------
    KeyError
        A variable that no dashboard has.
    """
    values = {
        "__rate_interval": f"{window.rate}s",
        "__range": f"{window.seconds}s",
        "__range_s": str(window.seconds),
        **dict.fromkeys(("namespace", "pipeline", "step", "task", "representation"), ".*"),
        "model": ".+",
    }
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], expression)


def ask(prometheus: str, target: Json, window: Window) -> list[Json]:
    """Answer to a panel's query: series with their labels as `metric` and [time, value] pairs as `values`."""
    given: dict[str, Any] = {"query": expression_of(target["expr"], window)}
    if target.get("instant"):
        path, given["time"] = "query", window.end
    else:
        path = "query_range"
        given |= {"start": window.end - window.seconds, "end": window.end, "step": window.step}
    request = urllib.request.Request(
        f"{prometheus}/api/v1/{path}",
        urllib.parse.urlencode(given).encode(),
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        result = json.load(response)["data"]["result"]
    return [
        {"metric": series["metric"], "values": series.get("values") or [series["value"]]}
        for series in result
        if any(math.isfinite(float(value)) for _, value in series.get("values") or [series["value"]])
    ]


def legend_of(target: Json, labels: Mapping[str, str]) -> str:
    """Name of a series."""
    pattern = target.get("legendFormat", "")
    if not pattern:
        return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name != "__name__")
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), pattern).strip()


def formatted(value: float, unit: str) -> str:
    """A value with its unit, about as Grafana shows it."""
    if not math.isfinite(value):
        return "-"
    match unit:
        case "percentunit":
            return f"{100 * value:.3g}%"
        case "s":
            large = next(((value / size, word) for size, word in _TIMES if abs(value) >= size), None)
            number, word = large or (1000 * value, "ms")
            return f"{number:.3g} {word}"
        case "bytes" | "binBps":
            power = min(4, int(math.log(abs(value), 1024))) if abs(value) >= 1 else 0
            return f"{value / 1024**power:.3g} {['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}{'/s' * (unit == 'binBps')}"
        case "reqps":
            return f"{value:.3g} req/s"
        case "dateTimeAsIso":
            return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        case _:
            return f"{value:.4g}"


_TIMES = ((86400, "days"), (3600, "hours"), (60, "min"), (1, "s"))


def draw(prometheus: str, dashboard: Json, window: Window, path: Path) -> None:
    """Draw a dashboard as PNG, laid out as Grafana does.

    Parameters
    ----------
    prometheus : str
        URL.
    dashboard : dict
    window : Window
    path : Path
        File to write.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = Figure(figsize=(18, 0.42 * (height + 1)), dpi=80, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    figure.text(0.008, 1 - 0.45 / (height + 1), dashboard["title"], fontsize=15, weight="bold", va="center")
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        top = 1 - (place["y"] + 1) / (height + 1)
        if panel["type"] == "row":
            figure.text(0.008, top - 0.5 / (height + 1), panel["title"], fontsize=12, weight="bold", va="center")
            continue
        left, right = place["x"] / 24, (place["x"] + place["w"]) / 24
        bottom = top - place["h"] / (height + 1)
        box = (left + 0.035, bottom + 0.9 / (height + 1), right - left - 0.045, (place["h"] - 2.0) / (height + 1))
        answers = [(target, ask(prometheus, target, window)) for target in panel["targets"]]
        axes = figure.add_axes(box)
        axes.set_title(panel["title"], fontsize=9, loc="left")
        axes.tick_params(labelsize=7)
        if not any(series for _, series in answers):
            axes.text(0.5, 0.5, panel["fieldConfig"]["defaults"].get("noValue", "no data"), ha="center", va="center")
            axes.set_axis_off()
            continue
        _KINDS[panel["type"]](axes, panel, answers, window)
    canvas.draw()
    # Few colours make small files.
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(128, Image.Quantize.MAXCOVERAGE).save(
        path, optimize=True
    )


Answers = Sequence[tuple[Json, list[Json]]]


def _unit(panel: Json) -> str:
    return str(panel["fieldConfig"]["defaults"].get("unit", "short"))


def _series(answers: Answers) -> Iterator[tuple[str, list[float], list[float]]]:
    for target, found in answers:
        for series in found:
            times, values = zip(*((float(at), float(value)) for at, value in series["values"]), strict=True)
            yield legend_of(target, series["metric"]), list(times), list(values)


def _lines(axes: Any, panel: Json, answers: Answers, window: Window) -> None:
    import numpy as np

    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    series = list(_series(answers))
    style = "steps-post" if custom.get("lineInterpolation") == "stepAfter" else "default"
    if custom.get("stacking", {}).get("mode") == "normal":
        moments = sorted({at for _, times, _ in series for at in times})
        known = [dict(zip(times, values, strict=True)) for _, times, values in series]
        stack = [[0 if math.isnan(values.get(at, 0)) else values.get(at, 0) for at in moments] for values in known]
        axes.stackplot([at - window.end for at in moments], stack, labels=[name for name, _, _ in series], alpha=0.7)
    else:
        for name, times, values in series:
            # A gap is a gap.
            cuts = [place for place, (a, b) in enumerate(pairwise(times), 1) if b - a > 1.5 * window.step]
            axes.plot(
                np.insert(np.subtract(times, window.end), cuts, math.nan),
                np.insert(values, cuts, math.nan),
                label=name,
                drawstyle=style,
                linewidth=1,
            )
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, custom.get("axisSoftMin", low)), max(high, custom.get("axisSoftMax", high)))
    axes.set_xlim(-window.seconds, 0)
    axes.yaxis.set_major_formatter(lambda value, _: formatted(value, _unit(panel)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6, loc="upper left", ncols=1 + len(series) // 9, framealpha=0.6)


def _numbers(axes: Any, panel: Json, answers: Answers, window: Window) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    texts = {
        value: result["text"]
        for mapping in defaults.get("mappings") or []
        for value, result in mapping["options"].items()
    }
    lines = []
    for name, _, values in _series(answers):
        shown = texts.get(f"{values[-1]:g}", formatted(values[-1], _unit(panel)))
        lines.append(f"{shown}\n{name}" if name else shown)
    axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=13 if len(lines) == 1 else 7)
    axes.set_axis_off()


def _bars(axes: Any, panel: Json, answers: Answers, window: Window) -> None:
    series = [(name, values[-1]) for name, _, values in _series(answers)][::-1]
    axes.barh([name for name, _ in series], [value for _, value in series])
    for place, (_, value) in enumerate(series):
        axes.text(value, place, f" {formatted(value, _unit(panel))}", va="center", fontsize=7)
    axes.tick_params(axis="y", direction="in", pad=-4, labelsize=6)
    for label in axes.get_yticklabels():
        label.set_ha("left")
    axes.xaxis.set_major_formatter(lambda value, _: formatted(value, _unit(panel)))


def _stretches(axes: Any, panel: Json, answers: Answers, window: Window) -> None:
    colors = {
        float(value): result["color"]
        for mapping in panel["fieldConfig"]["defaults"]["mappings"]
        for value, result in mapping["options"].items()
    }
    series = list(_series(answers))
    for place, (_, times, values) in enumerate(series):
        for at, value in zip(times, values, strict=True):
            axes.barh(place, window.step, left=at - window.end, color=colors.get(value, "grey"), height=0.8)
    axes.set_yticks(range(len(series)), [name for name, _, _ in series], fontsize=6)
    axes.tick_params(axis="y", direction="in", pad=-4)
    for label in axes.get_yticklabels():
        label.set_ha("left")
    axes.set_xlim(-window.seconds, 0)


def _table(axes: Any, panel: Json, answers: Answers, window: Window) -> None:
    organised = panel["transformations"][-1]["options"]
    units = {
        override["matcher"]["options"]: override["properties"][0]["value"]
        for override in panel["fieldConfig"].get("overrides", [])
    }
    merged: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for target, found in answers:
        field = f"Value #{target['refId']}" if len(answers) > 1 else "Value"
        for series in found:
            row = merged.setdefault(tuple(sorted(series["metric"].items())), dict(series["metric"]))
            name = organised["renameByName"].get(field, field)
            row[field] = formatted(float(series["values"][-1][1]), units.get(name, _unit(panel)))
    hidden = {name for name, left_out in organised["excludeByName"].items() if left_out}
    order = sorted(organised["indexByName"].keys() - hidden, key=organised["indexByName"].__getitem__)
    order = [field for field in order if any(field in row for row in merged.values())]
    cells = [[row.get(field, "")[:24] for field in order] for row in list(merged.values())[:14]]
    names = [organised["renameByName"].get(field, field) for field in order]
    shown = axes.table(cellText=cells, colLabels=names, loc="upper center", cellLoc="left", edges="horizontal")
    shown.auto_set_font_size(False)
    shown.set_fontsize(6.5)
    axes.set_axis_off()


def _density(axes: Any, panel: Json, answers: Answers, window: Window) -> None:
    buckets = sorted(
        ((float(series["metric"]["le"]), dict(series["values"])) for _, found in answers for series in found),
        key=lambda bucket: bucket[0],
    )
    times = sorted({at for _, counts in buckets for at in counts})
    cumulative = [[float(counts.get(at, 0)) for at in times] for _, counts in buckets]
    below = [[0.0] * len(times), *cumulative[:-1]]
    counts = [
        [max(0.0, a - b) for a, b in zip(one, other, strict=True)] for one, other in zip(cumulative, below, strict=True)
    ]
    axes.pcolormesh([at - window.end for at in times], range(len(buckets)), counts, cmap="Blues", shading="nearest")
    axes.set_yticks(range(len(buckets)), [formatted(end, _unit(panel)) for end, _ in buckets], fontsize=6)
    axes.set_xlim(-window.seconds, 0)


_KINDS = {
    "timeseries": _lines,
    "stat": _numbers,
    "bargauge": _bars,
    "state-timeline": _stretches,
    "table": _table,
    "heatmap": _density,
}


@click.command(help=__doc__)
@click.option("--prometheus", default="http://localhost:9090", show_default=True, help="URL.")
@click.option("--since-s", type=int, default=6 * 3600, show_default=True, help="Length of the time range, seconds.")
@click.option("--rate-s", type=int, default=300, show_default=True, help="Seconds over which rates are computed.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/dashboards"), show_default=True)
def main(prometheus: str, since_s: int, rate_s: int, folder: Path) -> None:
    """Draw every dashboard."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in DASHBOARDS:
        try:
            draw(prometheus.rstrip("/"), load(name), Window(time.time(), since_s, rate_s), folder / f"{name}.png")
        except (OSError, ValueError) as error:
            raise click.ClickException(f"{prometheus}: {error}; give the URL of a Prometheus") from error
        print(folder / f"{name}.png")


if __name__ == "__main__":
    main()
