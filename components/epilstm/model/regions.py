"""What a caller may name regions with: text, a BED file, tuples, or a table."""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from epilstm.errors import GenomeError
from epilstm.genome.assembly import Assembly, Region, bed_intervals, bins_of
from epilstm.genome.name_matching import those_there

REGION = re.compile(r"(?P<chrom>[^:\s]+):(?P<start>[0-9,]{1,15})-(?P<end>[0-9,]{1,15})")

FORMS = "give 'chr1:1000-2000', 'chr1', a BED file, (chrom, start, end), or a table with these columns"


@dataclass(frozen=True)
class LabelledRegion:
    """A region and what its rows are called: its number, or its row's label in the caller's table.

    Parameters
    ----------
    label : hashable
    region : Region
    """

    label: Hashable
    region: Region

    def bins(self, bin_size: int) -> tuple[int, int]:
        """First and one-past-last bin that it touches."""
        return bins_of(self.region, bin_size)


def labelled_regions(regions: Any, assembly: Assembly) -> list[LabelledRegion]:
    """Regions in the order given, neither merged nor sorted.

    Parameters
    ----------
    regions : str, Path, (chrom, start, end), Region, a list of these, or pandas.DataFrame
        0-based, half-open. A table has the columns ``chrom``, ``start`` and ``end``, and its index gives the labels.
    assembly : Assembly

    Raises
    ------
    GenomeError
        No region, one that cannot be read, or one outside its chromosome.
    """
    if hasattr(regions, "columns"):
        found = _of_table(regions)
    else:
        found = [LabelledRegion(number, region) for number, region in enumerate(_of_any(regions, assembly))]
    if not found:
        raise GenomeError(f"no regions; {FORMS}")
    for each in found:
        _require_inside(each.region, assembly)
    return found


def _of_any(regions: Any, assembly: Assembly) -> list[Region]:
    if isinstance(regions, str | Path):
        return _of_text(regions, assembly)
    if isinstance(regions, Region) or (isinstance(regions, tuple) and len(regions) == 3 and _is_number(regions[1])):
        return [_of_fields(regions)]
    if isinstance(regions, Iterable):
        found = []
        for each in regions:
            found += _of_text(each, assembly) if isinstance(each, str | Path) else [_of_fields(each)]
        return found
    raise GenomeError(f"{regions!r} is no region; {FORMS}")


def _of_text(text: str | Path, assembly: Assembly) -> list[Region]:
    match = REGION.fullmatch(str(text))
    if match is not None:
        start, end = (int(match[key].replace(",", "") or -1) for key in ("start", "end"))
        return [Region(match["chrom"], start, end)]
    if str(text) in assembly.sizes:
        return [Region(str(text), 0, assembly.sizes[str(text)])]
    if isinstance(text, Path) or Path(text).is_file() or str(text).endswith((".bed", ".bed.gz")):
        return _of_bed(Path(text), assembly)
    raise GenomeError(f"{text!r} is no region, no BED file and no chromosome of {assembly.name}; {FORMS}")


def _of_bed(path: Path, assembly: Assembly) -> list[Region]:
    """Every region of a BED file, clipped at its chromosome's end: rows of the answer are those of the file."""
    found: list[Region] = []
    clipped = 0
    for number, region, _ in bed_intervals(path):
        if region.chrom not in assembly.sizes:
            raise GenomeError(
                f"{path}:{number}: chromosome {region.chrom!r} is not in {assembly.name}; "
                f"it has {those_there(region.chrom, assembly.sizes)}"
            )
        if region.end > assembly.sizes[region.chrom] > region.start:
            region = replace(region, end=assembly.sizes[region.chrom])
            clipped += 1
        found.append(region)
    if clipped:
        warnings.warn(f"{path}: {clipped} of {len(found)} regions clipped at their chromosome's end", stacklevel=4)
    return found


def _of_fields(fields: Any) -> Region:
    if isinstance(fields, Region):
        return fields
    try:
        chrom, start, end = fields
    except (TypeError, ValueError):
        raise GenomeError(f"{fields!r} is no region; {FORMS}") from None
    if not (isinstance(chrom, str) and _is_number(start) and _is_number(end)):
        raise GenomeError(f"{fields!r} is no region: expected a name and two whole numbers")
    return Region(chrom, int(start), int(end))


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, str | bool) and int(value) == value
    except (TypeError, ValueError, OverflowError):
        return False


def _of_table(table: Any) -> list[LabelledRegion]:
    missing = [name for name in ("chrom", "start", "end") if name not in table.columns]
    if missing:
        raise GenomeError(f"the table of regions has no column {', '.join(missing)}; it needs chrom, start and end")
    if table.index.nlevels > 1:
        raise GenomeError("the table of regions has an index of several levels; reset_index() it, or give it one label")
    rows = zip(table.index, table["chrom"], table["start"], table["end"], strict=True)
    return [LabelledRegion(label, _of_fields(fields)) for label, *fields in rows]


def _require_inside(region: Region, assembly: Assembly) -> None:
    size = assembly[region.chrom]
    if not 0 <= region.start < region.end <= size:
        raise GenomeError(
            f"region {region}: start must be below end, and end at most {size:,}, the length of {region.chrom} in "
            f"{assembly.name}"
        )
