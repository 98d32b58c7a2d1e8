"""Which tracks are drawn, and which belong together."""

import pytest

from epilstm.errors import ParamsError
from epilstm.figures.track_choice import by_assay, choose_tracks
from epilstm.tracks.identity import TrackIdentity, TrackSet


def of(*pairs: tuple[str, str]) -> TrackSet:
    return TrackSet.of([TrackIdentity(*pair) for pair in pairs])


ROADMAP = of(*((f"E{cell:03}", assay) for cell in range(5) for assay in ("H3K27me3", "H3K36me3", "H3K4me1")))


def test_tracks_are_grouped_by_assay_in_order_of_appearance():
    assert by_assay(of(("A", "x-1"), ("B-1", "y"), ("C", "x-1"))) == {"x-1": ["A-x-1", "C-x-1"], "y": ["B-1-y"]}


def test_named_tracks_are_drawn_in_the_order_they_are_named():
    assert choose_tracks(ROADMAP, ["E004-H3K4me1", "E000-H3K4me1"]) == ["E004-H3K4me1", "E000-H3K4me1"]


def test_without_names_assays_and_cell_types_take_turns():
    chosen = choose_tracks(ROADMAP, [])
    assert {name: len([each for each in chosen if each in names]) for name, names in by_assay(ROADMAP).items()} == {
        "H3K27me3": 2,
        "H3K36me3": 2,
        "H3K4me1": 2,
    }
    assert len({name.partition("-")[0] for name in chosen}) >= 4


@pytest.mark.parametrize("tracks", [of(("K562", "DNase")), of(("A", "x"), ("B", "x")), TrackSet.of_names(["a", "b"])])
def test_few_tracks_are_all_drawn(tracks):
    assert choose_tracks(tracks, []) == list(tracks.names)


def test_an_assay_or_a_cell_type_draws_all_its_tracks():
    tracks = of(("K562", "ATAC-seq"), ("K562", "NKX2-1"), ("T cell", "ATAC-seq"))
    assert choose_tracks(tracks, ["NKX2-1", "T cell"]) == ["K562-NKX2-1", "T cell-ATAC-seq"]
    with pytest.raises(ParamsError, match=r"report\.tracks seq: no such track, cell type or assay"):
        choose_tracks(tracks, ["seq"])
