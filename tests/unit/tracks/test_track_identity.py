"""What a track is, how it is named, found among others, and chosen by a user."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epilstm.errors import ParamsError
from epilstm.tracks.identity import (
    LONGEST_FILE_NAME,
    TrackIdentity,
    TrackSet,
    file_name,
    identities_of_older_names,
    missing_tracks,
    same_tracks,
    select_tracks,
    symbol,
    unique_names,
)

FIELD = st.text(min_size=1, max_size=12).filter(lambda value: value.isprintable() and value == value.strip())
IDENTITY = st.builds(TrackIdentity, FIELD, FIELD, st.none() | FIELD)
#: Few characters, so that names clash often.
CLASHING = st.builds(
    TrackIdentity,
    st.text("a-:%", min_size=1, max_size=3),
    st.text("a-:%", min_size=1, max_size=3),
    st.none() | st.text("a-:%", min_size=1, max_size=3),
)


def test_a_name_joins_the_fields_with_the_replicate_last():
    assert TrackIdentity("K562", "ATAC-seq").name == "K562-ATAC-seq"
    assert TrackIdentity("K562", "ATAC-seq", "2").name == "K562-ATAC-seq-2"


@pytest.mark.parametrize("value", ["", " ", " K562", "K562 ", "a\tb", "a\nb", "\x00"])
def test_a_field_is_printable_text_without_blanks_around_it(value):
    with pytest.raises(ValueError, match="cell_type"):
        TrackIdentity(value, "DNase")


def test_tracks_whose_fields_join_to_one_name_are_named_explicitly():
    tracks = [
        TrackIdentity("A-B", "C"),
        TrackIdentity("A", "B-C"),
        TrackIdentity("A", "B", "C"),
        TrackIdentity("A", "D"),
    ]
    assert unique_names(tracks) == ["A-B:C", "A:B-C", "A:B:C", "A-D"]


@given(st.lists(CLASHING, max_size=8, unique=True))
def test_different_tracks_have_different_names(tracks):
    names = unique_names(tracks)
    assert len(set(names)) == len(tracks)
    assert all(name in (each.name, each.explicit_name) for name, each in zip(names, tracks, strict=True))


def test_names_of_an_older_file_are_cut_where_their_parts_occur_most_often():
    names = ["HeLa-S3-H3K4me3", "HeLa-S3-DNase", "E003-H3K4me3", "E003-DNase"]
    assert identities_of_older_names(names) == [
        TrackIdentity("HeLa-S3", "H3K4me3"),
        TrackIdentity("HeLa-S3", "DNase"),
        TrackIdentity("E003", "H3K4me3"),
        TrackIdentity("E003", "DNase"),
    ]
    assert identities_of_older_names(["track_0001"]) == [TrackIdentity("track_0001", "track_0001")]


def test_a_track_is_found_by_its_fields_whatever_its_name_beside_others():
    model = TrackSet.of([TrackIdentity("A-B", "C"), TrackIdentity("E1", "DNase")])
    data = TrackSet.of([TrackIdentity("E1", "DNase"), TrackIdentity("A", "B-C"), TrackIdentity("A-B", "C")])
    assert data.places_of(model) == [2, 0]
    assert missing_tracks(model, data) == ["A:B-C"]
    alone = TrackSet.of([TrackIdentity("A", "B-C")])
    assert alone.names == ("A-B-C",) == model.names[:1]
    assert model.places_of(alone) == [None]
    assert not same_tracks(model.select([0]), alone)


def test_a_track_of_an_older_file_is_found_by_its_name():
    older = TrackSet.of_names(["K562-ATAC-seq", "MCF-7-H3K27ac"])
    data = TrackSet.of([TrackIdentity("MCF-7", "H3K27ac"), TrackIdentity("K562", "ATAC-seq")])
    assert data.places_of(older) == [1, 0]


TRACKS = TrackSet.of(
    [
        TrackIdentity("K562", "ATAC-seq"),
        TrackIdentity("K562", "NKX2-1"),
        TrackIdentity("T cell", "ATAC-seq", "1"),
        TrackIdentity("T cell", "ATAC-seq", "2"),
        TrackIdentity("DNase", "H3K4me1"),
        TrackIdentity("K562", "DNase"),
    ]
)


@pytest.mark.parametrize(
    ("tokens", "places"),
    [
        ([], [0, 1, 2, 3, 4, 5]),
        (["K562"], [0, 1, 5]),
        (["ATAC-seq"], [0, 2, 3]),
        (["K562-ATAC-seq"], [0]),
        (["T cell-ATAC-seq-2", "NKX2-1"], [1, 3]),
        (["cell_type=DNase"], [4]),
        (["assay=DNase"], [5]),
        (["replicate=2"], [3]),
        (["track=K562-DNase", "assay=H3K4me1"], [4, 5]),
    ],
)
def test_a_token_is_a_name_a_cell_type_or_an_assay(tokens, places):
    assert select_tracks(TRACKS, tokens) == places


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("1", "no such track, cell type or assay"),
        ("seq", "no such track"),
        ("k562", "did you mean K562"),
        ("K562-*", "patterns are not taken"),
        ("cell_type=T-cell", "no such cell type; did you mean T cell?"),
        ("DNase", "both a cell type and a assay"),
    ],
)
def test_a_token_that_names_nothing_or_two_things_is_refused(token, message):
    message = message.replace("a assay", "an assay")
    with pytest.raises(ParamsError, match=re.escape(f"--track {token}:")) as caught:
        select_tracks(TRACKS, [token], "--track")
    assert message in str(caught.value)


@given(st.text(max_size=20), st.text(max_size=20))
def test_different_texts_have_different_file_names_and_symbols(one, other):
    for encode, alphabet in ((file_name, r"[A-Za-z0-9._+~-]*"), (symbol, r"[A-Za-z0-9_]*")):
        assert re.fullmatch(alphabet, encode(one), re.ASCII)
        assert (encode(one) == encode(other)) == (one == other)


@pytest.mark.parametrize("alphabet", ["a-_ 25", "~a2.", "é ~_"])
def test_texts_of_the_signs_that_encodings_use_stay_apart(alphabet):
    @given(st.lists(st.text(alphabet, max_size=6), min_size=2, max_size=30, unique=True))
    def apart(texts):
        for encode in (file_name, symbol):
            assert len({encode(text) for text in texts}) == len(texts)

    apart()


def test_file_names_are_readable_safe_and_not_too_long():
    assert file_name("K562-ATAC-seq") == "K562-ATAC-seq"
    assert file_name("T cell-a/b") == "T~20cell-a~2fb"
    assert (file_name("."), file_name("..a"), file_name("-x")) == ("~2e", "~2e.a", "~2dx")
    long = ["細" * 90 + end for end in "ab"]
    for encode in (file_name, symbol):
        assert len({encode(text) for text in long}) == 2
        assert max(len(encode(text)) for text in long) <= LONGEST_FILE_NAME


def test_symbols_are_readable():
    assert symbol("K562-ATAC-seq") == "K562_ATAC_seq"
    assert symbol("T cell") == "T__20_cell"
    assert symbol("a_b") == "a__5f_b"
