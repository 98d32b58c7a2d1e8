"""Lines of a gene annotation (GTF), checked, with 0-based, half-open coordinates."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from epilstm.errors import LabelsError


@dataclass(frozen=True)
class GtfLine:
    """A feature of an annotation.

    Parameters
    ----------
    where : str
        ``file:line``, for messages.
    feature, chrom : str
    start, end : int
        0-based, half-open; the file counts from 1 and includes the end.
    strand : str
        As the file has it.
    attributes : str
        The last column, not taken apart.
    """

    where: str
    feature: str
    chrom: str
    start: int
    end: int
    strand: str
    attributes: str


def gtf_lines(path: Path, lines: Iterable[str], features: Container[str]) -> Iterator[GtfLine]:
    """Lines of some features; others are checked for their columns only.

    Parameters
    ----------
    path : Path
        Of the file, for messages.
    lines : iterable of str
        What it holds.
    features : container of str
        Such as ``gene``, ``transcript``, ``exon``.

    Raises
    ------
    LabelsError
        A line has too few columns, or a feature's coordinates are none.
    """
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip():
            continue
        fields = line.rstrip("\r\n").split("\t", 8)
        where = f"{path}:{number}"
        if len(fields) < 9:
            raise LabelsError(f"{where}: expected the 9 tab-separated columns of GTF, got {len(fields)}")
        chrom, _, feature, start, end, _, strand, _, attributes = fields
        if feature not in features:
            continue
        if not (start.isdecimal() and end.isdecimal() and 1 <= int(start) <= int(end)):
            raise LabelsError(f"{where}: expected 1 <= start <= end, got {start!r} and {end!r}")
        yield GtfLine(where, feature, chrom, int(start) - 1, int(end), strand, attributes)
