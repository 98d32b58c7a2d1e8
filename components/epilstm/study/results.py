"""What the experiments of a study came to: scores of the embedding, by variant, seed and task."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

from epilstm.errors import DataError, ParamsError
from epilstm.files.outputs import write_together
from epilstm.store.evaluation_results import EMBEDDING, NO_VERDICT, SCORES_FILE, Difference, EvaluationResults
from epilstm.store.manifests import parse_manifest
from epilstm.study.experiments import Kept
from epilstm.study.plan import Experiment

#: Columns of the CSV file: a row per experiment and task with classes.
COLUMNS = ("study", "variant", "seed", "task", "ap", "ap_low", "ap_high", "test_r2")

#: Where the pipeline puts the evaluation, in an experiment's commit.
EVALUATION = Path("evaluation")


@dataclass(frozen=True)
class Score:
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """What one experiment came to.

    Parameters
    ----------
    test_r2 : float or None
        Of the reconstruction of the test chromosomes.
    imputation_mse : float or None
        Of hidden tracks, genome-wide, where tracks were imputed.
    precision : dict of str to Score
        Average precision of the embedding by task, mean over cell types.
    levels : dict of str to Score
        R2 of the embedding by task of levels.
    differences : dict of str to dict of str to Difference
        By representation, then by what is measured: the embedding's score minus its.
    """

    variant: str
    seed: int
    test_r2: float | None
    imputation_mse: float | None
    precision: dict[str, Score]
    levels: dict[str, Score]
    differences: dict[str, dict[str, Difference]] = field(default_factory=dict)


def result_of(experiment: Experiment, results: EvaluationResults) -> Result:
    """What an evaluation says of an experiment."""
    differences: dict[str, dict[str, Difference]] = {}
    precision = {}
    for name, task in results.tasks.items():
        summary = task.summary[EMBEDDING]
        ci = summary.average_precision_ci
        precision[name] = Score(summary.average_precision, ci.low, ci.high)
        for each in task.differences:
            differences.setdefault(each.baseline, {})[_in_precision(name)] = each
    levels = {}
    for name, levelled in results.regression.items():
        fit = levelled.summary[EMBEDDING]
        levels[name] = Score(fit.r2, fit.r2_ci.low, fit.r2_ci.high)
        for each in levelled.differences:
            differences.setdefault(each.baseline, {})[_in_r2(name)] = each
    r2 = results.reconstruction.models["model"].r2
    imputed = results.imputation
    mse = imputed.methods["model"].overall.mse_global if imputed else None
    return Result(experiment.variant, experiment.seed, r2, mse, precision, levels, differences)


def _in_precision(task: str) -> str:
    return f"{task} (AP)"


def _in_r2(task: str) -> str:
    return f"{task} (R2)"


def read_result(root: Path, experiment: Experiment, there: Kept) -> Result:
    """The result of an experiment, out of DVC's cache.

    Raises
    ------
    DataError
        The cache has it no longer, or another version of the package wrote it.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    where = EVALUATION / SCORES_FILE
    try:
        text = DVCFileSystem(str(root), rev=there.commit).read_text(str(where))
    except (OSError, DvcException) as error:
        raise DataError(
            f"experiment {there.name}: DVC's cache has no {where} of it; 'dvc exp apply {there.name}' and 'dvc pull' "
            f"bring it, or remove the experiment ('dvc exp remove {there.name}') and run it again"
        ) from error
    return result_of(experiment, parse_manifest(json.loads(text), EvaluationResults, Path(f"{there.name}:{where}")))


def rows(study: str, results: Iterable[Result]) -> list[dict[str, object]]:
    """Rows of the CSV file."""
    return [
        {
            "study": study,
            "variant": result.variant,
            "seed": result.seed,
            "task": task,
            "ap": score.value,
            "ap_low": score.low,
            "ap_high": score.high,
            "test_r2": result.test_r2,
        }
        for result in results
        for task, score in result.precision.items()
    ]


