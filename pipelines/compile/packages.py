"""Compiled pipelines as files: what they are called, which parameters they take, which version they are."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from epilstm import __version__
from epilstm.errors import PipelineError

COMPILED = Path(__file__).parents[1] / "compiled"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a pipeline.

    Parameters
    ----------
    type : str
        ``STRING``, ``NUMBER_INTEGER``, ``NUMBER_DOUBLE``, ``BOOLEAN``, ``LIST`` or ``STRUCT``.
    default : Any
        None if it has none.
    required : bool
        A run must give it.
    """

    name: str
    type: str
    default: Any = None
    required: bool = False


@dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Parameters
    ----------
    name : str
        Name of the pipeline on a server.
    file_name, content
        Name and content of its file.
    spec, platform_spec : dict
        The pipeline's intermediate representation and what is particular to Kubernetes (empty if nothing is).
    revision : str
        Short git revision of the repository the file lies in, ``.dirty`` if tracked files differ; ``nogit`` outside.
    """

    name: str
    file_name: str
    content: bytes
    spec: dict[str, Any]
    platform_spec: dict[str, Any]
    revision: str

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return sha256(self.content).hexdigest()

    @property
    def version_name(self) -> str:
        """Package version, git revision and the start of the digest."""
        return f"{__version__}+{self.revision}-{self.digest[:12]}"

    @property
    def as_sent(self) -> dict[str, Any]:
        """The representation as it stands in the body of a request."""
        if not self.platform_spec:
            return self.spec
        return {"pipeline_spec": self.spec, "platform_spec": self.platform_spec}


def read_package(pipeline: str, profile: str, folder: Path = COMPILED) -> Package:
    """A compiled pipeline of the project, from the `folder` of its compiled files.

    Raises
    ------
    PipelineError
        It does not exist; the message names those that do.
    """
    path = folder / f"{pipeline}-{profile}.yaml"
    if not path.exists():
        compiled = sorted(file.stem for file in folder.glob("*.yaml"))
        mine = [stem.removeprefix(f"{pipeline}-") for stem in compiled if stem.startswith(f"{pipeline}-")]
        if mine:
            raise PipelineError(f"pipeline {pipeline} has no compiled profile {profile!r}; it has {', '.join(mine)}")
        known = f"compiled are {', '.join(compiled)}" if compiled else "run epilstm pipeline compile first"
        raise PipelineError(f"there is no compiled pipeline {pipeline!r}; {known}")
    return read_package_file(path, f"epilstm-{pipeline}-{profile}")


def read_package_file(path: Path, name: str | None = None) -> Package:
    """A compiled pipeline from any YAML file that kfp wrote, under its own name if no other is given.

    Raises
    ------
    PipelineError
        Not there, or not a compiled pipeline.
    """
    try:
        content = path.read_bytes()
        documents = [document for document in yaml.safe_load_all(content) if document is not None]
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: not a compiled pipeline: not YAML") from error
    if not documents or not all(isinstance(document, dict) for document in documents) or len(documents) > 2:
        raise PipelineError(f"{path}: not a compiled pipeline: expected one YAML mapping, and perhaps a platform's")
    spec, platform = documents[0], documents[1] if len(documents) == 2 else {}
    for key in ("pipelineInfo", "root", "schemaVersion"):
        if key not in spec:
            raise PipelineError(f"{path}: not a compiled pipeline: has no {key}")
    called = name or str((spec["pipelineInfo"] or {}).get("name") or path.stem)
    return Package(called, path.name, content, spec, platform, _git_revision(path.resolve().parent))


def parameters_of(spec: Mapping[str, Any]) -> dict[str, Parameter]:
    """Parameters of a pipeline, from its intermediate representation."""
    declared = ((spec.get("root") or {}).get("inputDefinitions") or {}).get("parameters") or {}
    return {
        name: Parameter(
            name,
            str(about.get("parameterType", "")),
            _whole(about.get("defaultValue")),
            required="defaultValue" not in about and not about.get("isOptional", False),
        )
        for name, about in declared.items()
    }


def _whole(value: Any) -> Any:
    """A value with whole numbers as int: in protobuf's structures every number is a float."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def same_content(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two representations, as sent or as a server returns them, are the same pipeline.

    With or without a platform's part; field names in either of protobuf's spellings.
    """
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    def parsed(content: Mapping[str, Any]) -> tuple[Any, Any]:
        wrapped = "pipeline_spec" in content
        spec = content["pipeline_spec"] if wrapped else content
        platform = (content.get("platform_spec") or {}) if wrapped else {}
        return (
            json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec()),
            json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec()),
        )

    try:
        return parsed(one) == parsed(other)
    except json_format.ParseError:
        return False


def _git_revision(folder: Path) -> str:
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=7", "--dirty=.dirty", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "nogit"
    return described.stdout.strip() or "nogit"
