"""The experiments of a study: one per variant and seed, each a ``dvc exp run`` with params of its own."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epilstm.errors import ParamsError
from epilstm.params import SECTIONS, read_sections, validate
from epilstm.study.definition import AS_IT_STANDS, Studies, Variant
from epilstm.tracks.samplesheet import Track, format_samplesheet, read_samplesheet, resolve_uri, write_samplesheet

PARAMS_FILE = "params.yaml"

#: Stage that an experiment ends with.
LAST_STAGE = "evaluate"

#: Sections that change nothing about an experiment's results.
IRRELEVANT = ("report", "promote", "monitor")

#: Where samplesheets without the tracks of some cell types are kept; git ignores it.
SHEETS = Path("cache") / "studies"

Sections = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """One run of the pipeline.

    Parameters
    ----------
    seed : int
        Of the training.
    name : str
        DVC's name for it.
    overrides : tuple of str
        ``section.key=value``.
    """

    study: str
    variant: str
    seed: int
    name: str
    overrides: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """What ``dvc`` is called with."""
        # ++: also keys that params.yaml leaves at their defaults.
        params = [word for override in self.overrides for word in ("--set-param", f"++{override}")]
        return ["exp", "run", "--temp", "--name", self.name, *params, LAST_STAGE]

    @property
    def command(self) -> str:
        """The same as a line to type."""
        return shlex.join(["dvc", *self.arguments])


@dataclass(frozen=True)
class Choice:
    """Which experiments of a study, and on which data.

    Parameters
    ----------
    base : str
        Data set of the studies' file, or `AS_IT_STANDS`.
    data : Path, optional
        Folder of the data, in place of the base's own.
    seeds : sequence of int
        Those of the study where there are none.
    variants : collection of str
        All where there are none.
    """

    study: str
    base: str = AS_IT_STANDS
    data: Path | None = None
    seeds: Sequence[int] = ()
    variants: Collection[str] = ()


def plan(studies: Studies, choice: Choice, root: Path) -> list[Experiment]:
    """Experiments of a study, in the order of its variants; samplesheets that they need are written.

    Parameters
    ----------
    root : Path
        Folder of the project.

    Raises
    ------
    ParamsError
        A name is unknown, or a variant's params are unusable.
    SamplesheetError
        The samplesheet that a variant leaves cell types out of is unusable.
    """
    study = studies.study(choice.study)
    unknown = [name for name in choice.variants if name not in study.variants]
    if unknown:
        raise ParamsError(f"--only {unknown[0]}: unknown; variants are {', '.join(study.variants)}")
    base = studies.base_overrides(choice.base, root, choice.data)
    prefix = "" if choice.base == AS_IT_STANDS else f"{choice.base}-"
    found = []
    for name, variant in study.variants.items():
        if choice.variants and name not in choice.variants:
            continue
        overrides = _merged([*base, *study.set, *variant.set])
        params = effective_params(root, overrides, f"study {choice.study}, variant {name}")
        if variant.leave_out:
            sheet = _sheet_without(root, params["ingest"]["samplesheet"], variant)
            overrides = _merged([*overrides, f"ingest.samplesheet={sheet}"])
        for seed in choice.seeds or study.seeds:
            whole = tuple(_merged([*overrides, f"train.seed={seed}"]))
            called = f"{prefix}{choice.study}-{name}-{seed}"
            found.append(Experiment(choice.study, name, seed, called, whole))
    return found


def _merged(overrides: Sequence[str]) -> list[str]:
    """Overrides of which a later one of the same key replaces an earlier one, in its place."""
    return [f"{key}={value}" for key, value in dict(each.split("=", 1) for each in overrides).items()]


def effective_params(root: Path, overrides: Sequence[str], where: str) -> Sections:
    """Sections of ``params.yaml`` with overrides as DVC applies them, whole and checked.

    Raises
    ------
    ParamsError
        They are unusable; the message begins with `where`.
    """
    from dvc.exceptions import InvalidArgumentError
    from dvc.utils.hydra import apply_overrides

    read_sections(root / PARAMS_FILE)  # its own faults are reported as such
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PARAMS_FILE
        shutil.copyfile(root / PARAMS_FILE, path)
        with _faults_named(where, InvalidArgumentError):
            apply_overrides(path, [f"++{override}" for override in overrides])
        return checked_sections(read_sections(path), where)


@contextmanager
def _faults_named(where: str, kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ParamsError(f"{where}: {reason}") from error


def checked_sections(content: Sections, where: str) -> Sections:
    """Every section that matters, with its defaults filled in.

    Raises
    ------
    ParamsError
        One is unusable.
    """
    return {
        name: validate(model, content.get(name) or {}, f"{where}: {name}").model_dump(mode="json")
        for name, model in SECTIONS.items()
        if name not in IRRELEVANT
    }


def _sheet_without(root: Path, samplesheet: str, variant: Variant) -> Path:
    """The samplesheet without the tracks of some cell types; its own file, under a name that says so."""
    path = root / samplesheet
    if not path.is_file():
        raise ParamsError(f"{path}: no such samplesheet, to leave {', '.join(variant.leave_out)} out of; run dvc repro")
    tracks = read_samplesheet(path)
    there = {track.cell_type for track in tracks}
    for cell_type in variant.leave_out:
        if cell_type not in there:
            raise ParamsError(f"{path}: no tracks of {cell_type} to leave out; there are {', '.join(sorted(there))}")
    left = [_absolute(track, path) for track in tracks if track.cell_type not in variant.leave_out]
    if not left:
        raise ParamsError(f"{path}: no track is left without {', '.join(variant.leave_out)}")
    sheet = (root / SHEETS / f"without-{'-'.join(sorted(variant.leave_out))}-of-{path.parent.name}.csv").resolve()
    if not sheet.is_file() or sheet.read_text(encoding="utf-8") != format_samplesheet(left):
        write_samplesheet(sheet, left)
    return sheet


def _absolute(track: Track, sheet: Path) -> Track:
    from dataclasses import replace

    from epilstm.tracks.samplesheet import is_local

    if not is_local(track.uri):
        return track
    return replace(track, uri=str(Path(resolve_uri(track.uri, sheet)).resolve()))
