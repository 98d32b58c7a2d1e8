"""Compiled pipelines: the IR that Kubeflow Pipelines runs, the same bytes for the same sources."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from epilstm.errors import ParamsError, PipelineError
from epilstm.files.outputs import replacing
from epilstm.pipelines.compile.sent_values import check_values
from epilstm.pipelines.graphs import definitions
from epilstm.pipelines.graphs.defaults import default_parameters
from epilstm.pipelines.graphs.images import Images
from epilstm.pipelines.graphs.profiles import PROFILES, Cluster, Profile, profile_named
from epilstm.pipelines.graphs.step_tasks import TaskMaker

#: YAML in C where PyYAML was built with libyaml: the same text, in a third of the time.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

#: Pipelines: name -> profiles that make sense for it. Each is ``epilstm.pipelines.graphs.definitions:<name>``.
PIPELINES: dict[str, tuple[str, ...]] = {
    "training": tuple(PROFILES),
    "retraining": tuple(PROFILES),
    "embedding": ("cpu", "gpu", "spot"),
    "rollout": ("cpu",),
    "monitoring": ("cpu",),
    "simulation": ("cpu",),
}


@dataclass(frozen=True)
class Settings:
    """What a compilation depends on besides the sources.

    Parameters
    ----------
    params : Path or None
        Params file that the parameters' defaults come from; None takes the defaults of the code.
    accelerators : int or None
        Accelerators of the pod that trains, where the profile has any; None leaves it to the profile.
    """

    images: Images = field(default_factory=Images)
    cluster: Cluster = field(default_factory=Cluster)
    params: Path | None = None
    accelerators: int | None = None


def choose(pipelines: Iterable[str], profiles: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of pipeline and profile.

    Parameters
    ----------
    pipelines, profiles : iterable of str
        Those wanted; nothing for all.

    Raises
    ------
    ParamsError
        A name is unknown, or no pipeline wanted has a profile wanted.
    """
    wanted, asked = list(pipelines), [profile_named(name).name for name in profiles]
    for name in wanted:
        if name not in PIPELINES:
            raise ParamsError(f"pipeline {name!r}: unknown; pipelines are {', '.join(PIPELINES)}")
        if asked and not set(asked) & set(PIPELINES[name]):
            raise ParamsError(f"pipeline {name} has no profile {asked[0]!r}; it has {', '.join(PIPELINES[name])}")
    return [
        (name, profile) for name in wanted or PIPELINES for profile in PIPELINES[name] if not asked or profile in asked
    ]


def file_name(pipeline: str, profile: str) -> str:
    """Name of the file that a compiled pipeline is in."""
    return f"{pipeline}-{profile}.yaml"


def compile_pipeline(pipeline: str, profile: str, settings: Settings | None = None) -> str:
    """The IR of a pipeline for a profile, a pair from `choose`, as YAML.

    Raises
    ------
    ParamsError, PipelineError
        Params, images or settings are unusable.
    """
    from kfp import compiler

    settings = settings or Settings()
    chosen = _with_accelerators(profile_named(profile), settings.accelerators)
    if chosen.distributed and not settings.cluster.data_root.startswith("/"):
        raise PipelineError(
            f"profile {profile} needs its data root on a volume that every node mounts,"
            f" not {settings.cluster.data_root}; give a volume claim, or choose profile gpu"
        )
    defaults = {"data_root": settings.cluster.data_root, **default_parameters(settings.params)}
    for key, value in defaults.items():
        check_values(key, value)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # kfp's advice is for authors of pipelines, not for those who compile them.
        warnings.simplefilter("ignore", FutureWarning)
        path = Path(folder) / file_name(pipeline, profile)
        make = TaskMaker(settings.images, chosen, settings.cluster, pipeline)
        compiler.Compiler().compile(getattr(definitions, pipeline)(make, defaults), str(path))
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=LOADER))
    return _text(documents, f"Compiled by `epilstm pipeline compile`, pipeline {pipeline}, profile {profile}.")


def write_pipelines(folder: Path, chosen: Iterable[tuple[str, str]], settings: Settings) -> list[Path]:
    """Compile pairs of pipeline and profile, then write them all into a folder.

    Raises
    ------
    ParamsError, PipelineError
        They cannot be compiled or written; the files are then as they were.
    """
    texts = {folder / file_name(*pair): compile_pipeline(*pair, settings) for pair in chosen}
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:  # all of them are written before the first is put in place
            for path, text in texts.items():
                stack.enter_context(replacing(path)).write_text(text, encoding="utf-8")
    except OSError as error:
        with suppress(OSError):  # what refused the files may refuse this, too
            if new:
                folder.rmdir()
        raise PipelineError(f"{folder}: cannot be written: {error.strerror}; choose another --output") from error
    return list(texts)


def _text(documents: list[Any], title: str) -> str:
    """YAML in one order: kfp's own comments list parameters in another order in each process."""
    inputs = documents[0]["root"]["inputDefinitions"]["parameters"]
    for parameter in inputs.values():
        if "defaultValue" in parameter:
            parameter["defaultValue"] = _whole(parameter["defaultValue"])
    return f"# {title}\n{yaml.dump_all(documents, Dumper=DUMPER, sort_keys=True, width=120)}"


def _whole(value: Any) -> Any:
    """A default with whole numbers as such, which Protobuf's structures do not know."""
    if isinstance(value, dict):
        return {key: _whole(content) for key, content in value.items()}
    if isinstance(value, list):
        return [_whole(content) for content in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _with_accelerators(profile: Profile, count: int | None) -> Profile:
    return profile if count is None or not profile.accelerators else replace(profile, accelerators=count)
