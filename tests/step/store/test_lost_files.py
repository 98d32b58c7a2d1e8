"""A dataset that lacks a file which it was written with is refused by whatever reads it, never read as "no data"."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import epilstm
from epilstm.cli import main
from epilstm.errors import EpilstmError
from epilstm.serving.server.regions import RegionStore
from epilstm.store.arrays import create_bin_array, create_group, open_signal
from epilstm.store.shards import open_arrays

SIGNAL = "data/signal/signal.zarr/chr2/c/1/0"
SIGNAL_MASK = "data/signal/mask.zarr/chr2/c/0"
MATRIX = "data/matrix/matrix.zarr/chr2/c/0/0"
MASK = "data/matrix/mask.zarr/chr2/c/0"
EMBEDDINGS = "data/embeddings/embeddings.zarr/chr2/c/0/0"

COMMANDS = {
    "preprocess": "preprocess --params params.yaml --signal data/signal --matrix new",
    "train": "train --params params.yaml --matrix data/matrix --model new",
    "embed": "embed --params params.yaml --matrix data/matrix --encoder models/encoder --embeddings new",
    "evaluate": "evaluate --params params.yaml --matrix data/matrix --model models/autoencoder "
    "--embeddings data/embeddings --evaluation new",
    "monitor": "monitor --params params.yaml --matrix data/matrix --signal data/signal --drift new --page new.html",
    "export-tracks": "export-tracks --embeddings data/embeddings --format bedgraph --to new",
    "segment": "segment --embeddings data/embeddings --segmentation new",
}


@pytest.fixture
def here(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, to be damaged, as the working directory."""
    copy = Path(shutil.copytree(project, tmp_path / "project"))
    monkeypatch.chdir(copy)
    return copy


def error_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that is to fail, and leave nothing; return its error."""
    with pytest.raises(SystemExit) as ending:
        main(COMMANDS[command].split())
    assert ending.value.code == 1
    assert not Path("new").exists()
    [error] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return error


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("preprocess", SIGNAL),
        ("preprocess", SIGNAL_MASK),
        ("train", MATRIX),
        ("train", MASK),
        ("embed", MATRIX),
        ("embed", MASK),
        ("evaluate", MATRIX),
        ("evaluate", MASK),
        ("evaluate", EMBEDDINGS),
        ("monitor", SIGNAL),
        ("export-tracks", EMBEDDINGS),
        ("segment", EMBEDDINGS),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_command_refuses_a_dataset_that_lacks_a_file(
    capsys: pytest.CaptureFixture[str], command: str, file: str
) -> None:
    Path(file).unlink()
    error = error_of(command, capsys)
    # Of the signal, all files of a track on a chromosome may be asked for before any is read.
    assert f"{file} is missing" in error or f"{Path(file).parent}: the files of" in error


@pytest.mark.parametrize(("dataset", "file"), [("data/signal", SIGNAL), ("data/matrix", MATRIX), ("data/matrix", MASK)])
@pytest.mark.usefixtures("here")
def test_the_python_interface_refuses_it(model: epilstm.Model, dataset: str, file: str) -> None:
    Path(file).unlink()
    with pytest.raises(EpilstmError, match=f"{file} is missing"):
        model.embed(dataset)


@pytest.mark.usefixtures("here")
def test_a_server_refuses_embeddings_that_lack_a_file_when_it_starts() -> None:
    Path(EMBEDDINGS).unlink()
    with pytest.raises(EpilstmError, match=f"{EMBEDDINGS} is missing"):
        RegionStore(Path("data/embeddings"))


def test_an_interval_without_data_has_its_file_and_reads_as_no_data(tmp_path: Path) -> None:
    group = create_group(tmp_path)
    create_bin_array(group, "chr1", 250_000, 2, "float32", "lz4", float("nan"), ranges=[(120_000, 130_000)])
    open_arrays(tmp_path)["chr1"].write_shard(1, np.full((100_000, 2), np.nan, np.float32))
    assert [path.name for path in (tmp_path / "chr1/c").iterdir()] == ["1"]
    assert np.isnan(open_arrays(tmp_path)["chr1"][0:250_000]).all()
    assert np.isnan(np.asarray(group["chr1"])).all(), "Zarr itself reads it, too"


@pytest.mark.usefixtures("here")
def test_a_track_without_data_on_a_chromosome_has_a_file_there(tmp_path: Path) -> None:
    Path("genome.sizes").write_text("chr1\t5000\nchr2\t5000\nchr3\t5000\nchr4\t5000\n")
    Path("one.bedgraph").write_text("chr1\t0\t5000\t1.5\n")
    Path("other.bedgraph").write_text("chr2\t0\t5000\t2.5\nchr3\t0\t50\t1\n")
    Path("sheet.csv").write_text(
        "cell_type,assay,uri,uncovered\nK,DNase,one.bedgraph,missing\nK,ATAC,other.bedgraph,missing\n"
    )
    Path("few.yaml").write_text("ingest: {assembly: genome.sizes}\n")
    main(["ingest", "--params", "few.yaml", "--samplesheet", "sheet.csv", "--signal", "few"])
    values = open_signal(Path("few/signal.zarr"))
    assert np.isnan(values["chr1"][1, 0:200]).all()
    assert np.isnan(values["chr4"][:, 0:200]).all()
    assert (values["chr2"][1, 0:200] == 2.5).all()
    Path("few/signal.zarr/chr1/c/1/0").unlink()
    with pytest.raises(EpilstmError, match=r"few/signal\.zarr/chr1/c/1/0 is missing"):
        open_signal(Path("few/signal.zarr"))["chr1"][0:2, 0:200]


@pytest.mark.parametrize(
    ("file", "command"),
    [("scaler.json", "train"), ("scaler.json", "embed"), ("scaler.json", "monitor"), ("histograms.json", "monitor")],
)
def test_another_number_beside_the_matrix_is_noticed(
    here: Path, capsys: pytest.CaptureFixture[str], file: str, command: str
) -> None:
    path = here / "data/matrix" / file
    content = json.loads(path.read_text())
    if file == "scaler.json":
        content["mean"][0] += 0.125
    else:
        content["counts"][0][200] += 1
    path.write_text(json.dumps(content))
    assert f"data/matrix/{file}: not the one that the manifest names" in error_of(command, capsys)
