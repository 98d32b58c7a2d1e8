"""Assemblies, regions and bins.

Coordinates are 0-based and half-open (BED). A *bin* is `bin_size` base pairs; bin ``i`` of a chromosome
covers ``[i * bin_size, (i + 1) * bin_size)``. The last bin of a chromosome may reach past its end.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import IO

from epilstm.errors import GenomeError

BUILT_IN_ASSEMBLIES = ("hg19", "hg38", "mm10")

_REGION = re.compile(r"(?P<chrom>[^:\s]+)(:(?P<start>[0-9,]{1,15})-(?P<end>[0-9,]{1,15}))?")

#: First line of a BED file that stands for "no restriction": every chromosome, whole.
WHOLE_GENOME_DIRECTIVE = "#whole-genome"


@dataclass(frozen=True, order=True)
class Region:
    """A stretch of one chromosome, in base pairs.

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

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.chrom}:{self.start}-{self.end}"


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
            known = ", ".join(list(self.sizes)[:4])
            raise GenomeError(
                f"chromosome {chrom!r} is not in assembly {self.name} (it has {known}, ...); "
                "check the spelling ('chr1' or '1') and the assembly"
            ) from None

    def regions(self) -> list[Region]:
        """Every chromosome as one region."""
        return [Region(chrom, 0, size) for chrom, size in self.sizes.items()]


def load_assembly(name_or_path: str) -> Assembly:
    """Chromosome sizes of a built-in assembly or of a ``chrom.sizes`` file.

    Parameters
    ----------
    name_or_path : str
        One of `BUILT_IN_ASSEMBLIES`, or a file of ``name<TAB>size`` lines.

    Returns
    -------
    Assembly

    Raises
    ------
    GenomeError
        Neither a built-in name nor a readable sizes file.
    """
    if name_or_path in BUILT_IN_ASSEMBLIES:
        text = (files("epilstm") / "genomes" / f"{name_or_path}.chrom.sizes").read_text()
        return Assembly(name_or_path, _parse_sizes(text, name_or_path))
    path = Path(name_or_path)
    if not path.is_file():
        raise GenomeError(
            f"assembly {name_or_path!r} is neither one of {', '.join(BUILT_IN_ASSEMBLIES)} nor a chrom.sizes file"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GenomeError(f"{path}: cannot be read as a chrom.sizes file: {error}") from error
    return Assembly(name_or_path, _parse_sizes(text, name_or_path))


def _parse_sizes(text: str, source: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) < 2 or not fields[1].isdecimal() or int(fields[1]) == 0:
            raise GenomeError(f"{source}:{number}: expected 'chromosome<TAB>size', got {line!r}")
        if fields[0] in sizes:
            raise GenomeError(f"{source}:{number}: chromosome {fields[0]!r} is listed twice")
        sizes[fields[0]] = int(fields[1])
    if not sizes:
        raise GenomeError(f"{source}: no chromosome sizes in the file")
    return sizes


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
    size = assembly[found["chrom"]]
    if found["start"] is None:
        return Region(found["chrom"], 0, size)
    start, end = (int(found[key].replace(",", "") or 0) for key in ("start", "end"))
    if not start < end <= size:
        raise GenomeError(
            f"--region {text}: start must be below end, and end at most {size:,}, its chromosome's length"
        )
    return Region(found["chrom"], start, end)


def open_text(path: Path) -> IO[str]:
    """Open a text file, gzipped or not, for reading."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return open(path, encoding="utf-8")


def iter_bed(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines of a BED-like file as ``(line number, fields)``, headers and comments left out.

    Raises
    ------
    GenomeError
        The file is missing, unreadable, or a line has no valid start and end.
    """
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip() or line.startswith(("#", "track", "browser")):
                    continue
                fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
                if len(fields) < 3 or not (fields[1].isdecimal() and fields[2].isdecimal()):
                    raise GenomeError(f"{path}:{number}: expected 'chrom start end', got {line.strip()!r}")
                if int(fields[1]) >= int(fields[2]):
                    raise GenomeError(f"{path}:{number}: start {fields[1]} is not below end {fields[2]}")
                yield number, fields
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise GenomeError(f"{path}: cannot be read as BED: {error}") from error


def read_regions(path: Path, assembly: Assembly, bin_size: int) -> list[Region]:
    """Regions of a BED file, snapped outward to whole bins, sorted in assembly order and merged.

    Parameters
    ----------
    path : Path
        BED file (``.gz`` allowed). One whose first line is `WHOLE_GENOME_DIRECTIVE` stands for every chromosome.
    assembly : Assembly
        Regions must lie inside its chromosomes.
    bin_size : int
        In base pairs.

    Raises
    ------
    GenomeError
        No region, an unknown chromosome, or a region past the chromosome's end.
    """
    regions = _read_bed_regions(path, assembly)
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
    """Regions of a BED file whose signal is not to be believed; an empty file blacklists nothing.

    Chromosomes that the assembly lacks are ignored: blacklists list scaffolds too.

    Raises
    ------
    GenomeError
        The file is missing or not BED.
    """
    known = [
        Region(fields[0], int(fields[1]), min(int(fields[2]), assembly.sizes[fields[0]]))
        for _, fields in iter_bed(path)
        if fields[0] in assembly.sizes and int(fields[1]) < assembly.sizes[fields[0]]
    ]
    return merge(known, assembly)


def _read_bed_regions(path: Path, assembly: Assembly) -> list[Region]:
    regions = []
    for number, fields in iter_bed(path):
        chrom, start, end = fields[0], int(fields[1]), int(fields[2])
        if chrom not in assembly.sizes:
            raise GenomeError(f"{path}:{number}: chromosome {chrom!r} is not in assembly {assembly.name}")
        if end > assembly.sizes[chrom]:
            raise GenomeError(
                f"{path}:{number}: end {end} is past the end of {chrom} ({assembly.sizes[chrom]} bp in {assembly.name})"
            )
        regions.append(Region(chrom, start, end))
    return regions


def _first_line(path: Path) -> str:
    with open_text(path) as lines:
        return lines.readline().strip()


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
