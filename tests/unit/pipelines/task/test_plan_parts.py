"""How many parts a plan makes of the work."""

import pytest

from epilstm.pipelines.task.plan import GENOME_VALUES, parts_of


@pytest.mark.parametrize(
    ("most", "values", "expected"),
    [
        (8, 0, []),
        (8, 2 * GENOME_VALUES - 1, []),
        (8, 2 * GENOME_VALUES, ["1/2", "2/2"]),
        (3, 100 * GENOME_VALUES, ["1/3", "2/3", "3/3"]),
        (1, 100 * GENOME_VALUES, []),
    ],
)
def test_parts_are_as_many_as_the_work_is_worth_and_none_where_one_task_does_it(most, values, expected):
    assert parts_of(most, values, GENOME_VALUES) == expected


def test_a_human_genome_of_any_number_of_contigs_is_few_parts():
    assert len(parts_of(8, 124_000_000 * 76, GENOME_VALUES)) == 8
