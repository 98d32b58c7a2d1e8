"""Steps, and what writes projects and imports, on disks that are full or read-only: one line, and nothing left."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from epilstm.cli import main
from epilstm.errors import DiskFullError
from epilstm.study.results import write_csv
from support.api.tiny_project import run_pipeline
from support.checkpoint_import.published_cell import write_checkpoint
from support.small_disk import make_read_only, small_disk

#: Of evaluate; the chromosomes are few.
EVALUATE = {"folds": {"count": 2}, "bootstrap": 10}


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """Every step's outputs, up to an evaluation, and weights as they were published."""
    folder = run_pipeline(tmp_path_factory.mktemp("project"))
    params = folder / "params.yaml"
    params.write_text(yaml.safe_dump({**yaml.safe_load(params.read_text()), "evaluate": EVALUATE}))
    main([*map(str, evaluate(folder)), "--evaluation", str(folder / "evaluation")])
    write_checkpoint(folder / "published")
    return folder


def step(project: Path, name: str, *words: object) -> list[object]:
    return [name, "-q", "--params", project / "params.yaml", *words]


def evaluate(project: Path) -> list[object]:
    model, embeddings = project / "models/autoencoder", project / "data/embeddings"
    return step(project, "evaluate", "--matrix", project / "data/matrix", "--model", model, "--embeddings", embeddings)


def commands(project: Path, disk: Path) -> dict[str, list[object]]:
    """Command lines that write to a disk, and to nothing else that is kept."""
    data, simulated = project / "data", project / "data/simulated"
    model, encoder, matrix = project / "models/autoencoder", project / "models/encoder", project / "data/matrix"
    sheet, regions = simulated / "samplesheet.csv", simulated / "regions.bed"
    ingest = step(project, "ingest", "--samplesheet", sheet, "--regions", regions)
    train = step(project, "train", "--matrix", matrix)
    drawn = ["--matrix", matrix, "--model", model]
    published = project / "published"
    checkpoint = [published / "encoder.pth", published / "decoder.pth", "--config", published / "config.yaml"]
    return {
        "simulate": step(project, "simulate", "--simulated", disk / "out"),
        "ingest": [*ingest, "--signal", disk / "out"],
        "ingest --cache": [*ingest, "--signal", project / "another", "--cache", disk / "new" / "cache"],
        "ingest --part": [*ingest, "--part", "1/2", "--cache", disk / "cache"],
        "preprocess": step(project, "preprocess", "--signal", data / "signal", "--matrix", disk / "out"),
        "train": [*train, "--model", disk / "new" / "out", "--history", disk / "history.csv"],
        "train --checkpoint": [*train, "--model", project / "another", "--checkpoint", disk / "checkpoint"],
        "export": step(project, "export", "--model", model, "--encoder", disk / "out"),
        "embed": step(project, "embed", "--matrix", matrix, "--encoder", encoder, "--embeddings", disk / "out"),
        "evaluate": [*evaluate(project), "--evaluation", disk / "out"],
        "evaluate --metrics": [*evaluate(project), "--evaluation", project / "another", "--metrics", disk / "m.json"],
        "promote": [
            *step(project, "promote", *drawn, "--encoder", encoder, "--evaluation", project / "evaluation"),
            *("--decision", disk / "out.json"),
        ],
        "report": [
            *step(project, "report", *drawn, "--history", project / "metrics/history.csv"),
            *("--embeddings", data / "embeddings", "--report", disk / "out.html"),
        ],
        "monitor": step(project, "monitor", *drawn, "--signal", data / "signal", "--drift", disk / "out.json"),
        "init": ["init", disk / "project"],
        "run": ["run", "-q", sheet, "--assembly", simulated / "chrom.sizes", "--to", disk / "results"],
        "data import": ["data", "import", sheet, "--no-dvc", "-o", disk / "tracks"],
        "fingerprint": ["fingerprint", "--fingerprints", disk / "fingerprints"],
        "import-checkpoint": [
            *("import-checkpoint", "-q", *checkpoint, "--model", disk / "model", "--encoder", disk / "encoder"),
        ],
    }


#: Those that compute for long before they write; they write as the others do.
SLOW = {"report", "monitor"}
NAMES = list(commands(Path(), Path()))


def refused(capsys, words: list[object]) -> str:
    """The one line of a failure."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    lines = error.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], error
    return lines[-1]


def content(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_a_full_disk_is_one_line_and_leaves_nothing(project, tmp_path, capsys, name):
    kept = content(project)
    with small_disk(tmp_path / "disk", 4) as disk:
        (disk / "filler").write_bytes(bytes(1024))
        line = refused(capsys, commands(project, disk)[name])
        assert "no space left" in line or "are free" in line
        assert str(disk) in line
        assert content(disk) == ["filler"]
    assert content(project) == kept


@pytest.mark.parametrize("name", NAMES)
def test_a_read_only_disk_is_one_line(project, tmp_path, capsys, name):
    with small_disk(tmp_path / "disk", 1000) as disk:
        make_read_only(disk)
        line = refused(capsys, commands(project, disk)[name])
        assert "Read-only file system" in line
        assert str(disk) in line


@pytest.mark.parametrize("name", ["simulate", "ingest", "preprocess", "embed", "data import"])
def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(project, tmp_path, capsys, name):
    with small_disk(tmp_path / "disk", 120) as disk:
        assert "no space left" in refused(capsys, commands(project, disk)[name])
        assert content(disk) == []


def test_an_output_that_does_not_fit_leaves_the_old_one_and_its_record_as_they_were(project, tmp_path, capsys):
    words = commands(project, tmp_path / "disk")["promote"]
    with small_disk(tmp_path / "disk", 40) as disk:
        main([str(word) for word in words])
        before = {path: path.read_bytes() for path in disk.iterdir()}
        size = sum(-(-len(text) // 4096) * 4 for text in before.values())
        (disk / "filler").write_bytes(bytes(1024 * (40 - size - 4)))
        refused(capsys, words)
        (disk / "filler").unlink()
        assert {path: path.read_bytes() for path in disk.iterdir()} == before


def test_results_of_a_study_on_a_full_disk(tmp_path):
    with small_disk(tmp_path / "disk", 4) as disk:
        (disk / "filler").write_bytes(bytes(4096))
        with pytest.raises(DiskFullError, match="no space left"):
            write_csv(disk / "new" / "study.csv", "layers", [])
        assert content(disk) == ["filler"]
