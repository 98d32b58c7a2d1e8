"""Commands that write what their user names: what is finished there is replaced only with ``--overwrite``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from epilstm.cli import main
from epilstm.files.outputs import MANIFEST
from support.checkpoint_import.published_cell import write_checkpoint
from support.tracks.small_epigenome import SmallEpigenome, make


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> SmallEpigenome:
    return make(tmp_path_factory.mktemp("small-epigenome"))


def refused(capsys, *words: object) -> str:
    """The one line of a failure."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def content(path: Path) -> dict[str, str]:
    """Digest of every file."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def finished(path: Path, kind: str | None) -> Path:
    """Something of a user's that is whole: a file, or a dataset of some kind."""
    if kind is None:
        path.write_text("mine\n")
        return path
    path.mkdir()
    (path / MANIFEST).write_text(json.dumps({"format": f"epilstm.{kind}/1"}))
    return path


CLIENT = ["client", "embed", "--url", "http://127.0.0.1:9", "--bigwig-sheet", "none.csv", "--region", "chr1:0-100"]
IMPORT = ["import-checkpoint", "encoder.pth", "decoder.pth", "--config", "config.yaml"]
SEGMENT = ["segment", "--states", "2", "--embeddings", "none"]


@pytest.mark.parametrize(
    ("line", "option", "name", "kind"),
    [
        (["samplesheet", "roadmap"], "--output", "sheet.csv", None),
        (["export-tracks", "--embeddings", "none", "--format", "bigwig"], "--to", "tracks", "tracks"),
        (SEGMENT, "--segmentation", "segmentation", "segmentation"),
        (CLIENT, "--output", "out.tsv", None),
        (CLIENT, "--output", "out.bw", "bigwig"),
        (CLIENT, "--output", "out.zarr", "embeddings"),
        (IMPORT, "--model", "model", "model"),
        (IMPORT, "--encoder", "encoder", "encoder"),
        (["study", "show", "layers"], "--csv", "study.csv", None),
        (["plot", "training", "--history", "none.csv"], "--to", "figure.png", None),
        (["plot", "training", "--history", "none.csv", "--to", "figure.png"], "--numbers", "numbers.csv", None),
    ],
)
def test_what_is_finished_is_not_replaced_unasked(tmp_path, monkeypatch, capsys, line, option, name, kind):
    """Before anything is read, fetched or computed."""
    monkeypatch.chdir(tmp_path)
    there = finished(Path(name), kind)
    before = content(there)
    said = refused(capsys, *line, option, there)
    assert said == f"error: {there}: is there already; give another name, or --overwrite to replace it"
    assert content(there) == before


def test_a_segmentation_is_replaced_when_asked(small, tmp_path, capsys):
    target = finished(tmp_path / "segmentation", "segmentation")
    line = ["segment", "--embeddings", str(small.embeddings), "-q", "--states", "2", "--segmentation", str(target)]
    refused(capsys, *line)
    main([*line, "--overwrite"])
    assert (target / "states.tsv").is_file()
    other = finished(tmp_path / "model", "model")
    before = content(other)
    assert "epilstm.model stands there, not segmentation" in refused(capsys, *line[:-1], other, "--overwrite")
    assert content(other) == before


def test_an_imported_checkpoint_is_replaced_when_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "files")
    line = ["import-checkpoint", "files/encoder.pth", "files/decoder.pth", "--config", "files/config.yaml", "-q"]
    line += ["--model", "model", "--encoder", "encoder"]
    main(line)
    made = content(Path("model")) | content(Path("encoder"))
    capsys.readouterr()
    assert "model: is there already" in refused(capsys, *line)
    Path("model/weights.safetensors").write_bytes(b"damaged")
    main([*line, "--overwrite"])
    assert content(Path("model")) | content(Path("encoder")) == made
