"""What the outputs of a step follow from besides its inputs: its code, its resolved params, and files that these name.

``dvc.yaml`` has a stage that writes one small file per step, on which the step's own stage depends: DVC runs a stage
again where the content of its file changed, and no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epilstm.files.outputs import fingerprint, to_json, write_together
from epilstm.genome.assembly import BUILT_IN_ASSEMBLIES
from epilstm.params import SECTIONS, load_section, parse_yaml, read_yaml
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.step_table import STEPS

FORMAT = "epilstm.step-fingerprint/1"

LOCK_FILE = "dvc.lock"


def file_of(step: str) -> str:
    """Name of a step's file."""
    return f"{step}.json"


def fingerprint_text(step: str, params: Mapping[str, Any]) -> str:
    """Content of a step's file.

    Parameters
    ----------
    params : mapping
        Its section, resolved.
    """
    found = step_fingerprint(step)
    return to_json(
        {
            "format": FORMAT,
            "step": step,
            "code": found.sha256,
            "modules": found.modules,
            "params": params,
            "files": _named_files(step, params),
        }
    )


def _named_files(step: str, params: Mapping[str, Any]) -> dict[str, str | None]:
    """Fingerprints of what the params of a step name and no input of it is; None where nothing is there.

    What a stage of ``dvc.yaml`` makes is left out: it follows from that stage, and may not be there yet.
    """
    named: list[str] = []
    if step == "evaluate":
        named = list(params.get("also", {}).values())
    elif step == "ingest" and params.get("assembly", "") not in (*BUILT_IN_ASSEMBLIES, ""):
        named = [params["assembly"]]
    made = _made_by_stages()
    paths = {name: Path(name) for name in named if not any(Path(name).is_relative_to(place) for place in made)}
    return {name: fingerprint(path) if path.exists() else None for name, path in paths.items()}


def _made_by_stages() -> list[str]:
    """Outputs of the stages of the working directory's ``dvc.yaml``."""
    path = Path("dvc.yaml")
    if not path.is_file():
        return []
    stages = (read_yaml(path) or {}).get("stages") or {}
    outputs = [out for stage in stages.values() if isinstance(stage, dict) for out in stage.get("outs") or []]
    return [name for out in outputs for name in ([out] if isinstance(out, str) else out)]


def write_fingerprints(params: Path | None, folder: Path) -> list[str]:
    """Write the file of every step into a folder; one that says the same already is left alone.

    Parameters
    ----------
    params : Path or None
        Params file; None takes every default.
    folder : Path
        Made where it is not there.

    Returns
    -------
    list of str
        Steps whose file is new or says something else than before.

    Raises
    ------
    ParamsError
        The params file is unusable.
    DataError
        A file cannot be written.
    """
    texts = {}
    for step in STEPS:
        model = SECTIONS[step]
        section = load_section(params, step, model) if params else model()
        texts[step] = fingerprint_text(step, section.model_dump(mode="json"))
    changed = {}
    for step, text in texts.items():
        path = folder / file_of(step)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            changed[step] = path
    # New files take their places: what is there may be a hard link into DVC's cache.
    write_together({path: texts[step] for step, path in changed.items()})
    return list(changed)


def md5_of(text: str) -> str:
    """MD5 of a text, by which DVC knows a file."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def fingerprints_in(lock: str, last: str) -> dict[str, str]:
    """Fingerprints that a stage and those before it depended on when they ran.

    Parameters
    ----------
    lock : str
        Content of ``dvc.lock``.
    last : str
        Stage that the others lead to.

    Returns
    -------
    dict of str to str
        MD5 of the file of each step; empty where no stage writes such files.
    """
    stages: dict[str, Any] = (parse_yaml(lock, LOCK_FILE) or {}).get("stages") or {}
    made_by = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs") or []}
    folders = [
        out["path"]
        for stage in stages.values()
        if str(stage.get("cmd", "")).startswith("epilstm fingerprint ")
        for out in stage.get("outs") or []
    ]
    found: dict[str, str] = {}
    seen: set[str] = set()
    waiting = [last] if last in stages else []
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for dependency in stages[name].get("deps") or []:
            path = Path(dependency["path"])
            if str(path.parent) in folders and path.stem in STEPS:
                found[path.stem] = dependency.get("md5", "")
            else:
                waiting += [made_by[str(place)] for place in (path, *path.parents) if str(place) in made_by]
    return found
