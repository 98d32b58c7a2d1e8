"""The benchmark runs end to end on tiny data and says what it could not measure."""

import pytest

from benchmarks.case import Case, Measurement
from benchmarks.floors import floor_bins_per_second
from benchmarks.table import Row, as_json, as_markdown

MACHINE = {"cpu": "a CPU", "cores": 2, "memory": 8e9, "system": "Linux", "versions": {"python": "3.11"}}
CEILINGS = {"cpu": {"operations": 1e11, "bandwidth": 1e10}, "storage": {"read": 1e9, "written": 1e9}}


def table(*rows):
    return as_json("full", MACHINE, CEILINGS, rows, {}) | {"threads": 2}


def test_the_floor_is_set_by_the_slower_of_arithmetic_and_memory():
    assert floor_bins_per_second(1e5, 1e2, CEILINGS["cpu"]) == pytest.approx(1e6)
    assert floor_bins_per_second(1e2, 1e5, CEILINGS["cpu"]) == pytest.approx(1e5)


def test_a_row_has_its_share_of_the_floor_and_its_ratio_over_the_plain_loop():
    measured = Measurement(
        bins_per_second=250_000, bytes_per_bin=100, operations_per_bin=1e5, peak_memory=10**8,
        reference_bins_per_second=500,
    )  # fmt: skip
    (row,) = table(Row(Case("train", "published", 1000, 1014), measured))["rows"]
    assert row["of_floor"] == pytest.approx(0.25)
    assert row["ratio"] == pytest.approx(500)
    assert row["megabytes_per_second"] == pytest.approx(25)
    assert row["full_problem_hours"] == pytest.approx(124e6 / 250_000 / 3600)


def test_a_case_that_could_not_be_measured_says_why():
    text = as_markdown(table(Row(Case("train", "published", 1000, 25), None, "not measured: no CUDA GPU")))
    assert "not measured: no CUDA GPU" in text
    assert "GPU: none on this machine" in text
