"""Runs a step: parameters in, outputs whole or not at all, a record beside each output."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from epilstm import __version__
from epilstm.console import log
from epilstm.errors import DataError, DiskFullError, EpilstmError, MissingInputError, ParamsError
from epilstm.files.disk import is_disk_full
from epilstm.files.interrupts import deferred_interrupts
from epilstm.files.outputs import (
    check_replaceable,
    exclusive,
    fingerprint,
    put_back,
    put_in_place,
    sha256_json,
    staged,
    staging_path,
    to_json,
)
from epilstm.params import SECTIONS, load_section
from epilstm.runtime.code_fingerprint import fingerprint_of
from epilstm.runtime.cores import available_cores
from epilstm.runtime.records import origin_of_run, project_tree
from epilstm.runtime.records import record_path as record_path
from epilstm.runtime.step_table import Port, Step
from epilstm.runtime.telemetry.step_run import StepRun, observed
from epilstm.trace_context import current_trace

#: Kinds of port that are one file; all others are folders.
FILE_KINDS = frozenset({"file", "metrics", "html", "csv"})

#: A disk with less space than this is one that could not hold what was to be written.
FULL_BYTES = 16 << 20


@dataclass(frozen=True)
class StepContext:
    """Where a step finds its inputs and puts its outputs.

    Parameters
    ----------
    inputs, outputs, work : mapping of str to Path
        By port name; optional ones that were not given are absent. Outputs are staging paths: they do not exist
        yet, and are renamed into place when the step has returned.
    flags : frozenset of str
        Switches that were set.
    part : str or None
        Part to do, into the work folders; there are no outputs then.
    """

    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    work: Mapping[str, Path]
    flags: frozenset[str] = frozenset()
    part: str | None = None


@dataclass
class StepResult:
    """What a step reports.

    Parameters
    ----------
    summary : str
        One line for the person who ran it.
    metrics : dict
        Numbers (nested dicts of numbers, strings and lists) for the metrics file.
    bins, tracks : int
        Amount of work done, for the throughput in the record.
    retries : int
        Further attempts at what failed at first.
    chosen : dict
        Params that the data chose where the params file left it to them, for the record.
    device : str
        Where it computed: ``cpu``, or ``cuda`` with the device's name.
    threads : int or None
        Threads, or worker processes, that it used; None for those of its params, or else one per available core.
    afterwards : callable, optional
        Called when the outputs are in place: drops what they replace in the work folders.
    ending : EpilstmError, optional
        Raised when all is in place and logged: a verdict that is the exit code of a run that did its work.
    """

    summary: str
    metrics: dict[str, Any] = field(default_factory=dict)
    bins: int = 0
    tracks: int = 0
    retries: int = 0
    chosen: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    threads: int | None = None
    afterwards: Callable[[], None] | None = None
    ending: EpilstmError | None = None


class Interrupted(EpilstmError):
    """The step was asked to stop (SIGTERM or Ctrl-C) and did."""

    exit_code = 130


def run_step(
    step: Step,
    params_path: Path | None,
    paths: Mapping[str, Path],
    flags: frozenset[str],
    part: str | None = None,
) -> StepResult:
    """Run one step.

    Parameters
    ----------
    step : Step
        From the step table.
    params_path : Path or None
        Params file; None takes every default.
    paths : mapping of str to Path
        Path of each port given.
    flags : frozenset of str
        Switches that were set.
    part : str, optional
        Part to do, into the work folders; outputs are then not to be given, and none is written.

    Raises
    ------
    EpilstmError
        An error that the user can fix. Outputs are then as they were before.
    """
    with observed(step.name, part) as seen:
        result = _run_step(step, params_path, paths, flags, part, seen)
        seen.numbers, seen.bins, seen.tracks, seen.retries = result.metrics, result.bins, result.tracks, result.retries
        seen.peak_memory = peak_memory()
    if result.ending is not None:
        raise result.ending
    return result


@dataclass(frozen=True)
class _Paths:
    """Paths that a run was given, by port name."""

    inputs: dict[str, Path]
    outputs: dict[str, Path]
    work: dict[str, Path]
    #: Outputs that the step writes itself: all but the metrics file.
    written: dict[str, Path]

    @classmethod
    def of(cls, step: Step, paths: Mapping[str, Path]) -> _Paths:
        """Of a step's ports."""
        outputs = _given(step.outputs, paths)
        written = {name: path for name, path in outputs.items() if _kind(step, name) != "metrics"}
        return cls(_given(step.inputs, paths), outputs, _given(step.work, paths), written)


