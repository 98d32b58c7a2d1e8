"""Numbers per bin: chosen by the number of tracks, or as given."""

import json

import pytest

from epilstm.model.sizes import Sizes, choose_shape, choose_sizes, expansion_warning
from epilstm.params import TrainParams
from epilstm.tracks.identity import TrackIdentity, TrackSet
from support.train.toy_matrix import write_matrix
from support.train.training_runs import train


@pytest.mark.parametrize(
    ("tracks", "embedding", "context"),
    [(1, 1, 0), (2, 1, 0), (3, 2, 1), (4, 3, 1), (6, 5, 2), (8, 7, 3), (24, 23, 11), (25, 24, 12), (1_014, 24, 12)],
)
def test_the_bin_code_has_half_as_many_numbers_as_tracks_and_the_context_code_as_many(tracks, embedding, context):
    assert choose_sizes(TrainParams(), tracks) == Sizes(embedding, context)


@pytest.mark.parametrize("tracks", range(2, 40))
def test_a_chosen_embedding_is_smaller_than_the_number_of_tracks(tracks):
    sizes = choose_sizes(TrainParams(), tracks)
    assert 0 <= sizes.context_size < sizes.embedding_size < tracks
    assert expansion_warning(sizes, tracks) is None


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({"embedding_size": 30}, Sizes(30, 12)),
        ({"embedding_size": 7}, Sizes(7, 3)),
        ({"embedding_size": 1}, Sizes(1, 0)),
        ({"context_size": 0}, Sizes(12, 0)),
        ({"context_size": 4}, Sizes(16, 4)),
        ({"embedding_size": 7, "context_size": 6}, Sizes(7, 6)),
        ({"architecture": "published", "hidden_size": 24}, Sizes(24, 0)),
    ],
)
def test_a_size_that_is_given_is_taken(given, sizes):
    assert choose_sizes(TrainParams(**given), 100) == sizes


def test_an_embedding_that_is_no_smaller_than_the_tracks_is_a_warning_with_both_numbers():
    warning = expansion_warning(Sizes(6, 3), 6)
    assert warning is not None
    assert "6 numbers per bin for 6 tracks" in warning


def logged(capsys):
    return [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]


def test_train_chooses_the_sizes_and_records_them(matrix, tmp_path, capsys):
    _, manifest = train(matrix, tmp_path, embedding_size="auto", context_size="auto", epochs=1, context_epochs=1)
    assert (manifest.config.tracks, manifest.config.embedding_size, manifest.config.context_size) == (6, 5, 2)
    record = json.loads((tmp_path / "model.record.json").read_text())
    assert record["chosen"] == {"embedding_size": 5, "context_size": 2}
    assert not [line for line in logged(capsys) if "compresses nothing" in line]


def test_train_warns_of_an_embedding_that_is_no_smaller_than_the_tracks(matrix, tmp_path, capsys):
    train(matrix, tmp_path, embedding_size=6, epochs=1)
    assert [line for line in logged(capsys) if "6 numbers per bin for 6 tracks" in line]


CELL_TYPES = {"kind": "cell_types"}


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({}, Sizes(7 + 56, 56, 20, 20)),
        ({"embedding_size": 25}, Sizes(25, 18, 6, 6)),
        ({"context_size": 30, "linear_size": 4}, Sizes(37, 30, 4, 10)),
        ({"context_size": 0}, Sizes(7, 0)),
        ({"context_size": 0, "linear_size": 4}, Sizes(7, 0, 4, 0)),
    ],
)
def test_by_cell_type_blocks_fit_a_context_code_of_given_size_and_those_given_are_taken(given, sizes):
    assert choose_sizes(TrainParams(**CELL_TYPES, **given), 14) == sizes


def test_a_block_without_a_context_code_is_refused(tmp_path, capsys):
    matrix = write_matrix(tmp_path / "matrix")
    changes = CELL_TYPES | {"embedding_size": "auto", "context_size": 0, "linear_size": 4}
    with pytest.raises(SystemExit):
        train(matrix, tmp_path, **changes)
    assert "parts of context_size (0 per cell type)" in capsys.readouterr().err


def test_the_whole_embedding_has_the_codes_of_all_cell_types():
    tracks = TrackSet.of([TrackIdentity(cell, assay) for cell in "ABC" for assay in ("x", "y")])
    shape = choose_shape(TrainParams(**CELL_TYPES, embedding_size=5, context_size=0), tracks)
    assert (shape.embedding_size, shape.cell_types.names) == (15, ["A", "B", "C"])
    assert choose_shape(TrainParams(embedding_size=5), tracks).embedding_size == 5
