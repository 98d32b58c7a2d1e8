"""``epilstm evaluate``: run every analysis that the params ask for, and write the results.

The evaluation folder holds ``scores.json``, ``predictions.parquet``, ``levels.parquet`` where a task predicts levels
and, written last, ``manifest.json``; `epilstm.store.evaluation_results` has the schema of each.
"""

from __future__ import annotations

from typing import Any

from epilstm.console import log
from epilstm.params import EvaluateParams
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.evaluate.analyses import ANALYSES, Evaluation
from epilstm.steps.evaluate.evaluation_files import write_evaluation
from epilstm.steps.evaluate.inputs import read_inputs
from epilstm.steps.evaluate.summary import metrics, sentences, summary
from epilstm.store.evaluation_results import EMBEDDING, EvaluationResults, FoldsUsed


def run(params: EvaluateParams, context: StepContext) -> StepResult:
    """Evaluate the embedding in reconstruction and, where tasks are given, on every task, against the baselines."""
    import torch

    # Recurrent steps are too small to share: a second thread slows them down, and one gives the same bytes everywhere.
    torch.set_num_threads(1)
    inputs = read_inputs(params, context.inputs)
    evaluation = Evaluation(inputs)
    found: dict[str, Any] = {}
    for analysis in ANALYSES:
        if analysis.wanted(params) and (inputs.tasks or not analysis.needs_tasks):
            found |= analysis.run(evaluation)
    results = EvaluationResults(**_settings(evaluation), **{"task_order": [], "tasks": {}} | found)
    for sentence in sentences(results):
        log.info(sentence)
    held_out = evaluation.predictions.held_out if inputs.tasks else []
    predicted = list(zip(evaluation.trials, held_out, strict=True))
    write_evaluation(context.outputs["evaluation"], context.inputs, inputs, predicted, results)
    return StepResult(
        summary=summary(results),
        metrics=metrics(results),
        bins=sum(region.bins for region in inputs.matrix.regions),
        tracks=inputs.matrix.tracks,
    )


def _settings(evaluation: Evaluation) -> dict[str, Any]:
    """Fields of `EvaluationResults` about what was compared, and how."""
    inputs = evaluation.inputs
    params, groups = inputs.params, inputs.groups
    sizes, order, left_out = {EMBEDDING: inputs.embedding.size}, [EMBEDDING], dict[str, str]()
    if inputs.tasks:
        predictions = evaluation.predictions
        sizes, left_out = predictions.sizes, predictions.left_out
        order = list(dict.fromkeys([*sizes, *(name for scores in predictions.held_out for name in scores)]))
    return {
        "embedding_size": inputs.embedding.size,
        "representation_sizes": sizes,
        "representation_order": order,
        "left_out": left_out,
        "left_out_tasks": inputs.usable.left_out,
        "held_out": inputs.held_out,
        "classifier": params.classifier.kinds[0],
        "pooling": list(params.pooling),
        "context_bp": params.context_bp,
        "pair_distance": params.pair_distance,
        "folds": FoldsUsed(
            by=params.folds.by, count=len(groups) or params.folds.count, leaky=params.folds.by == "random"
        ),
        "blocks_bp": params.blocks_bp,
        "confidence": params.confidence,
        "bootstrap": params.bootstrap,
    }
