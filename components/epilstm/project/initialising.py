"""Writes a project for a user's own data: params, tasks, regions, and the pipeline for DVC."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from epilstm.errors import DataError
from epilstm.files.outputs import write_together
from epilstm.genome.assembly import BUILT_IN_ASSEMBLIES, Region, load_assembly
from epilstm.project.choices import choose_regions, choose_split, local_chromosomes, primary_chromosomes
from epilstm.project.plan import checked_tracks

#: Samplesheet of a project that was given none; it is the user's from then on, and is never overwritten.
SAMPLESHEET = "samplesheet.csv"
SAMPLESHEET_TEXT = "cell_type,assay,uri\n"

#: Files of the template, by where they go.
TEMPLATE = {
    "dvc.yaml": "dvc.yaml",
    ".gitignore": "gitignore",
    ".dvcignore": "dvcignore",
    "tasks.yaml": "tasks.yaml",
    "labels/README.txt": "labels.txt",
    "blacklist.bed": "blacklist.bed",
}

PARAMS = """\
# Parameters, one section per step. What is not given here keeps its default, which is what we recommend for real data
# (`epilstm params` shows every parameter with its default and meaning).

ingest:
  samplesheet: {samplesheet}
  regions: regions.bed
  blacklist: blacklist.bed
  assembly: {assembly} # hg19, hg38, mm10, or the path of a chrom.sizes file

preprocess:
  split: # chosen from the chromosomes; all others train
{split}

train: {{}}

export: {{}}

embed: {{}}

evaluate:
  tasks: tasks.yaml
  labels: labels

report: {{}}
"""


@dataclass(frozen=True)
class Project:
    """A project that was written.

    Parameters
    ----------
    written : list of str
        Its files that are new.
    samplesheet : str
        As the params name it.
    remarks : list of str
        Choices that the user may want to overrule.
    """

    folder: Path
    written: list[str]
    samplesheet: str
    assembly: str
    remarks: list[str]


def initialise(folder: Path, samplesheet: Path | None, assembly: str | None, force: bool) -> Project:
    """Write a project.

    Parameters
    ----------
    folder : Path
        Made where it is not there. It may hold other files.
    samplesheet : Path, optional
        Named by the params; without it, that of the folder, or where there is none, one with a header is written.
    assembly : str, optional
        hg38 where it is not given.
    force : bool
        Overwrite the files of a project that are there; never the samplesheet.

    Raises
    ------
    DataError
        Files of a project are there, or the folder cannot be written.
    EpilstmError
        The samplesheet or the assembly is unusable, or they do not fit.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file; give a folder")
    own = folder / SAMPLESHEET
    if samplesheet is None and own.is_file() and own.read_bytes().strip() != SAMPLESHEET_TEXT.strip().encode():
        samplesheet = own
    named = assembly or "hg38"
    known = load_assembly(named)
    if samplesheet is not None:
        tracks = checked_tracks(samplesheet)
        chosen = choose_regions(known, local_chromosomes(tracks, samplesheet))
        regions, remarks = chosen.regions, chosen.remarks
    else:
        regions, remarks = [Region(chrom, 0, known.sizes[chrom]) for chrom in primary_chromosomes(known)], []
    sheet = SAMPLESHEET if samplesheet is None else _from(folder, samplesheet)
    texts = {
        "params.yaml": params_text(
            sheet, named if named in BUILT_IN_ASSEMBLIES else _from(folder, Path(named)), regions
        ),
        "regions.bed": "".join(f"{region.chrom}\t{region.start}\t{region.end}\n" for region in regions),
        **{place: _template(name) for place, name in TEMPLATE.items()},
    }
    there = [place for place in texts if (folder / place).exists()]
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise DataError(
            f"{folder}: {there[0]}{more} of a project is there already; give another folder, or --force to overwrite"
        )
    if samplesheet is None and not (folder / SAMPLESHEET).exists():
        texts[SAMPLESHEET] = SAMPLESHEET_TEXT
    write_together({folder / place: text for place, text in texts.items()})
    return Project(folder, list(texts), sheet, named, remarks)


def params_text(samplesheet: str, assembly: str, regions: list[Region]) -> str:
    """Params of a new project, with the split that is chosen from its regions."""
    split = "\n".join(
        f"    {name}: [{', '.join(part)}]" if isinstance(part, list) else f"    {name}: {part}"
        for name, part in choose_split(regions).items()
    )
    return PARAMS.format(samplesheet=_quoted(samplesheet), assembly=_quoted(assembly), split=split)


def _quoted(text: str) -> str:
    import yaml

    return yaml.safe_dump(text, width=10_000).removesuffix("\n").removesuffix("\n...")


def _from(folder: Path, path: Path) -> str:
    """A path as it is named from within a folder: relative, so that both can be moved together."""
    return os.path.relpath(path.absolute(), folder.absolute())


def _template(name: str) -> str:
    return (files("epilstm.project") / "template" / name).read_text(encoding="utf-8")
