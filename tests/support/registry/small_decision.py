"""A decision of the gate, without having asked it."""

from __future__ import annotations

from typing import Literal

from epilstm.steps.promote.decision import Contender, Decision


def contender(encoder: str) -> Contender:
    return Contender(encoder_fingerprint=encoder, model_fingerprint="m", matrix_fingerprint="x")


def decision(challenger: str, champion: str | None = None, outcome: Literal["promote", "hold"] = "promote") -> Decision:
    return Decision(
        decision=outcome,
        verdict=outcome,
        forced=None,
        reasons=["every check passed" if outcome == "promote" else "b: timing fell"],
        challenger=contender(challenger),
        champion=contender(champion) if champion else None,
        champion_state="comparable" if champion else "absent",
        champion_note="",
        checks=[],
        comparisons=[],
        confidence=0.95,
        matrix_fingerprint="x",
        evaluation_fingerprint="e",
    )
