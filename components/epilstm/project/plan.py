"""A run from a samplesheet to a report: its folder, its params and its steps, checked before it starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from epilstm.errors import DataError, DiskFullError, GenomeError, LabelsError, ParamsError, SamplesheetError
from epilstm.files.outputs import read_json
from epilstm.genome.assembly import (
    BUILT_IN_ASSEMBLIES,
    Assembly,
    Region,
    bins_of,
    chromosomes_of,
    load_assembly,
    read_blacklist,
    read_regions,
)
from epilstm.params import SECTIONS, EmbedParams, FoldParams, IngestParams, TrainParams, read_sections, validate
from epilstm.project.choices import choose_regions, choose_split, local_chromosomes, require_assembly
from epilstm.runtime.extras import missing_package
from epilstm.tracks.identity import TrackSet
from epilstm.tracks.samplesheet import Track, read_samplesheet
from epilstm.tracks.samplesheet_check import track_problem

if TYPE_CHECKING:
    from epilstm.model.sizes import Shape

#: The steps, in order.
ORDER = ("ingest", "preprocess", "train", "export", "embed", "evaluate", "report")

#: What a run keeps about itself in its folder.
RUN_FILE, FORMAT = "run.json", "epilstm.run/1"

#: What a run holds in its folder, so that no second one writes there at the same time.
RUNNING = "run"

#: Packages that the steps need, and that the command line itself does without.
NEEDED = ("zarr", "torch", "onnx", "onnxruntime", "sklearn", "xgboost", "pandas", "matplotlib", "jinja2")

#: Bytes per value of signal and matrix, and per number of the embeddings; measured on tracks of -log10 p.
SIGNAL_BYTES, MATRIX_BYTES, EMBEDDING_BYTES = 3.6, 2.0, 4.0

#: Where the steps' outputs go in the folder of a run, by port.
PLACES = {
    "signal": "signal",
    "matrix": "matrix",
    "model": "model",
    "history": "metrics/history.csv",
    "encoder": "encoder",
    "embeddings": "embeddings",
    "evaluation": "evaluation",
    "report": "report.html",
}
WORK = "work"

#: Keys of the params file that name files; options of the command line name them too.
FILE_KEYS = {"regions": "ingest", "blacklist": "ingest", "tasks": "evaluate", "labels": "evaluate"}


@dataclass(frozen=True)
class Request:
    """What the user gave.

    Parameters
    ----------
    samplesheet, folder : Path
        The samplesheet, and where results go.
    assembly : str or None
        Name or path; None where the params file says it.
    """

    samplesheet: Path
    folder: Path
    assembly: str | None = None
    params: Path | None = None
    tasks: Path | None = None
    labels: Path | None = None
    regions: Path | None = None
    blacklist: Path | None = None


@dataclass(frozen=True)
class Plan:
    """A run that can start.

    Parameters
    ----------
    sections : mapping
        Params of the run: as given, and what was chosen.
    regions : list of Region
        What is read.
    chosen_regions : bool
        Whether the regions were chosen, not given.
    inputs : mapping of str to Path
        Files that the user gave, by port.
    remarks : list of str
        Choices that the user may want to overrule.
    """

    request: Request
    tracks: list[Track]
    assembly: Assembly
    sections: Mapping[str, Any]
    regions: list[Region]
    chosen_regions: bool
    inputs: Mapping[str, Path]
    remarks: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where results go."""
        return self.request.folder

    @property
    def params_path(self) -> Path:
        """Params file that every step is given."""
        return self.folder / "params.yaml"

    @property
    def regions_path(self) -> Path:
        """BED file of the chosen regions."""
        return self.folder / "regions.bed"

    @property
    def bins(self) -> int:
        """Bins of the regions."""
        size = validate(IngestParams, self.sections["ingest"], "ingest").bin_size
        return sum(last - first for first, last in (bins_of(region, size) for region in self.regions))

    def paths(self, step: str) -> dict[str, Path]:
        """Path of every port of a step."""
        from epilstm.runtime.step_table import STEPS

        given = {**self.inputs, **({"regions": self.regions_path} if self.chosen_regions else {})}
        own = {name: self.folder / place for name, place in PLACES.items()}
        earlier = {port.name for name in ORDER[: ORDER.index(step)] for port in STEPS[name].outputs}
        found: dict[str, Path] = {}
        for port in STEPS[step].inputs:
            place = given.get(port.name, own[port.name] if port.name in earlier else None)
            if place is not None:
                found[port.name] = place
        for port in STEPS[step].outputs:
            found[port.name] = own.get(port.name, self.folder / "metrics" / f"{step}.json")
        for port in STEPS[step].work:
            found[port.name] = self.folder / WORK / step
        return found

    def write(self) -> None:
        """Write the params, the chosen regions and what the run is about into its folder."""
        from epilstm.files.outputs import to_json, write_together

        header = (
            "# Params of this run: those that were given, and what was chosen from the data. Every step reads them.\n"
        )
        texts = {self.params_path: header + yaml.safe_dump(dict(self.sections), sort_keys=False)}
        if self.chosen_regions:
            lines = [f"{region.chrom}\t{region.start}\t{region.end}\n" for region in self.regions]
            texts[self.regions_path] = "".join(lines)
        texts[self.folder / RUN_FILE] = to_json(self.identity)
        write_together(
            {
                path: text
                for path, text in texts.items()
                if not path.is_file() or path.read_text(encoding="utf-8") != text
            }
        )

    @property
    def identity(self) -> dict[str, str]:
        """What another run in the same folder is compared with."""
        return {
            "format": FORMAT,
            "samplesheet": str(self.request.samplesheet.resolve()),
            "assembly": self.assembly.name,
        }


