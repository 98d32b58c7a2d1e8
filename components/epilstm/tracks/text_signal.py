"""Signal as text: bedGraph and wiggle (fixedStep, variableStep), read from end to end and checked line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from epilstm.console import log
from epilstm.errors import TrackError
from epilstm.files.text import byte_blocks, whole_number
from epilstm.genome.name_matching import match_names

WHAT = "bedGraph or wiggle"

#: Intervals of lines that are read one by one, gathered before they are passed on.
GATHERED = 100_000

#: What lines that are no bedGraph begin with, or have in them; a block without any of it is read at once.
_OTHER_LINES = (b"#", b"track", b"browser", b"Step")


class Signal(NamedTuple):
    """Intervals of one chromosome, in order, with the lines that they stand on."""

    chrom: str
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    lines: npt.NDArray[np.int64]


def text_signal(path: Path, name: str, sizes: Mapping[str, int]) -> Iterator[Signal]:
    """Intervals of a bedGraph or wiggle file, plain or gzipped.

    Lines without a value (NaN) are left out; intervals of length 0 are passed on. Chromosomes that are not in `sizes`
    are left out, and what reaches past the end of one that is is cut off, each with a warning.

    Parameters
    ----------
    name : str
        What messages call the file.
    sizes : mapping of str to int
        Chromosome sizes of the assembly (bp).

    Raises
    ------
    TrackError
        Names file, line and cause: not such a file, unsorted or overlapping lines, one past its chromosome's end, or
        none of its chromosomes is in `sizes`.
    """
    checks = _Checks(name, sizes)
    try:
        for signal in _signals(byte_blocks(path, WHAT, TrackError), name):
            kept = checks(signal)
            if kept is not None:
                yield kept
    except TrackError as error:
        raise TrackError(str(error).replace(str(path), name)) from error
    checks.warn()


@dataclass
class _Checks:
    """What is checked of one run of intervals after the other."""

    name: str
    sizes: Mapping[str, int]
    chrom: str = ""
    start: int = 0
    end: int = 0
    seen: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    cut: int = 0

    def __call__(self, signal: Signal) -> Signal | None:
        chrom, starts, ends, values, lines = signal
        if chrom != self.chrom:
            if chrom in self.seen:
                raise self._error(lines[0], f"{chrom} comes a second time: {_SORT}")
            self.seen.add(chrom)
            self.chrom, self.start, self.end = chrom, 0, 0
        self._refuse(starts > ends, signal, "the start is above the end")
        self._refuse(starts < np.append(self.start, starts[:-1]), signal, f"begins before the line above it: {_SORT}")
        before = np.maximum.accumulate(np.append(self.end, ends))[:-1]
        overlaps = (starts < before) & (ends > starts)
        self._refuse(overlaps, signal, "overlaps a line above it, and a base can have only one value")
        self._refuse(np.isinf(values), signal, "the value is infinite, or too large for a bigWig")
        self.start, self.end = int(starts[-1]), int(max(self.end, ends.max()))
        self.counts[chrom] = self.counts.get(chrom, 0) + len(starts)
        size = self.sizes.get(chrom)
        if size is None:
            return None
        self._refuse(starts >= size, signal, f"past the end of {chrom}, which has {size:,} bp: wrong assembly?")
        self.cut += int((ends > size).sum())
        known = ~np.isnan(values)
        return Signal(chrom, starts[known], np.minimum(ends, size)[known], values[known], lines[known])

    def _refuse(self, bad: npt.NDArray[np.bool_], signal: Signal, why: str) -> None:
        if bad.any():
            at = int(bad.argmax())
            place = f"{signal.chrom}:{signal.starts[at]}-{signal.ends[at]}"
            raise self._error(signal.lines[at], f"{place}: {why}")

    def _error(self, line: int | np.int64, why: str) -> TrackError:
        return TrackError(f"{self.name}:{line}: {why}")

    def warn(self) -> None:
        """Warn of what was left out; an error if that is everything."""
        match_names(self.counts, self.sizes, self.name, "the assembly", what="lines", error=TrackError)
        if self.cut:
            log.warning(
                f"{self.name}: {self.cut:,} interval{'s reach' if self.cut != 1 else ' reaches'} past a "
                "chromosome's end: cut off there"
            )


_SORT = "sort the file (sort -k1,1 -k2,2n)"


def _signals(blocks: Iterable[bytes], name: str) -> Iterator[Signal]:
    lines = _Lines(name)
    number = 1
    for block in _whole_lines(blocks):
        count = block.count(b"\n")
        found = (
            None if lines.is_wiggle or any(each in block for each in _OTHER_LINES) else _bedgraph(block, number, count)
        )
        if found is None:
            yield from lines.read(block, number)
        else:
            lines.begun = True
            yield from found
        number += count


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    r"""Blocks that end with a line, with ``\n`` for every line end."""
    rest = b""
    for block in blocks:
        text = rest + block
        held = text.endswith(b"\r")  # the line end may continue in the next block
        text = text[:-1] if held else text
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        cut = text.rfind(b"\n") + 1
        rest = text[cut:] + (b"\r" if held else b"")
        if cut:
            yield text[:cut]
    if rest.strip():
        yield rest.rstrip(b"\r") + b"\n"


def _bedgraph(block: bytes, number: int, count: int) -> list[Signal] | None:
    """Intervals of a block of nothing but bedGraph lines as most files have them; None for any other."""
    fields = block.split()
    if len(fields) != 4 * count:
        return None
    chroms, starts, ends = (np.array(fields[column::4]) for column in range(3))
    # Four fields in each line, rather than three and five: every fourth is a chromosome's, the others are numbers.
    if not (_digits(starts) and _digits(ends)) or b"_" in b"".join(fields[3::4]):
        return None
    try:
        values = np.array(fields[3::4]).astype(np.float64)
    except ValueError:
        return None
    edges = [0, *(np.flatnonzero(chroms[1:] != chroms[:-1]) + 1).tolist(), count]
    signal = Signal("", starts.astype(np.int64), ends.astype(np.int64), _float32(values), np.arange(count) + number)
    return [
        Signal(
            fields[4 * first].decode("utf-8", "replace"),
            signal.starts[first:last],
            signal.ends[first:last],
            signal.values[first:last],
            signal.lines[first:last],
        )
        for first, last in pairwise(edges)
    ]


def _digits(texts: npt.NDArray[np.bytes_]) -> bool:
    """Whether texts are plain numbers of at most 18 digits."""
    width = texts.dtype.itemsize
    bytes_ = texts.view(np.uint8)
    return width <= 18 and bool((((bytes_ >= 48) & (bytes_ <= 57)) | (bytes_ == 0)).all())


def _float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


class _Lines:
    """Reads line by line what may be anything that bedGraph and wiggle files have."""

    def __init__(self, name: str) -> None:
        self.name, self.begun = name, False
        self._step: dict[str, int] | None = None  # of wiggle: the next position, step and span
        self._chrom = ""
        self._variable = False

    @property
    def is_wiggle(self) -> bool:
        """Whether the lines that follow are those of a declaration."""
        return self._step is not None

    def read(self, block: bytes, number: int) -> Iterator[Signal]:
        """Intervals of a block of lines, the first of which has a number."""
        chrom, rows = "", list[tuple[int, int, float, int]]()
        for place, line in enumerate(block[:-1].split(b"\n"), number):
            found = self._interval(line.decode("utf-8", "replace"), place)
            if found is None:
                continue
            if found[0] != chrom or len(rows) >= GATHERED:
                yield from _gathered(chrom, rows)
                chrom, rows = found[0], []
            rows.append((*found[1:], place))
        yield from _gathered(chrom, rows)

    def _interval(self, line: str, number: int) -> tuple[str, int, int, float] | None:
        fields = line.split()
        if not fields or fields[0].startswith("#") or fields[0] == "browser":
            return None
        if fields[0] == "track":
            self._step = None
            return None
        if fields[0] in ("fixedStep", "variableStep"):
            self._declare(fields, line, number)
            return None
        self.begun, first = True, not self.begun
        if self._step is not None:
            return self._wiggle(fields, line, number)
        start, end = (whole_number(each) for each in fields[1:3]) if len(fields) == 4 else (None, None)
        if start is None or end is None:
            if first and len(fields) > 1 and not any(character.isdigit() for character in fields[1]):
                return None  # a header line
            raise self._error(line, number, "expected 'chromosome start end value' (bedGraph)")
        return fields[0], start, end, self._value(fields[3], line, number)

    def _declare(self, fields: list[str], line: str, number: int) -> None:
        pairs = dict(each.partition("=")[::2] for each in fields[1:])
        numbers = {key: whole_number(pairs.get(key, "1")) for key in ("start", "step", "span")}
        self._variable = fields[0] == "variableStep"
        allowed = {"chrom", "span"} if self._variable else {"chrom", "start", "step", "span"}
        needed = {"chrom"} if self._variable else {"chrom", "start"}
        step = {key: value for key, value in numbers.items() if value is not None and value > 0}
        if len(step) < 3 or not pairs.get("chrom") or not needed <= set(pairs) <= allowed:
            raise self._error(
                line,
                number,
                f"expected '{fields[0]} {' '.join(f'{each}=...' for each in sorted(needed))}', whole numbers above 0",
            )
        self._chrom, self._step = pairs["chrom"], step

    def _wiggle(self, fields: list[str], line: str, number: int) -> tuple[str, int, int, float]:
        assert self._step is not None
        if len(fields) != (2 if self._variable else 1):
            raise self._error(
                line, number, f"expected {'a position and a value' if self._variable else 'one value'} (wiggle)"
            )
        position = whole_number(fields[0]) if self._variable else self._step["start"]
        if not position:
            raise self._error(line, number, "positions in wiggle are whole numbers from 1")
        self._step["start"] += self._step["step"]
        return self._chrom, position - 1, position - 1 + self._step["span"], self._value(fields[-1], line, number)

    def _value(self, text: str, line: str, number: int) -> float:
        try:
            if "_" not in text:
                return float(text)
        except ValueError:
            pass
        raise self._error(line, number, f"the value {text!r} is not a number")

    def _error(self, line: str, number: int, why: str) -> TrackError:
        return TrackError(f"{self.name}:{number}: {why}, got {line.strip()[:80]!r}")


def _gathered(chrom: str, rows: list[tuple[int, int, float, int]]) -> Iterator[Signal]:
    if rows:
        starts, ends, values, lines = zip(*rows, strict=True)
        yield Signal(
            chrom,
            np.array(starts, np.int64),
            np.array(ends, np.int64),
            _float32(np.array(values, np.float64)),
            np.array(lines, np.int64),
        )
