"""Kinds of chromatin state follow from the marks, not from where genes begin."""

import numpy as np
import pytest

from epilstm.outputs.segmentation.chromatin import kind_of, kinds_of, marks_of
from epilstm.outputs.segmentation.colours import PALETTE, QUIET, arbitrary_colours
from epilstm.tracks.identity import TrackIdentity, TrackSet


@pytest.mark.parametrize(
    ("marks", "mnemonic", "colour"),
    [
        ({"promoter": 3.0, "active": 2.5}, "TssA", (255, 0, 0)),
        ({"promoter": 1.0, "enhancer": 2.0, "active": 2.0}, "TssAFlnk", (255, 69, 0)),
        ({"promoter": 1.2, "polycomb": 2.0}, "TssBiv", (205, 92, 92)),
        ({"promoter": 0.6, "polycomb": 4.0}, "ReprPC", (128, 128, 128)),
        ({"enhancer": 1.5, "active": 2.0}, "EnhA", (255, 195, 77)),
        ({"enhancer": 1.5, "active": 0.1}, "Enh", (255, 255, 0)),
        ({"enhancer": 1.5, "transcribed": 1.0}, "EnhG", (194, 225, 5)),
        ({"enhancer": 1.0, "polycomb": 1.5}, "EnhBiv", (189, 183, 107)),
        ({"transcribed": 1.4}, "Tx", (0, 128, 0)),
        ({"transcribed": 0.6}, "TxWk", (0, 100, 0)),
        ({"transcribed": 1.4, "heterochromatin": 1.2}, "ZNF", (102, 205, 170)),
        ({"heterochromatin": 2.0, "polycomb": 0.1}, "Het", (138, 145, 208)),
        ({"polycomb": 2.0}, "ReprPC", (128, 128, 128)),
        ({"polycomb": 0.7}, "ReprPCWk", (192, 192, 192)),
        ({"insulator": 3.0, "open": 1.0}, "CTCF", (10, 190, 254)),
        ({"open": 1.0}, "Open", (6, 218, 147)),
        ({"promoter": 0.2, "open": -0.3}, "Quies", (255, 255, 255)),
    ],
)
def test_a_state_is_of_the_kind_whose_marks_it_carries(marks, mnemonic, colour):
    kind = kind_of(marks)
    assert (kind.mnemonic, kind.colour) == (mnemonic, colour)


def test_assays_are_known_by_any_spelling_and_averaged_over_cell_types():
    fields = [("E1", "h3k4me3"), ("E2", "h3k4me3"), ("E1", "ATAC-seq"), ("E1", "H3K27me3"), ("E2", "H3K27me3")]
    tracks = TrackSet.of([TrackIdentity(*each) for each in fields])
    levels = np.array([[4.0, 2.0, 2.0, 0.0, 0.1], [0.0, 0.4, 0.0, 3.0, 0.0], [np.nan] * 5])
    assert [kind.mnemonic for kind in kinds_of(tracks, levels)] == ["TssA", "ReprPC", "Quies"]
    assert marks_of(tracks, levels) == ["h3k4me3 3.0, ATAC-seq 2.0", "H3K27me3 1.5", ""]


@pytest.mark.parametrize("tracks", [["E1-CTCF", "E1-DNase"], ["E1-H3K27me3"], ["E1-POLR2A", "E1-H3K4me3"]])
def test_too_few_marks_leave_states_without_a_kind_and_colours_arbitrary(tracks):
    assert kinds_of(TrackSet.of_names(tracks), np.ones((3, len(tracks)))) is None


def test_arbitrary_colours_are_distinct_and_the_quiet_state_is_grey():
    colours = arbitrary_colours(5, quiet=3)
    assert colours[3] == QUIET
    assert [colour for colour in colours if colour != QUIET] == list(PALETTE[:4])
    assert len(set(arbitrary_colours(40, None))) == 40