def make_plan(request: Request) -> Plan:
    """Check everything that can be checked before the first step, and choose what is not given.

    Raises
    ------
    EpilstmError
        What would fail later: the samplesheet or a file that it names, assembly, regions, params, tasks, a missing
        package.
    """
    for package in NEEDED:
        if find_spec(package) is None:
            raise ParamsError(missing_package(package, "train", "cpu"))
    sections = deepcopy(read_sections(request.params)) if request.params else {}
    sections = {name: {} if content is None else content for name, content in sections.items()}
    where = str(request.params) if request.params else "params"
    for name, content in sections.items():
        validate(SECTIONS[name], content, f"{where}: {name}")
    tracks = checked_tracks(request.samplesheet)
    ingest = sections.setdefault("ingest", {})
    ingest["assembly"] = _assembly_of(request, ingest)
    assembly = load_assembly(ingest["assembly"])
    inputs = _inputs(request, sections)
    bin_size = validate(IngestParams, ingest, f"{where}: ingest").bin_size
    files = local_chromosomes(tracks, request.samplesheet)
    remarks: list[str] = []
    if "regions" in inputs:
        regions = read_regions(inputs["regions"], assembly, bin_size)
        require_assembly(assembly, chromosomes_of(regions), files)
    else:
        chosen = choose_regions(assembly, files)
        regions, remarks = chosen.regions, chosen.remarks
    if "blacklist" in inputs:
        read_blacklist(inputs["blacklist"], assembly)
    remarks += _choose_params(sections, regions, "tasks" in inputs)
    for name, model in SECTIONS.items():
        validate(model, sections.get(name) or {}, f"{where}: {name}")
    _check_cell_types(sections, tracks)
    remarks += _size_remarks(sections, tracks)
    sections = {name: sections[name] for name in SECTIONS if name in sections}
    return Plan(request, tracks, assembly, sections, regions, "regions" not in inputs, inputs, remarks)


def checked_tracks(sheet: Path) -> list[Track]:
    """Tracks of a samplesheet whose local files are there and are what they should be.

    Raises
    ------
    SamplesheetError
        Names the first problem, and says how many more there are.
    """
    tracks = read_samplesheet(sheet)
    problems = [problem for track in tracks if (problem := track_problem(track, sheet, checksums=False)) is not None]
    if problems:
        more = f" (and {len(problems) - 1} more; 'epilstm samplesheet check' lists them)" if len(problems) > 1 else ""
        raise SamplesheetError(f"{sheet}: {problems[0]}{more}")
    return tracks


def _assembly_of(request: Request, ingest: Mapping[str, Any]) -> str:
    given, named = request.assembly, ingest.get("assembly")
    if given is None and named is None:
        raise ParamsError(
            f"--assembly is missing: give {', '.join(BUILT_IN_ASSEMBLIES)} or the path of a chrom.sizes file"
        )
    if given is not None and named is not None and given not in (named, str(_beside(request.params, str(named)))):
        shown = str(named) if named in BUILT_IN_ASSEMBLIES else _shown(request.params, str(named))
        raise ParamsError(f"--assembly {given}: {request.params} says ingest.assembly: {shown}; remove one of them")
    if given is not None:
        return given if given in BUILT_IN_ASSEMBLIES else str(Path(given).absolute())
    return str(named) if named in BUILT_IN_ASSEMBLIES else str(_beside(request.params, str(named)))


