"""A cell type's own code in an evaluation of a model that cell types share."""

import logging
from pathlib import Path

import pytest

from epilstm.files.outputs import fingerprint
from epilstm.model.cell_types import CellTypes
from epilstm.params import EmbedParams, ExportParams
from epilstm.runtime.runner import StepContext
from epilstm.steps.embed.command import run as embed
from epilstm.steps.export.command import run as export
from epilstm.store.evaluation_results import read_results
from support.evaluate.evaluation_runs import chosen_tasks, evaluate
from support.evaluate.tiny_evaluation import EMBEDDING_SIZE, TRACKS, TinyEvaluation, write_model

CELL_TYPES = CellTypes(names=["B", "A"], assays=["H3K4me1", "H3K4me3", "H3K27ac"], tracks=[[3, 4, 5], [0, 1, 2]])


@pytest.fixture(scope="module")
def of_one(tiny: TinyEvaluation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of two cell types, and the embeddings of one of them."""
    folder, matrix = tmp_path_factory.mktemp("one"), tiny.folder / "matrix"
    write_model(folder / "model", fingerprint(matrix), cell_types=CELL_TYPES)
    export(ExportParams(triton=False), StepContext({"model": folder / "model"}, {"encoder": folder / "encoder"}, {}))
    inputs = {"matrix": matrix, "encoder": folder / "encoder"}
    embed(EmbedParams(cell_types=["A"], threads=1), StepContext(inputs, {"embeddings": folder / "embeddings"}, {}))
    return {"model": folder / "model", "embeddings": folder / "embeddings"}


def test_the_own_code_of_a_cell_type_that_is_not_embedded_is_left_out(
    tiny: TinyEvaluation, of_one: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params = {"representations": ["embedding", "own(embedding)", "own(raw)"], "missing_tracks": 0.3}
    with caplog.at_level(logging.WARNING, logger="epilstm"):
        evaluate(tiny, tmp_path, params, tasks=chosen_tasks(tmp_path, "fire", "timing"), **of_one)
    assert "own(embedding): left out of task timing, B is not embedded (embed.cell_types)" in caplog.text
    results = read_results(tmp_path / "evaluation")
    assert results.embedding_size == EMBEDDING_SIZE
    of_a, of_b = (
        results.tasks[task].cell_types[cell].representations for task, cell in (("fire", "A"), ("timing", "B"))
    )
    assert list(of_b) == ["embedding", "own(raw)"]
    # The embedding of one cell type is that cell type's own code.
    assert of_a["own(embedding)"].average_precision == of_a["embedding"].average_precision
    assert len(TRACKS) == 2 * EMBEDDING_SIZE
