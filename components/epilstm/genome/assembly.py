"""Assemblies, regions and bins.

Coordinates are 0-based and half-open (BED). A *bin* is `bin_size` base pairs; bin ``i`` of a chromosome
covers ``[i * bin_size, (i + 1) * bin_size)``. The last bin of a chromosome may reach past its end.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from epilstm.console import log
from epilstm.errors import EpilstmError, GenomeError
from epilstm.files.text import table_lines, text_lines, whole_number
from epilstm.genome.name_matching import match_names, those_there

BUILT_IN_ASSEMBLIES = ("hg19", "hg38", "mm10")

_REGION = re.compile(r"(?P<chrom>[^:\s]+)(:(?P<start>[0-9,]{1,15})-(?P<end>[0-9,]{1,15}))?")

_INTERVAL = re.compile(r"(?P<chrom>\S+):(?P<start>[0-9]+)-(?P<end>[0-9]+)")

#: First line of a BED file that stands for "no restriction": every chromosome, whole.
WHOLE_GENOME_DIRECTIVE = "#whole-genome"

#: What tables call their columns of sizes, starts and ends, in letters only.
_SIZE_NAMES = frozenset({"size", "sizes", "length", "len", "chromsize", "chromlength", "seqlength", "bases", "bp"})
_START_NAMES = frozenset({"start", "chromstart", "begin", "txstart", "from", "startbp"})
_END_NAMES = frozenset({"end", "chromend", "stop", "txend", "to", "endbp"})


@dataclass(frozen=True, order=True)
class Region:
    """An interval of one chromosome, in base pairs.

    Parameters
    ----------
    chrom : str
        Chromosome name as the assembly spells it.
    start, end : int
        0-based, half-open.
    """

    chrom: str
    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read what `str` makes of a region.

        Raises
        ------
        ValueError
            It is not of the form ``chrom:start-end``.
        """
        form = _INTERVAL.fullmatch(text)
        if form is None:
            raise ValueError(f"{text!r} is not of the form chrom:start-end")
        return cls(form["chrom"], int(form["start"]), int(form["end"]))

    def overlap(self, other: Region) -> Region | None:
        """What lies in both; None if nothing does."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Region(self.chrom, start, end) if self.chrom == other.chrom and start < end else None

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.chrom}:{self.start}-{self.end}"


def is_region(text: str) -> bool:
    """Whether a text is of the form that `Region.parse` reads."""
    return _INTERVAL.fullmatch(text) is not None


@dataclass(frozen=True)
class Assembly:
    """Chromosome names and sizes.

    Parameters
    ----------
    name : str
        ``hg19``, ``hg38``, ``mm10`` or the path of a sizes file.
    sizes : mapping of str to int
        Chromosome sizes in base pairs, in the order of the file.
    """

    name: str
    sizes: Mapping[str, int]

    def __getitem__(self, chrom: str) -> int:
        try:
            return self.sizes[chrom]
        except KeyError:
            raise GenomeError(
                f"chromosome {chrom!r} is not in assembly {self.name}; it has {those_there(chrom, self.sizes)}"
            ) from None

    def regions(self) -> list[Region]:
        """Every chromosome as one region."""
        return [Region(chrom, 0, size) for chrom, size in self.sizes.items()]


def assembly_name(name_or_path: str) -> str:
    """What figures and pages call an assembly: its name, or that of its file without the folders."""
    return Path(name_or_path).name


def load_assembly(name_or_path: str) -> Assembly:
    """Chromosome sizes of a built-in assembly or of a ``chrom.sizes`` file.

    Parameters
    ----------
    name_or_path : str
        One of `BUILT_IN_ASSEMBLIES`, or a file of ``name<TAB>size`` lines.

    Raises
    ------
    GenomeError
        Neither a built-in name nor a readable sizes file.
    """
    if name_or_path in BUILT_IN_ASSEMBLIES:
        text = (files("epilstm.genome") / "assemblies" / f"{name_or_path}.chrom.sizes").read_text()
        return Assembly(name_or_path, _parse_sizes(enumerate(text.splitlines(), 1), name_or_path))
    path = Path(name_or_path)
    if not path.is_file():
        raise GenomeError(
            f"assembly {name_or_path!r} is neither one of {', '.join(BUILT_IN_ASSEMBLIES)} nor a chrom.sizes file"
        )
    return Assembly(name_or_path, _parse_sizes(text_lines(path, "a chrom.sizes file", GenomeError), name_or_path))


def _parse_sizes(lines: Iterable[tuple[int, str]], source: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    first = True
    for number, fields in table_lines(lines):
        header, first = first and _is_header(fields[1:2], _SIZE_NAMES), False
        if header:
            continue
        size = whole_number(fields[1]) if len(fields) > 1 else None
        if not size:
            raise GenomeError(f"{source}:{number}: expected 'chromosome<TAB>size', got {'<TAB>'.join(fields)!r}")
        if fields[0] in sizes:
            raise GenomeError(f"{source}:{number}: chromosome {fields[0]!r} is listed twice")
        sizes[fields[0]] = size
    if not sizes:
        raise GenomeError(f"{source}: no chromosome sizes in the file")
    return sizes


def _is_header(fields: Sequence[str], *names: Collection[str]) -> bool:
    """Whether fields of a table's first line are usual names of their columns."""
    return len(fields) == len(names) and all(
        re.sub(r"[^a-z]", "", field.casefold()) in known for field, known in zip(fields, names, strict=True)
    )


