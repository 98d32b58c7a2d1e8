"""The summary of drift, by cell type."""

from epilstm.steps.monitor.command import by_cell_type, metrics, summary_of
from epilstm.steps.monitor.drift import DriftReport, TrackDrift


def report(*tracks: tuple[str, str]) -> DriftReport:
    found = [
        TrackDrift(track=f"{cell}-{n}", cell_type=cell, against="itself", verdict=verdict, reasons=[], statistics={})
        for n, (cell, verdict) in enumerate(tracks)
    ]
    return DriftReport(
        verdict="drift", bins="same", sampled_bins={}, not_compared=[], tracks=found, absent_tracks=[], model=None,
        served=[], inputs={}, params={},
    )  # fmt: skip


def test_cell_types_whose_tracks_drifted_are_named_with_how_many():
    found = report(("E116", "drift"), ("E003", "ok"), ("E116", "drift"), ("E116", "warn"))
    counts = {"E116": {"tracks": 3, "warned": 1, "drifted": 2}, "E003": {"tracks": 1, "warned": 0, "drifted": 0}}
    assert by_cell_type(found) == metrics(found)["cell_types"] == counts
    assert summary_of(found).endswith("2 of 4 tracks drifted, 1 to be looked at; drifted by cell type: E116 2 of 3")


def test_one_cell_type_is_not_counted_apart():
    found = report(("E116", "drift"), ("E116", "ok"))
    assert "cell_types" not in metrics(found)
    assert "by cell type" not in summary_of(found)
