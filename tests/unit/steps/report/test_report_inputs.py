"""What does not fit together, or what the params ask for and is not there, is one clear line."""

import json

import pytest

from epilstm.cli import main
from epilstm.errors import DataError, ModelError, ParamsError
from epilstm.figures.training import read_curve
from epilstm.files.outputs import fingerprint
from epilstm.model.folder import load_model
from epilstm.params import ReportParams, validate
from epilstm.steps.report.run_outputs import read_run
from epilstm.store.manifests import Split
from support.report.finished_run import write_embeddings, write_matrix, write_model
from support.report.fixtures import write_report


def refused(inputs, tmp_path, error=DataError, **params):
    path = tmp_path / "report.html"
    with pytest.raises(error) as caught:
        write_report(inputs, path, **params)
    assert not path.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("window", "problem"),
    [
        ("chr3", "expected chrom:start-end"),
        ("chr3:1e3-2e3", "expected chrom:start-end"),
        ("chr3:,-,", "expected chrom:start-end"),
        ("chr3:2000-1000", "ends where it starts or before"),
        ("3:10000-20000", "no regions on chromosome '3'; did you mean chr3?"),
        ("chrX:10000-20000", "no regions on chromosome 'chrX'; they are on chr1, chr2, chr3"),
        ("chr3:46000-48000", "is outside the matrix's regions; the nearest is chr3:5000-45000"),
        ("chr3:100000-200000", "is outside the matrix's regions; the nearest is chr3:5000-45000"),
    ],
)
def test_a_window_that_cannot_be_drawn_is_refused(finished_run, tmp_path, window, problem):
    message = refused(finished_run, tmp_path, ParamsError, window=window)
    assert message.startswith("report.window: ")
    assert problem in message


def test_an_unknown_track_is_refused_with_those_like_it(finished_run, tmp_path):
    message = refused(finished_run, tmp_path, ParamsError, tracks=["E003-H3K4me1", "e003-h3k4ME2"])
    assert message.startswith("report.tracks e003-h3k4ME2: no such track, cell type or assay; did you mean E003-H3K4me")


def test_a_track_like_no_other_is_refused_with_examples(finished_run, tmp_path):
    message = refused(finished_run, tmp_path, ParamsError, tracks=["?"])
    assert "there are E003-H3K4me1, " in message


def test_a_track_given_twice_is_refused(finished_run, tmp_path):
    assert "given twice" in refused(finished_run, tmp_path, ParamsError, tracks=["E003-DNase", "E003-DNase"])


def test_more_tracks_than_a_page_can_show_are_refused():
    with pytest.raises(ParamsError, match=r"report\.tracks"):
        validate(ReportParams, {"tracks": [f"E{number:03}-DNase" for number in range(25)]}, "report")


def test_embeddings_of_another_matrix_are_refused(own_run, tmp_path):
    manifest = own_run["embeddings"] / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "matrix_fingerprint": "0" * 64}))
    message = refused(own_run, tmp_path)
    assert f"{own_run['embeddings']}: these embeddings were made from another matrix than " in message
    assert message.endswith("run embed again")


def test_embeddings_by_another_model_are_refused(own_run, tmp_path):
    manifest = own_run["embeddings"] / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "model_fingerprint": "0" * 64}))
    message = refused(own_run, tmp_path)
    assert f"{own_run['embeddings']}: these embeddings were made by another model than {own_run['model']}" in message
    assert message.endswith("run export and embed again")


def test_a_model_of_another_matrix_is_refused(own_run, tmp_path):
    manifest = own_run["model"] / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "matrix_fingerprint": "0" * 64}))
    message = refused(own_run, tmp_path)
    assert f"{own_run['model']}: this model was trained on another matrix than {own_run['matrix']}" in message


@pytest.mark.parametrize("name", ["model", "embeddings"])
def test_an_evaluation_of_another_input_is_refused(own_run, tmp_path, name):
    manifest = own_run["evaluation"] / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), f"{name}_fingerprint": "0" * 64}))
    assert f"this evaluation is not of --{name} " in refused(own_run, tmp_path)


