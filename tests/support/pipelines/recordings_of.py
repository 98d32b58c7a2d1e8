"""Recorded answers of a Kubeflow Pipelines server."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "recordings"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def recording(name: str) -> dict[str, Any]:
    """A request, its status and its answer."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def recorded_run(name: str) -> dict[str, Any]:
    """The answer to a request for a run."""
    answer: dict[str, Any] = recording(name)["answer"]
    return answer
