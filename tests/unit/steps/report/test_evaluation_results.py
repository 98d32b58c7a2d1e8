"""What the report reads of an evaluation."""

import pytest
from pydantic import ValidationError

from epilstm.files.outputs import read_json
from epilstm.store.evaluation_results import SCORES_FILE, EvaluationResults, read_results
from support.report.finished_run import TASKS


def test_tasks_are_read_in_the_order_of_the_tasks_file(finished_run):
    assert list(read_results(finished_run["evaluation"]).tasks) == list(TASKS) != sorted(TASKS)


def test_an_order_of_other_tasks_is_refused(finished_run):
    content = read_json(finished_run["evaluation"] / SCORES_FILE)
    with pytest.raises(ValidationError, match="name different tasks"):
        EvaluationResults.model_validate(content | {"task_order": ["fire"]})
