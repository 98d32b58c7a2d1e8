"""Tables of what was compared beyond the tasks of classes: levels, leaks, missing tracks, other cell types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from epilstm.figures.drawing import words
from epilstm.figures.html import number, span
from epilstm.figures.looks import label_of
from epilstm.store.evaluation_results import EMBEDDING, EvaluationResults, Interval

#: How tables call kinds of probes.
PROBES = {"logistic": "linear", "xgboost": "XGBoost", "random_forest": "random forest"}

#: The embedding of a cell type's tracks alone, the others hidden: a view that only this comparison has.
VIEWS = {"embedding_masked": "LSTM embedding, other cell types hidden"}


@dataclass(frozen=True)
class Row:
    """A row of a table; `own` rows are the model's."""

    cells: list[str]
    own: bool


@dataclass(frozen=True)
class Part:
    """A comparison: what it is, its findings in sentences, and its table."""

    heading: str
    text: str
    sentences: list[str]
    columns: list[str]
    rows: list[Row]


def _ordered(names: Iterable[str], results: EvaluationResults) -> list[str]:
    """Representations as tables list them: the results' JSON sorts its keys."""
    order = [*results.representation_order, *VIEWS]
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def further_comparisons(results: EvaluationResults) -> list[Part]:
    """The comparisons that an evaluation holds; none where none was requested."""
    parts = (_levels(results), _comparisons(results), _leak(results), _missing(results), _across(results))
    return [part for part in parts if part is not None]


def _with(value: float, interval: Interval) -> str:
    return f"{number(value)} ({span(interval)})"


def _rows(rows: Iterable[tuple[str, str, Sequence[str]]]) -> list[Row]:
    """Rows of a table from (task, representation, cells)."""
    return [
        Row([f"{words(task)}: {VIEWS.get(name) or label_of(name)}", *cells], name == EMBEDDING)
        for task, name, cells in rows
    ]


def _levels(results: EvaluationResults) -> Part | None:
    if not results.regression:
        return None
    return Part(
        "Levels",
        "Levels predicted by a regressor. R\N{SUPERSCRIPT TWO} is over the held-out predictions of all folds together, "
        "Spearman\N{RIGHT SINGLE QUOTATION MARK}s correlation within folds; means over cell types, with intervals.",
        [task.sentence for task in results.regression.values()],
        ["Task and representation", "R\N{SUPERSCRIPT TWO}", "Spearman"],
        _rows(
            (task.name, name, [_with(each.r2, each.r2_ci), _with(each.spearman, each.spearman_ci)])
            for task in results.regression.values()
            for name in results.representation_order
            if name in task.summary
            for each in [task.summary[name]]
        ),
    )


def _comparisons(results: EvaluationResults) -> Part | None:
    """Measures beyond those of the other tables: by probe, by number of labels, within blocks, by cell type."""
    main = (results.classifier, None)
    settings = list(dict.fromkeys((each.probe, each.labels) for each in results.comparisons))
    further = [each for each in results.comparisons if (each.probe, each.labels) != main]
    others = [each for each in results.comparisons if each.measure not in ("average precision", "R2")]
    if not further and not others:
        return None
    found = {(each.task, each.measure, each.probe, each.labels): each for each in results.comparisons}
    rows = dict.fromkeys((each.task, each.measure) for each in (results.comparisons if further else others))
    draws = max(each.draws for each in results.comparisons)
    budgets = f" With fewer labels than all, scores are means over {draws} draws of them." if draws > 1 else ""
    return Part(
        "By probe, number of labels and measure",
        f"Means over cell types, with intervals over blocks of {results.blocks_bp / 1e6:g} Mb. Within blocks, levels "
        "and predictions are deviations from their mean in each block; by cell type, from their mean over cell types."
        + budgets,
        [
            f"{words(each.task)}: {each.between_blocks:.0%} of the variance lies between blocks."
            for each in results.comparisons
            if each.between_blocks is not None and (each.probe, each.labels) == main
        ],
        [
            "Task, measure and representation",
            *(f"{PROBES[probe]}, {'all' if labels is None else f'{labels:,}'} labels" for probe, labels in settings),
        ],
        [
            Row(
                [
                    f"{words(task)}, {measure}: {label_of(name)}",
                    *(
                        _with(score.value, score.ci)
                        for setting in settings
                        for score in [found[task, measure, *setting].representations[name]]
                    ),
                ],
                name == EMBEDDING,
            )
            for task, measure in rows
            for name in _ordered(found[task, measure, *settings[0]].representations, results)
        ],
    )


def _leak(results: EvaluationResults) -> Part | None:
    if not results.leak:
        return None
    return Part(
        "What random folds would claim",
        "Scores with each example held out on its own, so that training sees its neighbours in the genome, compared "
        f"with those with whole {results.folds.by}s held out. The difference is a leak, not skill.",
        [leak.sentence for leak in results.leak.values()],
        ["Task and representation", f"By {results.folds.by}", "Random (leaky)", "Leak", "Measure"],
        _rows(
            (task, name, [number(each.grouped), number(each.random), _with(each.delta, each.ci), leak.measure])
            for task, leak in results.leak.items()
            for name in _ordered(leak.representations, results)
            for each in [leak.representations[name]]
        ),
    )


def _missing(results: EvaluationResults) -> Part | None:
    missing = results.missing_tracks
    if missing is None:
        return None
    hidden = len(missing.draws[0])
    return Part(
        "Missing tracks",
        f"Classifiers trained with all tracks predict examples with {hidden} of them ({missing.share:.0%}) at "
        f"their mean; means over {len(missing.draws)} draws of tracks.",
        [task.sentence for task in missing.tasks.values()],
        ["Task and representation", "All tracks", "Some hidden", "Fall", "Measure"],
        _rows(
            (task, name, [number(each.full), number(each.hidden), _with(each.fall, each.ci), result.measure])
            for task, result in missing.tasks.items()
            for name in _ordered(result.representations, results)
            for each in [result.representations[name]]
        ),
    )


def _across(results: EvaluationResults) -> Part | None:
    across = results.cross_cell_type
    if across is None:
        return None
    return Part(
        "Across cell types",
        f"Trained on all labelled cell types ({', '.join(across.cell_types)}) but one and predicted in that one, each "
        f"described by its own tracks of {', '.join(across.assays)}. The LSTM embedding reads them in place of "
        "every cell type\N{RIGHT SINGLE QUOTATION MARK}s tracks.",
        [task.sentence for task in across.tasks.values()],
        ["Task and view", "Other cell types", "The same cell type", "Loss", "Measure"],
        _rows(
            (
                task,
                name,
                [
                    _with(each.across, each.across_ci),
                    number(each.within),
                    _with(each.loss, each.loss_ci),
                    result.measure,
                ],
            )
            for task, result in across.tasks.items()
            for name in _ordered(result.summary, results)
            for each in [result.summary[name]]
        ),
    )
