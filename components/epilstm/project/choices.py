"""What is chosen where the user does not say: the regions to read, and what is held out of training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from epilstm.errors import GenomeError, TrackError
from epilstm.genome.assembly import BUILT_IN_ASSEMBLIES, Assembly, Region, load_assembly
from epilstm.tracks.samplesheet import Track, is_local, resolve_uri

#: Names of sequences that are no chromosomes: unplaced, alternate and decoy sequences, organelles.
_NOT_PRIMARY = re.compile(
    r"(chr)?(Un|EBV|M|MT|Mito|mitochondrion|Pt|chloroplast)([_.].*)?|.*_(random|alt|fix|hap\d+|decoy)|hs37d5|phiX.*",
    re.IGNORECASE,
)
#: Sex chromosomes are not held out where enough others are: signal on them depends on the sex of the cells.
_SEX = re.compile(r"(chr)?[XYZW]", re.IGNORECASE)

#: A sequence shorter than this share of the longest is a scaffold.
SCAFFOLD_SHARE = 1 / 200

#: Share of the bases that validation and test each hold at least, where chromosomes are chosen; and where regions are.
HELD_OUT_SHARE, REGION_SHARE = 0.08, 0.1


@dataclass(frozen=True)
class Chosen:
    """Regions, and a line on each choice that a user may want to overrule.

    Parameters
    ----------
    regions : list of Region
        Whole chromosomes.
    """

    regions: list[Region]
    remarks: list[str] = field(default_factory=list)


def primary_chromosomes(assembly: Assembly) -> list[str]:
    """Chromosomes of an assembly without organelles, scaffolds and alternate sequences, in its order."""
    longest = max(assembly.sizes.values())
    named = [chrom for chrom in assembly.sizes if not _NOT_PRIMARY.fullmatch(chrom)]
    return [chrom for chrom in named or assembly.sizes if assembly.sizes[chrom] >= longest * SCAFFOLD_SHARE]


def local_chromosomes(tracks: Sequence[Track], sheet: Path) -> dict[str, dict[str, int]]:
    """Chromosome sizes (bp) by the file of each local bigWig; remote files and those of other formats are left out."""
    from epilstm.tracks.bigwig import BigWig

    found = {}
    for track in tracks:
        if not is_local(track.uri):
            continue
        path = resolve_uri(track.uri, sheet)
        try:
            with BigWig(Path(path)) as bigwig:
                found[path] = dict(bigwig.chromosomes)
        except TrackError:
            continue  # no bigWig: ingest reads it, or says what is wrong with it
    return found


def choose_regions(assembly: Assembly, files: Mapping[str, Mapping[str, int]]) -> Chosen:
    """The primary chromosomes of an assembly that every file has, whole.

    Parameters
    ----------
    files : mapping
        Chromosome sizes by file; where there are none, all primary chromosomes are chosen.

    Raises
    ------
    GenomeError
        A file is of another assembly, or no chromosome is in all files.
    """
    primary = primary_chromosomes(assembly)
    require_assembly(assembly, primary, files)
    chosen = [chrom for chrom in primary if all(chrom in sizes for sizes in files.values())]
    remarks = []
    for chrom in primary:
        lacking = [path for path, sizes in files.items() if chrom not in sizes]
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            remarks.append(f"{chrom} is left out: it is not in {lacking[0]}{more}; --regions can include it")
    if not chosen:
        raise GenomeError(
            f"no chromosome of {assembly.name} is in all {len(files)} files; name the regions to read with --regions"
        )
    others = len(assembly.sizes) - len(primary)
    if others:
        remarks.append(
            f"{others} scaffolds, alternate sequences and organelles of {assembly.name} are left out; --regions can "
            "include them"
        )
    return Chosen([Region(chrom, 0, assembly.sizes[chrom]) for chrom in chosen], remarks)


def require_assembly(assembly: Assembly, chromosomes: Sequence[str], files: Mapping[str, Mapping[str, int]]) -> None:
    """Refuse files whose chromosomes are not those of the assembly.

    Raises
    ------
    GenomeError
        Names the file, a chromosome, both sizes, and the assembly that it fits, if it fits one that is built in.
    """
    for path, sizes in files.items():
        differing = next((chrom for chrom in chromosomes if sizes.get(chrom, assembly[chrom]) != assembly[chrom]), None)
        if differing is not None:
            raise GenomeError(
                f"{path}: {differing} has {sizes[differing]:,} bp in the file but {assembly[differing]:,} in "
                f"{assembly.name}{_fitting(sizes)}"
            )
        if not any(chrom in sizes for chrom in chromosomes):
            here, there = ", ".join(list(sizes)[:3]), ", ".join(list(chromosomes)[:3])
            raise GenomeError(
                f"{path}: none of its chromosomes ({here}, ...) is one of {assembly.name} ({there}, ...)"
                f"{_fitting(sizes) or '; give --assembly a chrom.sizes file with the names of the files'}"
            )


def _fitting(sizes: Mapping[str, int]) -> str:
    for name in BUILT_IN_ASSEMBLIES:
        known = load_assembly(name).sizes
        shared = [chrom for chrom in known if chrom in sizes]
        if shared and all(known[chrom] == sizes[chrom] for chrom in shared):
            return f"; its sizes are those of {name}: give --assembly {name}, or leave the track out"
    return ""


def choose_split(regions: Sequence[Region]) -> dict[str, Any]:
    """What is held out of training, as ``preprocess.split`` says it; the same regions give the same split.

    Chromosomes are ordered by the bases in their regions. From the middle of that order to its shorter end they go to
    test and validation in turn, until each has `HELD_OUT_SHARE` of the bases; all others train. Sex chromosomes train,
    where three others are there. Of one or two chromosomes, `REGION_SHARE` of the data is held out for each, in
    intervals.

    Parameters
    ----------
    regions : sequence of Region
        What is read.
    """
    bases: dict[str, int] = {}
    for region in regions:
        bases[region.chrom] = bases.get(region.chrom, 0) + len(region)
    if len(bases) < 3:
        return {"by": "region", "validation": REGION_SHARE, "test": REGION_SHARE}
    autosomes = [chrom for chrom in bases if not _SEX.fullmatch(chrom)]
    candidates = autosomes if len(autosomes) >= 3 else list(bases)
    order = sorted(candidates, key=lambda chrom: -bases[chrom])  # stable: equal ones stay in the regions' order
    wanted = HELD_OUT_SHARE * sum(bases.values())
    held: dict[str, list[str]] = {"test": [], "validation": []}
    waiting = order[len(order) // 2 :]
    while waiting:
        open_for = [name for name in held if sum(bases[chrom] for chrom in held[name]) < wanted]
        if not open_for:
            break
        fewest = min(open_for, key=lambda name: len(held[name]))
        held[fewest].append(waiting.pop(0))
    rank = {chrom: place for place, chrom in enumerate(bases)}
    return {name: sorted(held[name], key=rank.__getitem__) for name in ("validation", "test")}
