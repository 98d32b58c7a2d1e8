from __future__ import annotations

import pytest

from epilstm.serving.protocol.dimensions import chosen_dimensions

BY_CELL_TYPE = ["E003.bin.01", "E003.bin.02", "E116.bin.01", "E116.bin.02", "E003.linear.01", "E116.linear.01"]


@pytest.mark.parametrize(
    ("wanted", "columns"),
    [
        ("E116", [2, 3, 5]),
        ("E116.linear", [5]),
        ("E116.bin.02", [3]),
        ("E116.linear, E003.bin", [5, 0, 1]),
    ],
)
def test_cell_types_blocks_and_numbers_have_names(wanted, columns):
    assert chosen_dimensions(BY_CELL_TYPE, wanted) == columns


def test_a_name_is_no_prefix_of_another():
    assert chosen_dimensions([f"e{number}" for number in range(12)], "e1") == [1]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("E117", r"no number 'E117'; there are E003.bin.01, .*E116.linear.01"),
        ("E116,", "no number ''"),
        ("E116,E116.linear", "'E116.linear' is named twice"),
        ("E116.linear,E116", "'E116' is named twice"),
    ],
)
def test_what_is_unknown_or_named_twice_is_an_error(wanted, message):
    with pytest.raises(ValueError, match=message):
        chosen_dimensions(BY_CELL_TYPE, wanted)
