"""The table: Markdown to read, JSON to compute with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.case import Case, Measurement, Size
from benchmarks.floors import floor_bins_per_second

#: The full problem: the human genome in 25-bp bins, and the tracks of the published work.
FULL_BINS, FULL_TRACKS = 124_000_000, 1_014


@dataclass(frozen=True)
class Row:
    """One row: a case with its measurement, or with why there is none.

    Parameters
    ----------
    case : Case
    measurement : Measurement or None
    problem : str
        Why it could not be measured.
    failed : bool
        It should have been.
    """

    case: Case
    measurement: Measurement | None
    problem: str = ""
    failed: bool = False


def derived(row: Row, ceilings: dict[str, Any]) -> dict[str, float | None]:
    """Numbers that follow from a measurement and the ceilings.

    Returns
    -------
    dict
        ``megabytes_per_second``; ``floor_bins_per_second`` and ``of_floor``, its fraction reached; ``ratio`` over the
        plain loop; ``full_problem_hours`` of one pass over the full problem, where the case has its tracks (or is
        counted per track).
    """
    found = row.measurement
    if found is None:
        return {}
    speed = found.bins_per_second
    floor = floor_bins_per_second(found.operations_per_bin, found.bytes_per_bin, ceilings[found.device])
    full = {"ingest": FULL_BINS * FULL_TRACKS}.get(
        row.case.stage, FULL_BINS if row.case.tracks == FULL_TRACKS else None
    )
    return {
        "megabytes_per_second": speed * found.bytes_per_bin / 1e6,
        "floor_bins_per_second": floor,
        "of_floor": speed / floor,
        "ratio": speed / found.reference_bins_per_second if found.reference_bins_per_second else None,
        "full_problem_hours": full / speed / 3600 if full else None,
    }


def as_json(size: Size, machine: dict[str, Any], ceilings: dict[str, Any], rows: Sequence[Row], start_up: Any) -> Any:
    """Everything measured and derived, for a JSON file."""
    return {
        "size": size,
        "machine": machine,
        "ceilings": ceilings,
        "start_up_seconds": start_up,
        "rows": [
            {**vars(row.case), "problem": row.problem, "failed": row.failed}
            | (vars(row.measurement) if row.measurement else {})
            | derived(row, ceilings)
            for row in rows
        ],
    }


def as_markdown(content: dict[str, Any]) -> str:
    """The table of `as_json` content as Markdown."""
    columns = SCALING_COLUMNS if content["size"] == "scaling" else COLUMNS
    lines = _header(content)
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * 2 + "---:|" * (len(columns) - 2)]
    notes: list[str] = []
    for row in content["rows"]:
        note = row["problem"] or row.get("note", "")
        if note and note not in notes:
            notes.append(note)
        mark = f" [{notes.index(note) + 1}]" if note else ""
        cells = [column(row) for column in columns.values()]
        cells[1] += mark
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"[{number}] {note}  " for number, note in enumerate(notes, 1))]
    if content["start_up_seconds"]:
        times = ", ".join(f"`{name}` {seconds:.2f} s" for name, seconds in content["start_up_seconds"].items())
        lines += ["", f"Start-up (`epilstm <step> --help`): {times}."]
    return "\n".join(lines) + "\n"


def _header(content: dict[str, Any]) -> list[str]:
    machine, ceilings = content["machine"], content["ceilings"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    cpu, storage, gpu = ceilings["cpu"], ceilings["storage"], ceilings.get("cuda")
    lines = [
        f"- machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory'] / 1e9:.0f} GB; {machine['system']}",
        f"- GPU: {gpu['name']}, {gpu['memory'] / 1e9:.0f} GB" if gpu else "- GPU: none on this machine",
        f"- versions: {versions}",
        f"- measured ceilings, {content['threads']} threads: matrix product {cpu['operations'] / 1e9:.0f} GFLOP/s "
        f"(float32), memory {cpu['bandwidth'] / 1e9:.1f} GB/s (copy, read and written), storage "
        f"{_mb(storage['read'])} read (uncached), {_mb(storage['written'])} written (synced)",
    ]
    if gpu:
        lines.append(
            f"- measured ceilings of the GPU: matrix product {gpu['operations'] / 1e12:.0f} TFLOP/s (bfloat16), memory "
            f"{gpu['bandwidth'] / 1e9:.0f} GB/s (copy, read and written), from pinned host memory "
            f"{gpu['from_host'] / 1e9:.1f} GB/s"
        )
    return [*lines, ""]


def _mb(value: float) -> str:
    return f"{value / 1e6:,.0f} MB/s"


def _number(key: str, template: str = "{:,.0f}", factor: float = 1) -> Callable[[dict[str, Any]], str]:
    def cell(row: dict[str, Any]) -> str:
        value = row.get(key)
        return "" if value is None else template.format(value * factor)

    return cell


def _rate(key: str) -> Callable[[dict[str, Any]], str]:
    def cell(row: dict[str, Any]) -> str:
        value = row.get(key)
        if value is None:
            return ""
        digits = max(0, len(str(int(value))) - 3)
        return f"{round(value, -digits):,.0f}"

    return cell


def _per_bin(row: dict[str, Any], values: int) -> str:
    return f"{1e9 / row['bins_per_second'] / values:,.1f}" if "bins_per_second" in row else ""


#: Heading -> cell.
COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "stage": lambda row: str(row["stage"]),
    "case": lambda row: str(row["name"]),
    "bins x tracks": lambda row: f"{row['bins']:,} x {row['tracks']:,}",
    "bins/s": _rate("bins_per_second"),
    "MB/s": _rate("megabytes_per_second"),
    "peak memory, MB": _number("peak_memory", factor=1e-6),
    "floor, bins/s": _rate("floor_bins_per_second"),
    "of floor": _number("of_floor", "{:.1%}"),
    "storage alone, bins/s": _rate("storage_bins_per_second"),
    "plain loop, bins/s": _rate("reference_bins_per_second"),
    "times the plain loop": _rate("ratio"),
    "full problem, h": _number("full_problem_hours", "{:.2f}"),
}

SCALING_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    **{heading: COLUMNS[heading] for heading in ("stage", "case", "bins x tracks", "bins/s")},
    "ns per bin": lambda row: _per_bin(row, 1),
    "ns per value": lambda row: _per_bin(row, row["tracks"]),
    "peak memory, MB": COLUMNS["peak memory, MB"],
    "of floor": COLUMNS["of floor"],
}
