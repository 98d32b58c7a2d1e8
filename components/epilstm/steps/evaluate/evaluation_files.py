"""Writing an evaluation folder: scores, predictions and, last, the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.files.outputs import fingerprint, sha256_file, sha256_json, to_json
from epilstm.scoring.trials import Trial
from epilstm.steps.evaluate.inputs import Inputs
from epilstm.store.evaluation_results import (
    LEVEL_COLUMNS,
    LEVELS_FILE,
    PREDICTION_COLUMNS,
    PREDICTIONS_FILE,
    SCORES_FILE,
    EvaluationManifest,
    EvaluationResults,
)
from epilstm.store.manifests import write_manifest

#: Trials, each with its out-of-fold predictions by representation.
Predicted = Sequence[tuple[Trial, Mapping[str, NDArray[np.float32]]]]


def write_evaluation(
    folder: Path, paths: Mapping[str, Path], inputs: Inputs, predicted: Predicted, results: EvaluationResults
) -> None:
    """Write an evaluation folder.

    Parameters
    ----------
    folder : Path
    paths : mapping of str to Path
        Of the step's inputs, by port name.
    inputs : Inputs
    predicted : sequence of (Trial, mapping)
        Each trial of scored examples, and representation -> its out-of-fold predictions.
    results : EvaluationResults
    """
    params = inputs.params
    folder.mkdir(parents=True)
    (folder / SCORES_FILE).write_text(to_json(results.model_dump(mode="json")), encoding="utf-8")
    order = results.representation_order
    of_levels = [each for each in predicted if each[0].task.of_levels]
    of_classes = [each for each in predicted if not each[0].task.of_levels]
    write_predictions(folder / PREDICTIONS_FILE, of_classes, order)
    if of_levels:
        write_predictions(folder / LEVELS_FILE, of_levels, order)
    label_paths = sorted({path for task in inputs.tasks for path in task.label_paths})
    score_params = params.model_dump(mode="json", exclude={"tasks", "labels", "threads"})
    write_manifest(
        folder,
        EvaluationManifest(
            matrix_fingerprint=inputs.matrix.fingerprint,
            model_fingerprint=fingerprint(paths["model"]),
            embeddings_fingerprint=fingerprint(paths["embeddings"]) if "embeddings" in paths else None,
            tasks_sha256=sha256_file(paths["tasks"]) if "tasks" in paths else None,
            labels_sha256={path: sha256_file(inputs.labels / path) for path in label_paths},
            params_sha256=sha256_json(score_params),
            params=score_params,
            scores_sha256=sha256_file(folder / SCORES_FILE),
            predictions_sha256=sha256_file(folder / PREDICTIONS_FILE),
            levels_sha256=sha256_file(folder / LEVELS_FILE) if of_levels else None,
            also_fingerprints={name: fingerprint(Path(path)) for name, path in params.also.items()},
        ),
    )


def write_predictions(
    path: Path, predicted: Iterable[tuple[Trial, Mapping[str, NDArray[np.float32]]]], order: Sequence[str]
) -> None:
    """Write one row per example and representation, trial by trial.

    Parameters
    ----------
    path : Path
        Named `LEVELS_FILE`, the columns are those of `LEVEL_COLUMNS`; else, of `PREDICTION_COLUMNS`.
    predicted : iterable of (Trial, mapping)
        Each trial with its out-of-fold predictions by representation.
    order : sequence of str
        Representations.
    """
    import pyarrow
    import pyarrow.parquet

    kinds: dict[str, Callable[[], Any]] = {
        "string": pyarrow.string,
        "int64": pyarrow.int64,
        "int16": pyarrow.int16,
        "bool": pyarrow.bool_,
        "float32": pyarrow.float32,
        "float64": pyarrow.float64,
    }
    columns = LEVEL_COLUMNS if path.name == LEVELS_FILE else PREDICTION_COLUMNS
    schema = pyarrow.schema([(name, kinds[kind]()) for name, kind in columns.items()])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for trial, scores in predicted:
            n, examples = len(trial.examples), trial.examples
            for name in (each for each in order if each in scores):
                content = {
                    "task": [trial.task.name] * n,
                    "cell_type": [trial.cell_type] * n,
                    "representation": [name] * n,
                    "example": examples.names,
                    "chrom": examples.chroms[:, 0],
                    "start": examples.starts.min(axis=1),
                    "end": examples.ends.max(axis=1),
                    "group": [trial.group_names[number] for number in trial.folds.group],
                    "fold": trial.folds.fold,
                    "label": examples.labels,
                    "score": scores[name],
                    "level": examples.levels,
                    "predicted": scores[name],
                }
                writer.write_table(pyarrow.table({column: content[column] for column in columns}, schema=schema))
