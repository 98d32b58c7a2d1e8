"""The input of a server, by its own metrics, compared with the reference."""

from __future__ import annotations

import numpy as np
import pytest

from epilstm.errors import DataError
from epilstm.steps.monitor.served import read_served
from support.monitor.new_tracks import half_depth, read_signal
from support.monitor.scrapes import scrape

TRACK = "C01-H3K4me3"


@pytest.fixture
def signal(small):
    return read_signal(small / "signal")


def test_sums_are_those_of_the_server(signal, tmp_path):
    found = read_served(scrape(signal, tmp_path / "metrics.txt"))
    assert found.tracks == tuple(signal)
    values = np.arcsinh(np.nan_to_num(np.stack(list(signal.values()), axis=1)))
    mean, spread = found.moments(np.zeros(len(signal), bool))
    np.testing.assert_allclose(mean, values.mean(axis=0), atol=0.1 * values.std(axis=0).max())
    np.testing.assert_allclose(spread, values.std(axis=0), rtol=0.15)


def test_the_training_data_served_are_as_usual(small, monitor, signal, tmp_path):
    report = monitor(matrix=small / "matrix", served=scrape(signal, tmp_path / "metrics.txt"))
    assert (report["verdict"], report["bins"], report["tracks"]) == ("ok", "none", [])
    assert len(report["served"]) == len(signal)


def test_requests_of_transformed_signal_are_reported(small, monitor, signal, tmp_path):
    spoilt = {name: np.arcsinh(values) for name, values in signal.items()}
    report = monitor(matrix=small / "matrix", served=scrape(spoilt, tmp_path / "metrics.txt"))
    assert report["verdict"] == "drift"


def test_requests_with_one_track_at_a_tenth_of_the_depth_are_reported(small, monitor, signal, tmp_path):
    spoilt = {**signal, TRACK: half_depth(signal[TRACK], {}) / 5}
    report = monitor(matrix=small / "matrix", served=scrape(spoilt, tmp_path / "metrics.txt"))
    assert [track["track"] for track in report["served"] if track["verdict"] == "drift"] == [TRACK]


def test_requests_that_lack_a_track_are_reported(small, monitor, signal, tmp_path):
    spoilt = {**signal, TRACK: np.full_like(signal[TRACK], np.nan)}
    report = monitor(matrix=small / "matrix", served=scrape(spoilt, tmp_path / "metrics.txt"))
    [track] = [track for track in report["served"] if track["verdict"] == "drift"]
    assert track["track"] == TRACK
    assert track["statistics"]["missing"]["verdict"] == "drift"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no epilstm_serve_input_values_total"),
        ("<html>", "it is a web page"),
        ('epilstm_serve_input_values_total{track="a"} 5\n', "not there for every track"),
        ("epilstm_serve_input_values_total 5\n", "Prometheus's text format"),
    ],
)
def test_what_no_server_said_is_refused(tmp_path, text, message):
    path = tmp_path / "metrics.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_served(path)


def test_too_few_requests_say_nothing(small, monitor, signal, tmp_path):
    few = {name: values[:500] for name, values in signal.items()}
    with pytest.raises(DataError, match="wait for requests"):
        monitor(matrix=small / "matrix", served=scrape(few, tmp_path / "metrics.txt"))


def test_the_server_of_another_model_is_refused(small, monitor, signal, tmp_path):
    other = {f"X{name}": values for name, values in signal.items()}
    with pytest.raises(DataError, match="no track of the reference"):
        monitor(matrix=small / "matrix", served=scrape(other, tmp_path / "metrics.txt"))
