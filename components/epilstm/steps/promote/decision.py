"""``decision.json``: what the gate decided, and every number that it compared."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from epilstm.files.outputs import read_json
from epilstm.store.evaluation_results import Interval, Verdict
from epilstm.store.manifests import parse_manifest

DECISION_FILE = "decision.json"

Outcome = Literal["promote", "hold"]
Champion = Literal["comparable", "stale", "absent"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Check(_Model):
    """One rule: a value compared with a limit.

    `rule` is the gate's letter: a, baselines; b, champion; c, encoder; d, training. `value` is None where there is
    none, which fails. A check that is not `judged` (too few independent regions for its interval to mean anything)
    neither passes nor fails: `passed` is then True, and the decision's reasons name it.
    """

    rule: Literal["a", "b", "c", "d"]
    name: str
    value: float | None
    relation: Literal[">", ">=", "<=", "not below"]
    limit: float | None
    passed: bool
    note: str = ""
    judged: bool = True


class Comparison(_Model):
    """Challenger minus champion in average precision on a task's held-out examples, on the same bootstrap resamples.

    `task` is ``mean`` for the mean over tasks. `cell_type` names the one that is compared, in a task that has several;
    empty for the mean over a task's cell types. `clusters` is what the bootstrap resamples; below
    `MIN_CLUSTERS` of `epilstm.store.evaluation_results` the interval says nothing and the verdict is ``not judged``,
    for the `reason`.
    """

    task: str
    challenger: float
    champion: float
    delta: float
    ci: Interval
    clusters: int
    verdict: Verdict
    reason: str = ""
    cell_type: str = ""

    @property
    def name(self) -> str:
        """What is compared, in one word or two."""
        return f"{self.task} in {self.cell_type}" if self.cell_type else self.task


class Contender(_Model):
    """Who was compared."""

    encoder_fingerprint: str
    model_fingerprint: str
    matrix_fingerprint: str


class Decision(_Model):
    """What the gate decided.

    `decision` is what is done, `verdict` what the checks alone say; they differ only where `forced` gives a reason.
    `data` and `evaluation` name what both contenders were compared on.
    """

    format: Literal["epilstm.decision/1"] = "epilstm.decision/1"
    decision: Outcome
    verdict: Outcome
    forced: str | None
    reasons: list[str]
    challenger: Contender
    champion: Contender | None
    champion_state: Champion
    champion_note: str
    checks: list[Check]
    comparisons: list[Comparison]
    confidence: float
    matrix_fingerprint: str
    evaluation_fingerprint: str


def read_decision(path: Path) -> Decision:
    """A decision file.

    Raises
    ------
    DataError
        Missing, or not one.
    """
    return parse_manifest(read_json(path), Decision, path)