def _run_step(
    step: Step,
    params_path: Path | None,
    paths: Mapping[str, Path],
    flags: frozenset[str],
    part: str | None,
    seen: StepRun,
) -> StepResult:
    _check_ports(step, paths, part)
    model = SECTIONS[step.name]
    params = load_section(params_path, step.name, model) if params_path else model()
    given = _Paths.of(step, paths)
    _check_paths(step, given, params_path, flags)
    seen.inputs, seen.outputs = given.inputs, given.written
    if part is not None:
        with _disk_full_reported(step, given.work.values()), _kept_if_of_use(given.work.values()):
            return _call(step, params, StepContext(given.inputs, {}, given.work, flags, part))
    if step.distributed and int(os.environ.get("RANK", "0")) > 0:
        return _call(step, params, StepContext(given.inputs, {}, given.work, flags))

    # Inputs, code and repository are recorded as they are before the step runs: they may be changed meanwhile.
    read = {name: _entry(path, _input_fingerprint(name, path)) for name, path in given.inputs.items()}
    origin = origin_of_run(_code_of(step), [params_path] if params_path else [])
    started, clock = datetime.now(UTC), time.monotonic()
    with ExitStack() as stack:
        for name, path in given.outputs.items():
            stack.enter_context(exclusive(path))
            check_replaceable(path, folder=_kind(step, name) not in FILE_KINDS, kind=_kind(step, name))
        folders = [*(path.parent for path in given.outputs.values()), *given.work.values()]
        stack.enter_context(_disk_full_reported(step, folders))
        stack.enter_context(_kept_if_of_use(given.work.values()))
        grown = {name: stack.enter_context(staged(path)) for name, path in given.written.items()}
        result = _call(step, params, StepContext(given.inputs, grown, given.work, flags))
        wall = time.monotonic() - clock
        made = {name: _entry(path, fingerprint(grown[name])) for name, path in given.written.items()}
        seen.fingerprints = {name: entry["fingerprint"] for name, entry in {**read, **made}.items()}
        record = {
            "step": step.name,
            "params": params.model_dump(mode="json"),
            "inputs": read,
            "outputs": made,
            **origin,
            **_measured(result, params, started, wall),
        }
        texts = {record_path(path): to_json(record) for path in given.written.values()}
        if "metrics" in given.outputs:
            texts[given.outputs["metrics"]] = to_json(result.metrics)
        for path, text in texts.items():  # all of them before any is put in place: what fails changes nothing
            stack.enter_context(staged(path)).write_text(text, encoding="utf-8")
        _put_outputs_in_place(given, grown)
        if result.afterwards is not None:
            result.afterwards()
    return result


def _entry(path: Path, identity: str) -> dict[str, str]:
    """An input or output in a record."""
    return {"path": str(path), "fingerprint": identity}


def _measured(result: StepResult, params: Any, started: datetime, wall: float) -> dict[str, Any]:
    """Fields of a record that say how a run went."""
    return {
        "chosen": result.chosen,
        "version": __version__,
        "python": sys.version.split()[0],
        "device": result.device,
        "threads": result.threads or _threads_given(params) or available_cores(),
        "started": started.isoformat(timespec="seconds"),
        "wall_seconds": round(wall, 3),
        "bins": result.bins,
        "tracks": result.tracks,
        "bins_per_second": round(result.bins / wall) if wall > 0 else None,
        "peak_memory_bytes": peak_memory(),
        "retries": result.retries,
        "run_id": current_trace().trace_id,
    }


def _put_outputs_in_place(given: _Paths, grown: Mapping[str, Path]) -> None:
    # The record goes first: an output in place without its record would look whole to a reader who checks it.
    for path in map(record_path, given.written.values()):
        put_in_place(staging_path(path), path)
    for name, path in given.written.items():
        put_in_place(grown[name], path)
    if "metrics" in given.outputs:
        put_in_place(staging_path(given.outputs["metrics"]), given.outputs["metrics"])


def _check_paths(step: Step, given: _Paths, params_path: Path | None, flags: frozenset[str]) -> None:
    for port in step.inputs:
        _check_input(port, given.inputs.get(port.name))
    for name, path in given.work.items():
        _check_work(name, path)
    for flag in flags if step.work and not given.work else ():
        log.warning(f"--{flag} does nothing without --{step.work[0].name}: {step.work[0].help}")
    check_apart({**given.inputs, **({"params": params_path} if params_path else {})}, given.outputs, given.work)


def _threads_given(params: Any) -> int:
    return int(getattr(params, "threads", 0) or getattr(params, "workers", 0))


def _code_of(step: Step) -> str:
    """Fingerprint of a step's code; that of nothing where it is not this package's."""
    module = step.target.partition(":")[0]
    try:
        return fingerprint_of(module).sha256
    except ValueError:
        return sha256_json({})


def git_revision() -> str | None:
    """Commit of the working directory, with ``-dirty`` if tracked files differ; None outside a repository."""
    return project_tree().described


def peak_memory() -> int:
    """Largest resident memory so far of this process or of any one of its finished children, in bytes."""
    kilobytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kilobytes * 1024


def _call(step: Step, params: Any, context: StepContext) -> StepResult:
    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        result = _imported(step.target)(params, context)
        to_json(result.metrics)
        return result
    except KeyboardInterrupt:
        raise Interrupted(f"{step.name}: interrupted; nothing half-written is left, run it again to resume") from None
    finally:
        signal.signal(signal.SIGTERM, previous)


