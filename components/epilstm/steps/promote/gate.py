"""The gate: from what was measured to a decision. Pure: it reads and runs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from epilstm.params import PromoteParams
from epilstm.steps.promote.decision import Champion, Check, Comparison, Contender, Decision
from epilstm.store.evaluation_results import NO_VERDICT, Difference, verdict_text

#: Baselines that a challenger must beat (rule a).
BEATEN = ("untrained", "pca")
MEAN = "mean"


@dataclass(frozen=True)
class Evidence:
    """What the gate decides on.

    Parameters
    ----------
    champion_note : str
        Why it is stale, or how it was run.
    r2 : mapping of str to float or None
        Held-out reconstruction of ``model``, ``pca`` and ``untrained``.
    baselines : mapping of str to sequence of Difference
        By task: challenger minus each baseline, over the task's cell types.
    comparisons : sequence of Comparison
        Challenger minus champion, by task and for the mean; empty where the champion could not be run.
    parity : mapping of str to float
        By encoder file.
    losses : mapping of str to float
        By name.
    left_out : mapping of str to str
        Representations that evaluate did not compare, with the reason.
    r2_left_out : mapping of str to str
        The same of reconstruction.
    """

    challenger: Contender
    champion: Contender | None
    champion_state: Champion
    champion_note: str
    r2: Mapping[str, float | None]
    baselines: Mapping[str, Sequence[Difference]]
    comparisons: Sequence[Comparison]
    parity: Mapping[str, float]
    encoder_bytes: int
    milliseconds: float
    losses: Mapping[str, float]
    weights_moved: float
    weights_not_finite: int
    confidence: float
    matrix_fingerprint: str
    evaluation_fingerprint: str
    left_out: Mapping[str, str] = field(default_factory=dict)
    r2_left_out: Mapping[str, str] = field(default_factory=dict)


def decide(evidence: Evidence, params: PromoteParams) -> Decision:
    """Promote or hold, with every number compared."""
    checks = [
        *_against_baselines(evidence, params),
        *_against_champion(evidence, params),
        *_of_encoder(evidence, params),
        *_of_training(evidence, params),
    ]
    failed = [check for check in checks if not check.passed]
    without_verdict = [check for check in checks if not check.judged]
    forced = params.force.strip() or None
    reasons = [_sentence(check) for check in failed] or [_passed(evidence, not without_verdict)]
    if without_verdict:
        notes = "; ".join(f"{check.name} ({check.note})" for check in without_verdict)
        reasons.append(f"without a verdict, neither passed nor failed: {notes}")
    if not evidence.baselines:
        reasons.append("no tasks of classes were evaluated: only reconstruction, encoder and training were checked")
    if forced:
        reasons = [f"forced: {forced}", *reasons]
    return Decision(
        decision="promote" if forced or not failed else "hold",
        verdict="hold" if failed else "promote",
        forced=forced,
        reasons=reasons,
        challenger=evidence.challenger,
        champion=evidence.champion,
        champion_state=evidence.champion_state,
        champion_note=evidence.champion_note,
        checks=checks,
        comparisons=list(evidence.comparisons),
        confidence=evidence.confidence,
        matrix_fingerprint=evidence.matrix_fingerprint,
        evaluation_fingerprint=evidence.evaluation_fingerprint,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _above(value: float | None, limit: float) -> bool:
    return value is not None and value > limit


def _at_most(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


def _against_baselines(evidence: Evidence, params: PromoteParams) -> list[Check]:
    own = _finite(evidence.r2.get("model"))
    checks = []
    for baseline in BEATEN:
        name = f"held-out reconstruction over {baseline}"
        if baseline in evidence.r2_left_out:
            checks.append(_not_measured("a", name, evidence.r2_left_out[baseline]))
            continue
        other = _finite(evidence.r2.get(baseline))
        gain = None if own is None or other is None else own - other
        note = f"R2 {_number(own)} against {_number(other)}"
        checks.append(
            Check(
                rule="a",
                name=name,
                value=gain,
                relation=">",
                limit=params.min_r2_gain,
                passed=_above(gain, params.min_r2_gain),
                note=note,
            )
        )
    for task, differences in evidence.baselines.items():
        compared = {difference.baseline for difference in differences}
        checks += [
            _not_measured("a", f"{task} against {name}", evidence.left_out.get(name))
            for name in BEATEN
            if name not in compared
        ]
        for difference in differences:
            if difference.baseline in BEATEN:
                checks.append(
                    Check(
                        rule="a",
                        name=f"{task} against {difference.baseline}",
                        value=difference.delta,
                        relation="not below",
                        limit=0.0,
                        passed=difference.verdict != "is beaten by",
                        note=_interval_note(difference),
                        judged=difference.verdict != NO_VERDICT,
                    )
                )
    return checks


def _interval_note(compared: Difference | Comparison) -> str:
    interval = f"interval {compared.ci.low:+.3f} to {compared.ci.high:+.3f}"
    if compared.verdict == NO_VERDICT:
        return f"{compared.reason}; {interval}"
    return f"{compared.verdict}; {interval}"


def _not_measured(rule: Literal["a", "b"], name: str, reason: str | None = None) -> Check:
    """What the gate needs and the evaluation does not have (`evaluate.representations`, the tasks file) does not pass.

    What evaluate itself left out for a `reason` has no verdict.
    """
    note = reason or "the evaluation does not have it"
    known = reason is not None
    return Check(
        rule=rule, name=name, value=None, relation="not below", limit=0.0, passed=known, note=note, judged=not known
    )


def _against_champion(evidence: Evidence, params: PromoteParams) -> list[Check]:
    checks = []
    if evidence.champion_state == "comparable" and not evidence.comparisons:
        checks.append(_not_measured("b", "mean over tasks of classes against the champion"))
    for each in evidence.comparisons:
        if each.task == MEAN:
            if evidence.champion_state == "comparable":
                checks.append(
                    Check(
                        rule="b",
                        name="mean over tasks against the champion",
                        value=each.delta,
                        relation=">",
                        limit=params.min_mean_gain,
                        passed=_above(each.delta, params.min_mean_gain),
                        note=f"{each.challenger:.3f} against {each.champion:.3f}",
                    )
                )
            continue
        beaten, fallen = each.verdict == "is beaten by", each.delta < -params.max_task_fall
        # Of the many cell types, some fall far by chance, and some intervals exclude 0 by chance: both together count.
        kept = not (beaten and fallen) if each.cell_type else not (beaten or fallen)
        checks.append(
            Check(
                rule="b",
                name=f"{each.name} against the champion",
                value=each.delta,
                relation="not below",
                limit=-params.max_task_fall,
                passed=kept,
                note=_interval_note(each),
                # A fall beyond the limit holds, whatever the interval is worth.
                judged=bool(each.cell_type) or each.verdict != NO_VERDICT or not kept,
            )
        )
    return checks


def _parity(evidence: Evidence) -> Mapping[str, float]:
    # An encoder without a parity in its manifest has not been compared with the model.
    return evidence.parity or {"encoder": math.nan}


def _of_encoder(evidence: Evidence, params: PromoteParams) -> list[Check]:
    megabytes = evidence.encoder_bytes / 1e6
    measured = [
        *((f"parity of {name}", value, params.parity_tolerance, "") for name, value in _parity(evidence).items()),
        ("size (MB)", megabytes, params.max_megabytes, ""),
        ("latency (ms)", evidence.milliseconds, params.max_milliseconds, "1 x 100 bins, one CPU thread, median"),
    ]
    return [
        Check(
            rule="c",
            name=name,
            value=_finite(value),
            relation="<=",
            limit=limit,
            passed=_at_most(_finite(value), limit),
            note=note,
        )
        for name, value, limit, note in measured
    ]


def _of_training(evidence: Evidence, params: PromoteParams) -> list[Check]:
    losses = [
        Check(
            rule="d",
            name=f"{name} is finite",
            value=_finite(value),
            relation=">=",
            limit=0.0,
            passed=_finite(value) is not None,
        )
        for name, value in evidence.losses.items()
    ]
    return [
        *losses,
        Check(
            rule="d",
            name="weights that are not finite",
            value=float(evidence.weights_not_finite),
            relation="<=",
            limit=0.0,
            passed=evidence.weights_not_finite == 0,
        ),
        Check(
            rule="d",
            name="weights moved",
            value=_finite(evidence.weights_moved),
            relation=">",
            limit=params.min_weights_moved,
            passed=_above(_finite(evidence.weights_moved), params.min_weights_moved),
        ),
    ]


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _sentence(check: Check) -> str:
    limit = "" if check.limit is None else f" {check.relation} {_number(check.limit)}"
    note = f" ({check.note})" if check.note else ""
    return f"{check.rule}: {check.name}: {_number(check.value)}, needed{limit}{note}"


def _passed(evidence: Evidence, all_with_verdict: bool) -> str:
    champion = {
        "absent": "there is no champion yet",
        "stale": f"the champion is stale: {evidence.champion_note}",
        "comparable": "no task falls below the champion and the mean improves",
    }[evidence.champion_state]
    outcome = "every check passed" if all_with_verdict else "no check failed"
    return f"{outcome}; {champion}"


def decision_record(decision: Decision) -> str:
    """The decision, as Markdown: what was decided, why, and every number."""
    title = "Promote" if decision.decision == "promote" else "Hold"
    lines = [f"# {title}", "", *(f"- {reason}" for reason in decision.reasons), ""]
    champion = decision.champion.encoder_fingerprint if decision.champion else "none"
    note = f": {decision.champion_note}" if decision.champion_note else ""
    lines += [
        f"Challenger: encoder `{decision.challenger.encoder_fingerprint}`",
        "",
        f"Champion: encoder `{champion}` ({decision.champion_state}{note})",
        "",
        f"Evaluated on: matrix `{decision.matrix_fingerprint}`, evaluation `{decision.evaluation_fingerprint}`",
        "",
        "## Checks",
        "",
        "| rule | check | value | needed | | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for check in decision.checks:
        needed = f"{check.relation} {_number(check.limit)}"
        outcome = "no verdict" if not check.judged else "passed" if check.passed else "**failed**"
        lines.append(f"| {check.rule} | {check.name} | {_number(check.value)} | {needed} | {outcome} | {check.note} |")
    if decision.comparisons:
        lines += [
            "",
            "## Challenger and champion",
            "",
            f"Average precision on the same held-out labels, {100 * decision.confidence:g}% interval of the difference "
            "on the same resamples.",
            "",
            "| task | challenger | champion | difference | interval | independent regions | |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for each in decision.comparisons:
            lines.append(
                f"| {each.name} | {each.challenger:.3f} | {each.champion:.3f} | {each.delta:+.3f} | "
                f"{each.ci.low:+.3f} to {each.ci.high:+.3f} | {each.clusters} | "
                f"{verdict_text(each.verdict, each.reason, '', '').strip()} |"
            )
    return "\n".join(lines) + "\n"
