"""``epilstm import-checkpoint``: what it reports, what it refuses, and that it runs no code of a file."""

from __future__ import annotations

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from scipy import stats

from epilstm.cli import cli
from epilstm.errors import EpilstmError
from epilstm.model.initial_weights import compare_with_initial, holm, least_movement
from epilstm.outputs.checkpoint_import.importing import PublishedFiles, imported_model
from support.checkpoint_import.published_cell import load, write_checkpoint
from support.nonempty import nonempty


@pytest.fixture
def files(tmp_path):
    return write_checkpoint(tmp_path / "files")


def given(files, **more):
    return PublishedFiles(files / "encoder.pth", files / "decoder.pth", files / "config.yaml", **more)


def change(files, name, **changed):
    """Replace tensors of a file; None takes one away."""
    state = {**torch.load(files / name, weights_only=True), **changed}
    torch.save({key: value for key, value in state.items() if value is not None}, files / name)


def configure(files, **changed):
    config = {**yaml.safe_load((files / "config.yaml").read_text()), **changed}
    (files / "config.yaml").write_text(yaml.safe_dump({k: v for k, v in config.items() if v is not None}))


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_writes_a_model_and_an_encoder_each_with_a_record_and_warns(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["import-checkpoint", "files/encoder.pth", "files/decoder.pth", "--config", "files/config.yaml"]
    output = CliRunner().invoke(cli, line, standalone_mode=False, catch_exceptions=False).stderr
    assert (tmp_path / "models/published/weights.safetensors").is_file()
    assert (tmp_path / "models/published-encoder/encoder.onnx").is_file()
    assert (tmp_path / "models/published-encoder.record.json").is_file()
    record = json.loads((tmp_path / "models/published.record.json").read_text())
    assert len(record["warnings"]) == 2
    assert all(warning in output for warning in nonempty(record["warnings"]))
    assert "clips gradients to norm 5e-14" in record["warnings"][0]


def test_the_same_files_give_the_same_bytes(files, tmp_path):
    for name in ("one", "other"):
        imported_model(given(files)).save(tmp_path / name)
    for file in ("manifest.json", "origin.json", "weights.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_signal_is_arcsinh_and_no_more_and_nothing_is_known_of_the_training(files):
    manifest = imported_model(given(files)).manifest
    assert (manifest.scaler.transform, set(manifest.scaler.mean), set(manifest.scaler.scale)) == ("arcsinh", {0}, {1})
    assert manifest.training.weights_moved == 0
    assert manifest.split.train == []


# --- were the weights trained? -------------------------------------------------------------------------------------


def test_weights_that_are_still_as_drawn_are_reported(files):
    assert not imported_model(given(files)).origin.initial_weights.differs


def test_the_published_weights_are_still_as_drawn(published_model):
    test = imported_model(given(published_model)).origin.initial_weights
    assert not test.differs
    assert test.smallest_p > 0.5
    assert sum(tensor.weights for tensor in test.tensors.values()) > 100_000


def test_one_small_step_of_every_weight_is_seen(tmp_path):
    model = imported_model(given(write_checkpoint(tmp_path, tracks=50, step=0.01)))
    assert model.origin.initial_weights.differs
    assert model.manifest.training.weights_moved > 0
    assert not any("initial distribution" in warning for warning in model.origin.warnings)


def test_a_single_weight_that_no_draw_can_give_is_seen(files):
    bias = torch.load(files / "encoder.pth", weights_only=True)["lstm.params.0.i2h.bias"]
    bias[3] = 0.3
    change(files, "encoder.pth", **{"lstm.params.0.i2h.bias": bias})
    test = imported_model(given(files)).origin.initial_weights
    assert test.differs
    assert test.tensors["encoder.bias_ih_l0"].outside == 1


def test_distances_and_p_values_are_those_of_scipy_on_the_published_tensors(files):
    test = imported_model(given(files)).origin.initial_weights
    values = load(files / "decoder.pth")["out.bias"].astype(float)
    expected = stats.kstest(values * 24**0.5, stats.uniform(-1, 2).cdf)
    assert test.tensors["readout.bias"].p == pytest.approx(expected.pvalue)
    assert test.tensors["readout.bias"].distance == pytest.approx(expected.statistic)


def test_the_test_is_wrong_no_more_often_than_its_level_says():
    rng = np.random.default_rng(0)
    draws = rng.uniform(-0.5, 0.5, (300, 2, 50))
    wrong = sum(compare_with_initial({"a": a, "b": b}, 4).differs for a, b in draws)
    assert wrong <= 9  # 3 expected; 10 or more has a chance of 1 in 1,000


def test_p_values_are_adjusted_by_holms_method():
    # Worked by hand: 4 x 0.01, 3 x 0.02, 2 x 0.03 no smaller than the one before, 1 x 0.5.
    found = holm({"b": 0.02, "d": 0.5, "a": 0.01, "c": 0.03})
    assert found == pytest.approx({"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.5})


def test_the_least_movement_of_a_shifted_distribution_is_the_shift():
    quantiles = 2 * (np.arange(1000) + 0.5) / 1000 - 1
    assert least_movement({"a": quantiles + 0.1}, 1.0) == pytest.approx(0.1 / np.sqrt(np.mean(quantiles**2)))


# --- names ---------------------------------------------------------------------------------------------------------


def test_without_names_tracks_are_numbered_and_that_is_logged(files):
    model = imported_model(given(files))
    assert model.tracks[:2] == ["track_0001", "track_0002"]
    assert any("does not name its tracks" in warning for warning in model.origin.warnings)


@pytest.mark.parametrize(
    "text",
    [
        "E001-DNase\nE001-H3K4me3\n\n# a comment\nE002-DNase\nE003-DNase\nE004-DNase\n",
        "cell_type,assay,uri\nE001,DNase,a.bw\nE001,H3K4me3,b.bw\nE002,DNase,c.bw\nE003,DNase,d.bw\nE004,DNase,e.bw\n",
    ],
    ids=["list", "samplesheet"],
)
def test_names_come_from_a_list_or_a_samplesheet(files, tmp_path, text):
    (tmp_path / "tracks").write_text(text)
    model = imported_model(given(files, tracks=tmp_path / "tracks"))
    assert model.tracks == ["E001-DNase", "E001-H3K4me3", "E002-DNase", "E003-DNase", "E004-DNase"]
    assert len(model.origin.warnings) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb\nc\nd\n", "names 4 tracks, the checkpoint has 5"),
        ("a\nb\nc\nd\nb\n", "b is there twice"),
        ("a\nb\nc d\nd\ne\n", "name 3 is 'c d'"),
        ("a\n../b\nc\nd\ne\n", r"name 2 is '\.\./b'"),
        ("", "names 0 tracks"),
    ],
)
def test_names_that_do_not_fit_are_refused(files, tmp_path, text, message):
    (tmp_path / "tracks").write_text(text)
    with pytest.raises(EpilstmError, match=message):
        imported_model(given(files, tracks=tmp_path / "tracks"))


# --- what is refused -----------------------------------------------------------------------------------------------


class Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("form", ["torch.save", "plain pickle"])
def test_code_in_a_file_is_never_run(files, tmp_path, form):
    attack = {"lstm.params.0.i2h.weight": Attack(tmp_path / "run")}
    if form == "torch.save":
        torch.save(attack, files / "encoder.pth")
    else:
        (files / "encoder.pth").write_bytes(pickle.dumps(attack))
    with pytest.raises(EpilstmError, match="not a file of plain tensors") as refused:
        imported_model(given(files))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def empty_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x80"),
        lambda path: path.write_text("cell_type,assay,uri\n"),
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
        lambda path: path.write_bytes(path.read_bytes()[:-400]),
        lambda path: path.write_bytes(path.read_bytes()[:900]),
        empty_archive,
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({}, path),
        lambda path: torch.save({"a": 1}, path),
        lambda path: torch.save({"a": torch.arange(3)}, path),
        lambda path: torch.save({"a": torch.tensor([1.0, float("nan")])}, path),
        lambda path: torch.save({"a": torch.zeros(3, dtype=torch.complex64)}, path),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_line(files, write):
    write(files / "encoder.pth")
    with pytest.raises(EpilstmError, match=r"encoder\.pth: ") as refused:
        imported_model(given(files))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "changed", "message"),
    [
        ("encoder.pth", {"lstm.params.0.h2h.bias": None}, r"has no lstm\.params\.0\.h2h\.bias; is it the publ"),
        ("encoder.pth", {"lstm.params.0.i2h.weight": torch.zeros(96, 6)}, r"of shape \(96, 6\), by the configuration"),
        ("encoder.pth", {"lstm.params.1.i2h.weight": torch.zeros(1)}, r"lstm\.params\.1\.i2h\.weight is no part of"),
        ("decoder.pth", {"out.weight": torch.zeros(5)}, r"out\.weight is of shape \(5,\)"),
        ("decoder.pth", {"out.bias": None}, r"has no out\.bias; is it the published decoder"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(files, file, changed, message):
    change(files, file, **changed)
    with pytest.raises(EpilstmError, match=message):
        imported_model(given(files))


def test_encoder_and_decoder_taken_for_each_other_are_reported(files):
    with pytest.raises(EpilstmError, match=r"decoder\.pth: lstm\.params\.0\.i2h\.weight is of shape"):
        imported_model(PublishedFiles(files / "decoder.pth", files / "encoder.pth", files / "config.yaml"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_size_encoder": None}, "hidden_size_encoder: Field required"),
        ({"hidden_size_encoder": "many"}, "hidden_size_encoder"),
        ({"hidden_size_decoder": 12}, "must be equal"),
        ({"output_size_decoder": 4}, "gives back what it is shown"),
        ({"input_size_encoder": -1}, "input_size_encoder"),
        ({"input_size_encoder": 1030, "output_size_decoder": 1030}, r"by the configuration \(96, 1030\)"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(files, changed, message):
    configure(files, **changed)
    with pytest.raises(EpilstmError, match=message):
        imported_model(given(files))


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [", "!!python/object/apply:os.getcwd []\n"])
def test_what_is_no_configuration_is_refused_in_one_line(files, text):
    (files / "config.yaml").write_text(text)
    with pytest.raises(EpilstmError, match=r"config\.yaml:") as refused:
        imported_model(given(files))
    assert "\n" not in str(refused.value)


def test_an_output_that_is_something_else_is_not_replaced(files, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("")
    with pytest.raises(EpilstmError, match="a folder with other content"):
        imported_model(given(files)).save(tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["thesis.txt"]