def _imported(target: str) -> Callable[[Any, StepContext], StepResult]:
    """A step's function."""
    module, _, function = target.partition(":")
    # An exception in the middle of an import would be raised as an ImportError.
    with deferred_interrupts():
        loaded = import_module(module)
    run: Callable[[Any, StepContext], StepResult] = getattr(loaded, function)
    return run


@contextmanager
def _disk_full_reported(step: Step, folders: Iterable[Path]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        where = " or ".join(map(str, _fullest(folders)))
        raise DiskFullError(
            f"{step.name}: no space left on the disk of {where}; free some and run it again, nothing was half-written"
        ) from error


@contextmanager
def _kept_if_of_use(folders: Iterable[Path]) -> Iterator[None]:
    """Remove work folders that are new where a full disk left nothing in them that another run could use."""
    made = [path for folder in folders for path in (folder, *folder.absolute().parents) if not path.exists()]
    try:
        yield
    except Exception as error:
        for path in made if is_disk_full(error) else ():
            if path.is_dir() and not any(file.stat().st_size for file in path.rglob("*") if file.is_file()):
                shutil.rmtree(path, ignore_errors=True)
        raise


def _fullest(folders: Iterable[Path]) -> list[Path]:
    """Of folders that were written to, those on the disk with the least space left, and one of each disk.

    All of them, where a disk's free space says nothing: where none is short of it, a quota is.
    """
    by_disk: dict[int, tuple[int, Path]] = {}
    for folder in folders:
        there = _nearest(folder)
        by_disk.setdefault(there.stat().st_dev, (shutil.disk_usage(there).free, folder))
    full = [folder for free, folder in by_disk.values() if free < FULL_BYTES]
    return full or [folder for _, folder in by_disk.values()]


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(there for there in (path.absolute(), *path.absolute().parents) if there.exists())


def _given(ports: tuple[Port, ...], paths: Mapping[str, Path]) -> dict[str, Path]:
    return {port.name: paths[port.name] for port in ports if port.name in paths}


def _check_ports(step: Step, paths: Mapping[str, Path], part: str | None) -> None:
    if part is None:
        for port in step.outputs:
            if not port.optional and port.name not in paths:
                raise ParamsError(f"--{port.name} is required: {port.help}")
        return
    if step.part is None:
        raise ParamsError(f"--part {part}: {step.name} has no parts; leave it out")
    for port in step.outputs:
        if port.name in paths:
            raise ParamsError(f"--{port.name} is not written with --part; leave one of them out")
    for port in step.work:
        if port.name not in paths:
            raise ParamsError(f"--{port.name} is required with --part: {port.help}")


def _input_fingerprint(name: str, path: Path) -> str:
    try:
        return fingerprint(path)
    except OSError as error:
        raise DataError(f"--{name} {path}: cannot be read: {error}; fix it or give another") from error


def _kind(step: Step, name: str) -> str:
    return next(port.kind for port in step.outputs if port.name == name)


def _check_input(port: Port, path: Path | None) -> None:
    if path is None:
        if not port.optional:
            raise ParamsError(f"--{port.name} is required: {port.help}")
        return
    put_back(path)
    if not path.exists():
        raise MissingInputError(f"--{port.name} {path}: no such file or folder; {port.help}")
    elif path.is_dir() == (port.kind in FILE_KINDS):
        is_a, expected = ("folder", "file") if path.is_dir() else ("file", "folder")
        raise MissingInputError(f"--{port.name} {path}: is a {is_a}, expected a {expected}; {port.help}")


def _check_work(name: str, path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise DataError(f"--{name} {path}: is a file, expected a folder; give another")
    there = _nearest(path)
    try:  # permissions alone do not say what root may do on a network file system
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise DataError(f"--{name} {path}: {there} cannot be written to: {error.strerror}; give another") from error


def check_apart(inputs: Mapping[str, Path], outputs: Mapping[str, Path], work: Mapping[str, Path]) -> None:
    """An output is replaced whole: nothing else of the step may be it or lie inside it."""
    others = {name: path.resolve() for name, path in [*inputs.items(), *outputs.items(), *work.items()]}
    for name, path in outputs.items():
        resolved = path.resolve()
        if not resolved.name:
            raise ParamsError(f"--{name} {path} cannot be an output; name a file or folder in it")
        for other, taken in others.items():
            if other != name and taken == resolved:
                raise ParamsError(f"--{name} {path} is also --{other}; give each output a path of its own")
            if other in inputs and resolved.is_relative_to(taken):
                raise ParamsError(f"--{name} {path} lies inside --{other}; give each output a path of its own")
            if other != name and taken.is_relative_to(resolved):
                raise ParamsError(f"--{other} lies inside --{name} {path}; give each output a path of its own")


def log_done(step: Step, result: StepResult) -> None:
    """Log a step's summary."""
    log.info(result.summary, extra={"fields": {"bins": result.bins, "tracks": result.tracks}})
