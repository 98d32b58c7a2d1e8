"""Precision-recall and ROC curves."""

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from epilstm.errors import DataError
from epilstm.figures.curves import CELL_TYPES_DRAWN, POINTS, cell_types_drawn, curves_of, read_curves
from epilstm.store.evaluation_results import REPRESENTATIONS
from support.nonempty import nonempty
from support.report.finished_run import predictions, task_result


@pytest.mark.parametrize(("n", "tolerance"), [(100, 1e-12), (20_000, 0.01)])
def test_the_areas_under_the_curves_are_the_scores(n, tolerance):
    rng = np.random.default_rng(n)
    labels = rng.random(n) < 0.2
    scores = (labels + rng.normal(size=n)).astype(np.float32).round(2)
    curves = curves_of(labels, scores)
    area = np.sum(np.diff(curves.recall, prepend=0) * curves.precision)
    assert area == pytest.approx(average_precision_score(labels, scores), abs=tolerance)
    area = auc(curves.false_positive_rate, curves.recall_at_rate)
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=tolerance)


def test_long_curves_are_thinned_but_keep_their_ends():
    rng = np.random.default_rng(1)
    labels = rng.random(50_000) < 0.5
    curves = curves_of(labels, rng.random(50_000))
    assert len(curves.recall) <= POINTS
    assert len(curves.false_positive_rate) <= POINTS
    assert curves.recall[-1] == curves.recall_at_rate[-1] == curves.false_positive_rate[-1] == 1
    assert curves.false_positive_rate[0] == 0
    assert (np.diff(curves.recall) >= 0).all()


def test_curves_are_read_for_every_cell_type_and_representation_but_the_majority(finished_run):
    task = task_result("gene_expression", ["E003", "E116"])
    curves = read_curves(finished_run["evaluation"] / "predictions.parquet", task)
    assert list(curves) == ["E003", "E116"]
    assert all(set(each) == set(REPRESENTATIONS) - {"majority"} for each in nonempty(curves.values()))
    labels, scores = predictions("gene_expression", "E116")
    np.testing.assert_array_equal(curves["E116"]["pca"].precision, curves_of(labels, scores["pca"]).precision)


def test_of_many_cell_types_those_with_the_most_positives_are_drawn_in_order():
    task = task_result("fire", [f"E{number:03}" for number in range(9)])
    drawn = cell_types_drawn(task)
    counts = sorted((cell.positives for cell in task.cell_types.values()), reverse=True)
    assert sorted((task.cell_types[name].positives for name in drawn), reverse=True) == counts[:CELL_TYPES_DRAWN]
    assert drawn == sorted(drawn)


def test_predictions_of_another_task_are_refused(finished_run):
    with pytest.raises(DataError, match=r"not the 200 predictions of timing in E116 from .*run evaluate again"):
        read_curves(finished_run["evaluation"] / "predictions.parquet", task_result("timing", ["E116"]))


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "predictions.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="run evaluate again"):
        read_curves(path, task_result("fire", ["E116"]))
