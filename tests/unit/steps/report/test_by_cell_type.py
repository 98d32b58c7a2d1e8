"""The report's table by cell type has the results' numbers."""

from epilstm.steps.report.by_cell_type import by_cell_type
from epilstm.store.evaluation_results import EvaluationResults, FoldsUsed
from epilstm.tracks.identity import TrackSet
from support.report.finished_run import reconstruction, task_result

NAMES = ["E003-DNase", "E003-H3K4me3", "E116-DNase"]


def results() -> EvaluationResults:
    found = reconstruction(NAMES)
    model = found.models["model"].model_copy(update={"track_r2": dict(zip(NAMES, [0.5, 0.75, None], strict=True))})
    return EvaluationResults(
        embedding_size=4, representation_sizes={}, pooling=["mean"], confidence=0.95, bootstrap=10, task_order=["fire"],
        folds=FoldsUsed(by="region", count=5, leaky=False), tasks={"fire": task_result("fire", ["E116", "E123"])},
        reconstruction=found.model_copy(update={"models": {**found.models, "model": model}}),
    )  # fmt: skip


def test_each_cell_type_has_its_reconstruction_and_its_scores() -> None:
    part = by_cell_type(results(), TrackSet.of_names(NAMES))
    assert part is not None
    assert part.columns[:3] == ["Cell type", "Tracks", "Reconstruction, R\N{SUPERSCRIPT TWO}"]
    assert [row.cells[:3] for row in part.rows] == [["E003", "2", "0.625"], ["E116", "1", ""], ["E123", "0", ""]]
    scores = results().tasks["fire"].cell_types
    assert part.rows[0].cells[3] == ""
    assert float(part.rows[1].cells[3]) == round(scores["E116"].representations["embedding"].average_precision, 3)


def test_one_cell_type_has_no_table() -> None:
    assert by_cell_type(results(), TrackSet.of_names(NAMES[:2])) is None