@pytest.mark.parametrize("name", ["scores.json", "predictions.parquet"])
def test_a_damaged_evaluation_is_refused(own_run, tmp_path, name):
    path = own_run["evaluation"] / name
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path}: missing, damaged or replaced; run evaluate again" in refused(own_run, tmp_path)
    path.unlink()
    assert f"{path}: missing, damaged or replaced; run evaluate again" in refused(own_run, tmp_path)


def test_damaged_weights_are_refused(own_run, tmp_path):
    (own_run["model"] / "weights.safetensors").write_bytes(b"nothing")
    assert "damaged or replaced" in refused(own_run, tmp_path, ModelError)


def test_folders_given_in_the_wrong_place_are_refused(finished_run, tmp_path):
    swapped = {**finished_run, "embeddings": finished_run["matrix"], "matrix": finished_run["embeddings"]}
    assert "not an EmbeddingsManifest" in refused(swapped, tmp_path)


def test_embeddings_without_the_windows_chromosome_are_refused(own_run, tmp_path):
    import shutil

    shutil.rmtree(own_run["embeddings"] / "embeddings.zarr" / "chr3")
    assert "no embeddings of chr3; run embed again" in refused(own_run, tmp_path)


def test_the_training_curve_of_another_run_is_refused(own_run, tmp_path):
    with open(own_run["history"], "a") as stream:
        stream.write("4,40,0.0,0.5,0.7,0.3\n")
    assert "give the training curve of this model" in refused(own_run, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'epoch'"),
        ("epoch,steps\n1,2\n", "no column 'learning_rate'"),
        ("epoch,steps,learning_rate,train_mse,validation_mse,validation_r2\n", "no epochs in it"),
        ("epoch,steps,learning_rate,train_mse,validation_mse,validation_r2\n1,2,3,4,x,5\n", ":2: validation_mse"),
        ("epoch,steps,learning_rate,train_mse,validation_mse,validation_r2\n1,2,3,4\n", ":2: validation_mse"),
        ("epoch,steps,learning_rate,train_mse,validation_mse,validation_r2\n1,2,3,nan,4,5\n", ":2: train_mse"),
        ("\xff\x00", "cannot be read as the training curve that train wrote"),
    ],
)
def test_a_file_that_is_no_training_curve_is_refused(tmp_path, text, message):
    path = tmp_path / "history.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        read_curve(path)


def test_the_command_ends_with_one_line_and_exit_code_2(finished_run, tmp_path, capsys):
    params = tmp_path / "params.yaml"
    params.write_text("report: {window: chr9:1-2}")
    flags = [part for name, path in finished_run.items() for part in (f"--{name}", str(path))]
    with pytest.raises(SystemExit) as ended:
        main(["report", "--params", str(params), *flags, "--report", str(tmp_path / "report.html")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: report.window: no regions on chromosome 'chr9'")
    assert not (tmp_path / "report.html").exists()


def test_a_matrix_made_again_asks_for_what_follows_from_it(own_run, tmp_path):
    import shutil

    shutil.rmtree(own_run["matrix"])
    write_matrix(own_run["matrix"])
    manifest = own_run["matrix"] / "manifest.json"
    manifest.write_text(manifest.read_text().replace("555555", "777777"))
    assert "run train, export and embed again" in refused(own_run, tmp_path)
    shutil.rmtree(own_run["model"])
    write_model(own_run["model"], fingerprint(own_run["matrix"]))
    assert "run embed again" in refused(own_run, tmp_path)
    shutil.rmtree(own_run["embeddings"])
    write_embeddings(own_run["embeddings"], own_run["matrix"], own_run["model"])
    assert "run evaluate again" in refused(own_run, tmp_path)


def test_the_places_are_those_that_the_model_was_trained_without(finished_run):
    _, model = load_model(finished_run["model"])
    other = model.model_copy(update={"split": Split(train=["chr2"], validation=["chr3"], test=["chr1"])})
    assert read_run(finished_run, model, 1).matrix.split == model.split != other.split
    assert read_run(finished_run, other, 1).matrix.split == other.split