def bin_count(length: int, bin_size: int) -> int:
    """Number of bins that cover `length` base pairs (the last may be partial)."""
    return -(-length // bin_size)


def bins_of(region: Region, bin_size: int) -> tuple[int, int]:
    """First and one-past-last bin that overlap a region."""
    return region.start // bin_size, bin_count(region.end, bin_size)


def parse_region(text: str, assembly: Assembly) -> Region:
    """Read ``chr1:1,000-2,000``, or ``chr1`` for all of it.

    Raises
    ------
    GenomeError
        It is not a region of the assembly.
    """
    found = _REGION.fullmatch(text)
    if found is None:
        raise GenomeError(f"--region {text!r}: not a region; write it as chr1:1000000-1002500, or chr1")
    try:
        size = assembly[found["chrom"]]
    except GenomeError as error:
        raise GenomeError(f"--region {text}: {error}") from error
    if found["start"] is None:
        return Region(found["chrom"], 0, size)
    start, end = (int(found[key].replace(",", "") or 0) for key in ("start", "end"))
    if not start < end <= size:
        raise GenomeError(
            f"--region {text}: start must be below end, and end at most {size:,}, its chromosome's length"
        )
    return Region(found["chrom"], start, end)


def bed_intervals(
    path: Path, what: str = "BED", error: type[EpilstmError] = GenomeError, empty: bool = False
) -> Iterator[tuple[int, Region, list[str]]]:
    """Intervals of a BED-like file: number of the line, the interval, and all fields of the line.

    Comments, ``track`` and ``browser`` lines and a line of column names at the top are left out. Ends are not
    compared with those of chromosomes.

    Parameters
    ----------
    what : str
        What the file should be, for messages.
    error : type
        Class of the errors.
    empty : bool
        Whether intervals that cover no base are allowed.

    Raises
    ------
    EpilstmError
        Of class `error`: the file is missing, unreadable, or a line has no valid start and end.
    """
    first = True
    for number, fields in table_lines(text_lines(path, what, error)):
        start, end = (whole_number(field) for field in fields[1:3]) if len(fields) > 2 else (None, None)
        if start is None or end is None:
            if first and _is_header(fields[1:3], _START_NAMES, _END_NAMES):
                first = False
                continue
            raise error(f"{path}:{number}: expected 'chrom start end', got {' '.join(fields)!r}")
        first = False
        if start >= end and not empty:
            raise error(f"{path}:{number}: start {start} is not below end {end}")
        yield number, Region(fields[0], start, end), fields


class Placement:
    """Puts a user's intervals onto a genome, and counts those that it has no place for.

    Parameters
    ----------
    sizes : mapping of str to int
        Chromosome sizes in base pairs.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.found: Counter[str] = Counter()
        self.clipped = self.beyond = 0

    def place(self, region: Region) -> Region | None:
        """An interval as far as its chromosome goes; None where it covers no base of the genome."""
        self.found[region.chrom] += 1
        size = self.sizes.get(region.chrom)
        if size is None:
            return None
        if region.end <= size:
            return region
        if region.start >= size:
            self.beyond += 1
            return None
        self.clipped += 1
        return Region(region.chrom, region.start, size)

    def report(
        self,
        source: str,
        target: str,
        error: type[EpilstmError] = GenomeError,
        partial: int = logging.WARNING,
    ) -> None:
        """Say what was left out, once every interval is placed.

        Parameters
        ----------
        source, target : str
            The file, and whose chromosomes the intervals were compared with.
        error : type
            Class of the error.
        partial : int
            Log level of the line about chromosomes that are unknown, as for `match_names`.

        Raises
        ------
        EpilstmError
            Of class `error`: there are intervals, and all are elsewhere.
        """
        match_names(self.found, self.sizes, source, target, error=error, partial=partial)
        known = sum(count for chrom, count in self.found.items() if chrom in self.sizes)
        if known and self.beyond == known:
            raise error(
                f"{source}: all of its intervals lie past the ends of their chromosomes in {target}; "
                "is it of another assembly?"
            )
        if self.clipped or self.beyond:
            log.warning(
                f"{source}: of {known:,} intervals, {self.clipped:,} reach past the end of their chromosome in "
                f"{target} and are clipped, {self.beyond:,} lie beyond it and are left out; is it of another assembly?"
            )


def read_regions(path: Path, assembly: Assembly, bin_size: int) -> list[Region]:
    """Regions of a BED file, snapped outward to whole bins, sorted in assembly order and merged.

    What lies on chromosomes that the assembly lacks or past a chromosome's end is left out, with a warning.

    Parameters
    ----------
    path : Path
        BED file, gzipped or not. One whose first line is `WHOLE_GENOME_DIRECTIVE` stands for every chromosome.
    bin_size : int
        In base pairs.

    Raises
    ------
    GenomeError
        No region, or none that lies in the assembly.
    """
    regions = _placed(path, assembly)
    if not regions:
        if _first_line(path) == WHOLE_GENOME_DIRECTIVE:
            return assembly.regions()
        raise GenomeError(
            f"{path}: no regions in the file (for whole chromosomes, make {WHOLE_GENOME_DIRECTIVE} its first line)"
        )
    snapped = []
    for region in regions:
        first, last = bins_of(region, bin_size)
        snapped.append(Region(region.chrom, first * bin_size, min(last * bin_size, assembly[region.chrom])))
    return merge(snapped, assembly)


def read_blacklist(path: Path, assembly: Assembly) -> list[Region]:
    """Regions of a BED file whose signal is not to be believed, merged; an empty file blacklists nothing.

    What lies on chromosomes that the assembly lacks or past a chromosome's end is left out, with a warning:
    blacklists list scaffolds too.

    Raises
    ------
    GenomeError
        The file is missing or not BED, or has regions but none in the assembly.
    """
    return merge(_placed(path, assembly), assembly)


def _placed(path: Path, assembly: Assembly) -> list[Region]:
    placement = Placement(assembly.sizes)
    placed = [placement.place(region) for _, region, _ in bed_intervals(path)]
    placement.report(str(path), f"assembly {assembly.name}")
    return [region for region in placed if region is not None]


def _first_line(path: Path) -> str:
    _, line = next(text_lines(path, "BED", GenomeError), (1, ""))
    return line.strip()


def merge(regions: Iterable[Region], assembly: Assembly) -> list[Region]:
    """Sort by assembly order and position, and join regions that overlap or touch."""
    order = {chrom: rank for rank, chrom in enumerate(assembly.sizes)}
    merged: list[Region] = []
    for region in sorted(regions, key=lambda r: (order[r.chrom], r.start)):
        if merged and merged[-1].chrom == region.chrom and region.start <= merged[-1].end:
            merged[-1] = Region(region.chrom, merged[-1].start, max(merged[-1].end, region.end))
        else:
            merged.append(region)
    return merged


def chromosomes_of(regions: Sequence[Region]) -> list[str]:
    """Chromosomes of a list of regions, each once, in order of appearance."""
    return list(dict.fromkeys(region.chrom for region in regions))


class RegionIndex:
    """Regions that do not overlap each other, found by place without a search through all of them.

    Parameters
    ----------
    regions : iterable of Region
        In any order.
    """

    def __init__(self, regions: Iterable[Region]) -> None:
        self._regions: dict[str, list[Region]] = {}
        for region in sorted(regions):
            self._regions.setdefault(region.chrom, []).append(region)

    def overlapping(self, region: Region) -> list[Region]:
        """Those that share a base with a region, whole, in order."""
        there = self._regions.get(region.chrom, [])
        first = bisect_right(there, region.start, key=lambda each: each.end)
        return there[first : bisect_left(there, region.end, lo=first, key=lambda each: each.start)]
