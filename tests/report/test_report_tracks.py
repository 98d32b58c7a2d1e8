"""Which tracks are drawn, and which belong together."""

import pytest

from epilstm.report.tracks import by_assay, choose_tracks, split_names

ROADMAP = [f"E{cell:03}-{assay}" for cell in range(5) for assay in ("H3K27me3", "H3K36me3", "H3K4me1")]


def test_a_name_with_one_hyphen_is_cut_there():
    assert split_names(["E003-H2A.Z", "E116-DNase"]) == [("E003", "H2A.Z"), ("E116", "DNase")]


@pytest.mark.parametrize(
    ("cells", "assays"),
    [(["HeLa-S3", "K562", "A549"], ["H3K4me3", "DNase"]), (["HeLa-S3", "K562"], ["DNase-seq", "ATAC-seq", "H3K4me1"])],
)
def test_names_with_more_hyphens_are_cut_where_parts_recur(cells, assays):
    pairs = [(cell, assay) for cell in cells for assay in assays]
    assert split_names(["-".join(pair) for pair in pairs]) == pairs


def test_tracks_are_grouped_by_assay_in_order_of_appearance():
    assert by_assay(["A-x", "B-y", "C-x"]) == {"x": ["A-x", "C-x"], "y": ["B-y"]}


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


@pytest.mark.parametrize("tracks", [["K562-DNase"], ["A-x", "B-x"], ["a", "b"]])
def test_few_tracks_are_all_drawn(tracks):
    assert choose_tracks(tracks, []) == tracks
