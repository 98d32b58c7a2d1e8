"""Which steps of a run are done and still fit: inputs, params and code are what their outputs follow from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from epilstm.errors import DataError, TrackError
from epilstm.files.outputs import fingerprint, read_json, sha256_json, write_json
from epilstm.params import SECTIONS, validate
from epilstm.project.plan import WORK, Plan
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.step_table import STEPS
from epilstm.tracks.fetching import source_state
from epilstm.tracks.samplesheet import resolve_uri

#: What is kept of every step that has ended well, in the work folder.
STEPS_FILE, FORMAT = "steps.json", "epilstm.run-steps/1"

#: Servers asked at once whether a file has changed.
LOOKUPS = 16


class Done:
    """Steps that have ended well, and what they followed from.

    Parameters
    ----------
    plan : Plan
        Its work folder keeps what is known; there may be none yet.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.path = plan.folder / WORK / STEPS_FILE
        self.steps: dict[str, Any] = {}
        if self.path.is_file():
            try:
                self.steps = dict(read_json(self.path).get("steps", {}))
            except DataError:
                self.steps = {}  # damaged: every step runs again

    def fits(self, step: str) -> bool:
        """Whether the outputs of a step are there and are what it would write again."""
        found = self.steps.get(step)
        if found is None:
            return False
        outputs = {name: self.plan.folder / place for name, place in found["outputs"].items()}
        if not outputs or not all(path.exists() for path in outputs.values()):
            return False
        return bool(found["follows"] == self.follows(step) and found["fingerprints"] == _fingerprints(outputs))

    def follows(self, step: str) -> str:
        """Digest of all that the outputs of a step follow from."""
        inputs = {port.name: self.plan.paths(step).get(port.name) for port in STEPS[step].inputs}
        params = validate(SECTIONS[step], self.plan.sections.get(step) or {}, step).model_dump(mode="json")
        given = {name: fingerprint(path) for name, path in inputs.items() if path is not None}
        tracks = self._track_states() if step == "ingest" else {}
        return sha256_json([step, step_fingerprint(step).sha256, params, given, tracks])

    def add(self, step: str, follows: str) -> None:
        """Keep that a step has ended well.

        Parameters
        ----------
        follows : str
            Of `follows`, from before the step ran: what changed meanwhile is not what it was made from.
        """
        paths = self.plan.paths(step)
        outputs = {port.name: paths[port.name] for port in STEPS[step].outputs if port.name in paths}
        self.steps[step] = {
            "follows": follows,
            "outputs": {name: str(path.relative_to(self.plan.folder)) for name, path in outputs.items()},
            "fingerprints": _fingerprints(outputs),
        }
        write_json(self.path, {"format": FORMAT, "steps": self.steps})

    def _track_states(self) -> dict[str, Any]:
        """Size and version of every track's file, where it says: the samplesheet stays the same when a file changes."""
        sheet = self.plan.request.samplesheet
        places = [resolve_uri(track.uri, sheet) for track in self.plan.tracks]

        def state(uri: str) -> Any:
            try:
                found = source_state(uri)
            except TrackError as error:
                return str(error)
            return None if found is None else [found.size, found.version]

        with ThreadPoolExecutor(LOOKUPS) as threads:
            return dict(zip(places, threads.map(state, places), strict=True))


def _fingerprints(outputs: dict[str, Path]) -> dict[str, str]:
    return {name: fingerprint(path) for name, path in outputs.items()}