def _beside(params: Path | None, place: str) -> Path:
    """A path that a params file names: relative to the file, as it is to the project's folder with DVC."""
    return Path(os.path.normpath((params or Path()).absolute().parent / place))


def _shown(params: Path | None, place: str) -> str:
    """A path that a params file names, for messages: with the file that it is, where it is relative."""
    return place if Path(place).is_absolute() else f"{place} (relative to the params: {_beside(params, place)})"


def _inputs(request: Request, sections: dict[str, Any]) -> dict[str, Path]:
    """Files that were given, by port; the params of the run name them as they are used."""
    named_sheet = sections["ingest"].get("samplesheet")
    if named_sheet is not None and _beside(request.params, named_sheet).resolve() != request.samplesheet.resolve():
        raise ParamsError(
            f"{request.params}: ingest.samplesheet is {_shown(request.params, named_sheet)}, but SAMPLESHEET is "
            f"{request.samplesheet}; give that one, or remove it from the params"
        )
    found = {"samplesheet": request.samplesheet.absolute()}
    sections["ingest"]["samplesheet"] = str(found["samplesheet"])
    for key, section in FILE_KEYS.items():
        option = getattr(request, key)
        text = sections.get(section, {}).get(key)
        named = _beside(request.params, text) if text is not None else None
        if option is not None and named is not None and named.resolve() != option.resolve():
            shown = _shown(request.params, text)
            raise ParamsError(f"--{key} {option}: {request.params} says {section}.{key}: {shown}; remove one of them")
        path = option or named
        if path is None:
            continue
        if not path.exists():
            raise DataError(f"--{key} {path}: no such file or folder")
        if path.is_dir() != (key == "labels"):
            raise DataError(f"--{key} {path}: is a {'folder' if path.is_dir() else 'file'}; give a "
                            f"{'folder' if key == 'labels' else 'file'}")  # fmt: skip
        found[key] = path.absolute()
        sections.setdefault(section, {})[key] = str(found[key])
    _check_labels(found)
    return found


def _check_labels(inputs: Mapping[str, Path]) -> None:
    from epilstm.scoring.tasks import given_tasks

    tasks, labels = given_tasks(inputs)
    for task in tasks:
        for name in task.label_paths:
            if not (labels / name).is_file():
                raise LabelsError(
                    f"{inputs['tasks']}: task {task.name}: {labels / name}: no such file; correct its path"
                )


def _choose_params(sections: dict[str, Any], regions: Sequence[Region], with_tasks: bool) -> list[str]:
    """Choose the split, and folds where there are few chromosomes; a line on each choice."""
    remarks = []
    preprocess = sections.setdefault("preprocess", {})
    chromosomes = chromosomes_of(regions)
    if "split" not in preprocess:
        split = preprocess["split"] = choose_split(regions)
        held = [
            f"{name} {', '.join(part) if isinstance(part, list) else f'{part:.0%} of the data, in intervals'}"
            for name, part in split.items()
            if name != "by"
        ]
        remarks.append(f"held out of training: {'; '.join(held)} (preprocess.split)")
    else:
        _check_split(preprocess["split"], chromosomes)
    folds = sections.setdefault("evaluate", {})
    if with_tasks and "folds" not in folds and (chosen := _choose_folds(regions)) is not None:
        folds["folds"] = chosen
        remarks.append(f"folds of the tasks: by {chosen['by']}, {chosen['count']} (evaluate.folds)")
    return remarks


