"""What the outputs of a step follow from besides its inputs: its code and its resolved params.

``dvc.yaml`` has a stage that writes one small file per step, on which the step's own stage depends: DVC runs a stage
again where the content of its file changed, and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epilstm.artifacts import to_json
from epilstm.code_fingerprint import step_fingerprint
from epilstm.config import SECTIONS, load_section, validate
from epilstm.steps import STEPS

FORMAT = "epilstm.step-fingerprint/1"


def file_of(step: str) -> str:
    """Name of a step's file."""
    return f"{step}.json"


def fingerprint_text(step: str, params: Mapping[str, Any], code: Path | None = None) -> str:
    """Content of a step's file.

    Parameters
    ----------
    step : str
    params : mapping
        Its section, resolved.
    code : Path, optional
        Folder of the package whose code counts; the one that runs if not given.
    """
    found = step_fingerprint(step, code)
    content = {"format": FORMAT, "step": step, "code": found.sha256, "modules": found.modules, "params": params}
    return to_json(content)


def resolved(step: str, section: Any, where: str) -> dict[str, Any]:
    """Params of a step with every default filled in.

    Raises
    ------
    ParamsError
        They are unusable; the message begins with `where`.
    """
    content: dict[str, Any] = validate(SECTIONS[step], section or {}, where).model_dump(mode="json")
    return content


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
    """
    texts = {}
    for step in STEPS:
        model = SECTIONS[step]
        section = load_section(params, step, model) if params else model()
        texts[step] = fingerprint_text(step, section.model_dump(mode="json"))
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for step, text in texts.items():
        path = folder / file_of(step)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            # A new file takes its place: what is there may be a hard link into DVC's cache.
            staged = path.with_name(f".{path.name}.partial")
            staged.write_text(text, encoding="utf-8")
            staged.replace(path)
            changed.append(step)
    return changed