def write_csv(path: Path, study: str, results: Iterable[Result]) -> None:
    """Write the results as CSV, whole or not at all.

    Raises
    ------
    DataError
        It cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(study, results))
    write_together({path: text.getvalue()})


@dataclass(frozen=True)
class Cell:
    """One number of a variant over its seeds.

    Parameters
    ----------
    low, high : float or None
        Mean over seeds of the bootstrap intervals' ends, where the number has one.
    difference : float or None
        To the first variant: mean over the seeds that both have; None for the first itself, or where there is none.
    spread : float or None
        Standard deviation of that difference over seeds; None of fewer than two.
    """

    mean: float
    low: float | None
    high: float | None
    difference: float | None
    spread: float | None


Table = dict[str, dict[str, Cell]]


def table(results: Sequence[Result], variants: Sequence[str]) -> Table:
    """Numbers by variant and by what is measured (``test R2``, ``imputation MSE``, tasks), in the order of `variants`.

    Parameters
    ----------
    variants : sequence of str
        The first is what the others are compared with.
    """
    measured = {each: _numbers(each, results) for each in variants}
    found: Table = {}
    for variant, numbers in measured.items():
        if not numbers:
            continue
        first = measured[variants[0]] if variant != variants[0] else {}
        found[variant] = {name: _cell(by_seed, first.get(name, {})) for name, by_seed in numbers.items()}
    return found


def _numbers(variant: str, results: Sequence[Result]) -> dict[str, dict[int, Score | float]]:
    numbers: dict[str, dict[int, Score | float]] = {}
    for result in results:
        if result.variant != variant:
            continue
        if result.test_r2 is not None:
            numbers.setdefault("test R2", {})[result.seed] = result.test_r2
        if result.imputation_mse is not None:
            numbers.setdefault("imputation MSE", {})[result.seed] = result.imputation_mse
        for name, score in result.precision.items():
            numbers.setdefault(_in_precision(name), {})[result.seed] = score
        for name, score in result.levels.items():
            numbers.setdefault(_in_r2(name), {})[result.seed] = score
    return numbers


def _cell(by_seed: Mapping[int, Score | float], first: Mapping[int, Score | float]) -> Cell:
    intervals = [score for score in by_seed.values() if isinstance(score, Score)]
    differences = [_value(by_seed[seed]) - _value(first[seed]) for seed in by_seed if seed in first]
    return Cell(
        fmean(map(_value, by_seed.values())),
        fmean(score.low for score in intervals) if intervals else None,
        fmean(score.high for score in intervals) if intervals else None,
        fmean(differences) if differences else None,
        stdev(differences) if len(differences) > 1 else None,
    )


def _value(score: Score | float) -> float:
    return score.value if isinstance(score, Score) else score


def as_text(found: Table) -> list[list[str]]:
    """The table in words: a header and a line per variant."""
    names = list(dict.fromkeys(name for cells in found.values() for name in cells))
    lines = [["variant", *names]]
    for variant, cells in found.items():
        lines.append([variant, *(_said(cells.get(name)) for name in names)])
    return lines


def _said(cell: Cell | None) -> str:
    if cell is None:
        return ""
    text = f"{cell.mean:.3f}"
    if cell.low is not None and cell.high is not None:
        text += f" [{cell.low:.3f}, {cell.high:.3f}]"
    if cell.difference is not None:
        text += f" {cell.difference:+.3f}"
        text += f" +- {cell.spread:.3f}" if cell.spread is not None else ""
    return text


def against_as_text(results: Sequence[Result], variants: Sequence[str], representation: str) -> list[list[str]]:
    """Differences of the embedding to a representation in words: a header and a line per variant that has any.

    Parameters
    ----------
    variants : sequence of str
        In the order of the lines.

    Raises
    ------
    ParamsError
        No experiment was compared with it.
    """
    compared = list(dict.fromkeys(name for result in results for name in result.differences))
    if representation not in compared:
        raise ParamsError(
            f"--against {representation}: no experiment shown has compared the embedding with it; there are "
            f"{', '.join(compared) or 'none'} (evaluate.representations)"
        )
    by_variant: dict[str, dict[str, list[Difference]]] = {}
    for variant in variants:
        for result in results:
            own = result.differences.get(representation, {}) if result.variant == variant else {}
            for name, difference in own.items():
                by_variant.setdefault(variant, {}).setdefault(name, []).append(difference)
    names = list(dict.fromkeys(name for found in by_variant.values() for name in found))
    lines = [[f"embedding - {representation}", *names]]
    for variant, found in by_variant.items():
        lines.append([variant, *(_said_over_seeds(found.get(name, [])) for name in names)])
    return lines


def _said_over_seeds(differences: Sequence[Difference]) -> str:
    if not differences:
        return ""
    low, high = fmean(each.ci.low for each in differences), fmean(each.ci.high for each in differences)
    verdicts = {each.verdict for each in differences}
    mark = " *" if verdicts in ({"beats"}, {"is beaten by"}) else ""
    if NO_VERDICT in verdicts:
        reasons = dict.fromkeys(each.reason for each in differences if each.verdict == NO_VERDICT)
        mark = f" (no verdict: {', '.join(reasons)})"
    return f"{fmean(each.delta for each in differences):+.3f} [{low:+.3f}, {high:+.3f}]{mark}"