def _choose_folds(regions: Sequence[Region]) -> dict[str, Any] | None:
    """Folds where there are fewer chromosomes than the default holds out; None where there are enough.

    Raises
    ------
    ParamsError
        The regions are too small for two folds.
    """
    from epilstm.genome.coverage import FOLD_INTERVAL

    wanted, chromosomes = FoldParams().count, len(chromosomes_of(regions))
    if chromosomes >= wanted:
        return None
    intervals = sum(max(1, len(region) // FOLD_INTERVAL) for region in regions)
    if intervals >= wanted or intervals > chromosomes:
        return {"by": "region", "count": min(wanted, intervals)}
    if chromosomes >= 2:
        return {"by": "chromosome", "count": chromosomes}
    raise ParamsError(
        f"--tasks: {regions[0]} is too short to learn on one part and to test on another (intervals of "
        f"{FOLD_INTERVAL // 1_000_000} Mb are held out whole); give more --regions, or leave out --tasks and --labels"
    )


def _check_split(split: Mapping[str, Any], chromosomes: Sequence[str]) -> None:
    if split.get("by", "chromosome") != "chromosome":
        return
    named = [chrom for key in ("validation", "test") for chrom in split.get(key, [])]
    for chrom in named:
        if chrom not in chromosomes:
            raise GenomeError(
                f"preprocess.split names {chrom}, which is not in the regions ({', '.join(chromosomes[:8])}"
                f"{', ...' if len(chromosomes) > 8 else ''}); correct it, or leave it out to have the split chosen"
            )
    if not set(chromosomes) - set(named):
        raise GenomeError("preprocess.split leaves no chromosome to train on; hold out fewer")


def _shape(sections: Mapping[str, Any], tracks: Sequence[Track]) -> Shape:
    from epilstm.model.sizes import choose_shape

    params = validate(TrainParams, sections.get("train") or {}, "train")
    return choose_shape(params, TrackSet.of([track.identity for track in tracks]))


def _embedded_numbers(plan: Plan) -> int:
    """Numbers that embed stores for every bin; of a model by cell type, bin codes, as there are few codes of frames."""
    shape = _shape(plan.sections, plan.tracks)
    if shape.cell_types is None:
        return shape.embedding_size
    chosen = validate(EmbedParams, plan.sections.get("embed") or {}, "embed").chosen_cell_types
    each = shape.sizes.embedding_size - shape.sizes.context_size
    return each * (shape.cell_types.count if chosen is None else len(chosen))


def _check_cell_types(sections: Mapping[str, Any], tracks: Sequence[Track]) -> None:
    """Refuse cell types to embed that the model will not have, before it is trained."""
    chosen = validate(EmbedParams, sections.get("embed") or {}, "embed").chosen_cell_types
    if chosen is not None:
        from epilstm.model.cell_types import places_of

        places_of(_shape(sections, tracks).cell_types, chosen, "embed.cell_types")


def _size_remarks(sections: Mapping[str, Any], tracks: Sequence[Track]) -> list[str]:
    from epilstm.model.sizes import expansion_warning

    shape = _shape(sections, tracks)
    warning = expansion_warning(shape.sizes, len(tracks)) if shape.cell_types is None else None
    return [warning] if warning else []


def check_folder(plan: Plan, replace: bool) -> None:
    """Refuse a folder that holds something else than this run.

    Parameters
    ----------
    replace : bool
        Take the folder of another run.

    Raises
    ------
    DataError
        Other files lie there, or results of another samplesheet or assembly.
    """
    folder = plan.folder
    if folder.exists() and not folder.is_dir():
        raise DataError(f"--to {folder}: is a file; give a folder")
    if not folder.is_dir():
        return
    if not (folder / RUN_FILE).is_file():
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if others:
            raise DataError(f"--to {folder}: has other content ({others[0]}, ...); give an empty or a new folder")
        return
    found = read_json(folder / RUN_FILE)
    for key in ("samplesheet", "assembly"):
        before, now = found.get(key), plan.identity[key]
        if before != now and not replace:
            raise DataError(
                f"--to {folder}: holds the results of {key} {before}, not {now}; give another folder, or --replace to "
                "have them replaced"
            )


def check_disk(plan: Plan, steps: Sequence[str]) -> str | None:
    """Whether what the steps write fits the disk; a line to warn with where it may not.

    Parameters
    ----------
    steps : sequence of str
        Those that will run.

    Raises
    ------
    DiskFullError
        Less than half of what they are expected to write is free.
    """
    tracks = len(plan.tracks)
    each = {
        "ingest": SIGNAL_BYTES * tracks,
        "preprocess": MATRIX_BYTES * tracks,
        "embed": EMBEDDING_BYTES * _embedded_numbers(plan),
    }
    needed = plan.bins * sum(each.get(step, 0.0) for step in steps)
    there = next(path for path in (plan.folder.absolute(), *plan.folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free >= needed:
        return None
    line = (
        f"{plan.folder}: {free / 1e9:.1f} GB are free, and the run may write {needed / 1e9:.1f} GB ({tracks} tracks x "
        f"{plan.bins:,} bins)"
    )
    if free < needed / 2:
        raise DiskFullError(f"{line}; free some, give --to a folder on another disk, or fewer --regions")
    return f"{line} where signal is dense"


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to.

    Raises
    ------
    DataError
        Says why.
    """
    import tempfile

    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise DataError(
            f"--to {folder}: cannot be written to: {os.strerror(error.errno or 0)}; give another"
        ) from error
