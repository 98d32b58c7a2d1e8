"""``epilstm samplesheet`` as a person types it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pyBigWig
import pytest

from epilstm.cli import main
from epilstm.tracks.samplesheet import Track, read_samplesheet, write_samplesheet
from epilstm.tracks.samplesheet_check import bigwig_problem


@pytest.fixture
def bigwig(tmp_path) -> Path:
    path = tmp_path / "a.bw"
    writer = pyBigWig.open(str(path), "w")
    writer.addHeader([("chr1", 1000)])
    writer.addEntries(["chr1"], [0], ends=[500], values=[1.0])
    writer.close()
    return path


def check(capsys, *arguments: object) -> tuple[int, str, str]:
    code = 0
    try:
        main(["samplesheet", "check", *map(str, arguments)])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_roadmap_writes_the_chosen_tracks_to_standard_output(capsys):
    main(["samplesheet", "roadmap", "--cell-type", "E116", "--cell-type", "E117", "--assay", "H3K4me3"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cell_type,assay,uri,uncovered"
    assert all(line.endswith(",gap") for line in lines[1:])
    assert [line.split(",")[:2] for line in lines[1:]] == [["E116", "H3K4me3"], ["E117", "H3K4me3"]]


@pytest.mark.parametrize(("flags", "tracks"), [([], 1032), (["--core"], 1014)])
def test_roadmap_writes_a_samplesheet_that_is_read_back(tmp_path, flags, tracks):
    main(["samplesheet", "roadmap", *flags, "--output", str(tmp_path / "roadmap.csv")])
    assert len(read_samplesheet(tmp_path / "roadmap.csv")) == tracks


def test_an_unknown_epigenome_is_bad_usage_and_writes_nothing(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["samplesheet", "roadmap", "--cell-type", "E999", "--output", str(tmp_path / "roadmap.csv")])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: unknown cell type 'E999'")
    assert list(tmp_path.iterdir()) == []


def test_check_sums_up_a_sound_samplesheet(tmp_path, bigwig, capsys):
    digest = hashlib.sha256(bigwig.read_bytes()).hexdigest()
    tracks = [Track("E1", "DNase", "a.bw", digest), Track("E2", "DNase", "https://host/b.bw")]
    write_samplesheet(tmp_path / "sheet.csv", tracks)
    code, out, err = check(capsys, tmp_path / "sheet.csv", "--checksums")
    assert (code, err) == (0, "")
    assert out.strip().endswith("2 tracks, 2 cell types, 1 assays; 1 remote files not opened")


def test_check_lists_every_problem_of_rows_and_files(tmp_path, bigwig, capsys):
    (tmp_path / "text.bw").write_text("track type=wiggle_0\n")
    path = tmp_path / "sheet.csv"
    path.write_text("cell_type,assay,uri\nE1,DNase,a.bw\nE2,DNase,none.bw\nE3,DNase,text.bw\n,DNase,a.bw\n")
    code, out, err = check(capsys, path)
    *problems, last = err.splitlines()
    assert (code, out, last) == (1, "", f"error: {path}: 3 problems")
    assert sorted(problem.split(": ")[0] for problem in problems) == [f"{path}:{row}" for row in (3, 4, 5)]


def test_check_lists_no_more_problems_than_the_limit(tmp_path, capsys):
    path = tmp_path / "sheet.csv"
    path.write_text("cell_type,assay,uri\n" + "".join(f"E{i},DNase,{i}.bw\n" for i in range(9)))
    code, _, err = check(capsys, path, "--limit", 2)
    assert code == 1
    assert len(err.splitlines()) == 3
    assert "9 problems, 7 of them not listed" in err


def test_check_compares_digests_only_when_asked(tmp_path, bigwig, capsys):
    write_samplesheet(tmp_path / "sheet.csv", [Track("E1", "DNase", "a.bw", "0" * 64)])
    assert check(capsys, tmp_path / "sheet.csv")[0] == 0
    code, _, err = check(capsys, tmp_path / "sheet.csv", "--checksums")
    assert code == 1
    assert hashlib.sha256(bigwig.read_bytes()).hexdigest() in err


def test_a_header_error_is_one_line(tmp_path, capsys):
    (tmp_path / "sheet.csv").write_text("a,b\n1,2\n")
    code, _, err = check(capsys, tmp_path / "sheet.csv")
    assert code == 1
    assert len(err.splitlines()) == 1


def test_a_whole_bigwig_has_no_problem(bigwig):
    assert bigwig_problem(bigwig) is None


@pytest.mark.parametrize("size", [4, 20, 63, 200])
def test_a_truncated_bigwig_is_reported(bigwig, size):
    bigwig.write_bytes(bigwig.read_bytes()[:size])
    assert "truncated" in bigwig_problem(bigwig)


def test_what_is_not_a_bigwig_is_reported(tmp_path):
    path = tmp_path / "x.bw"
    assert "no such file" in bigwig_problem(path)
    path.write_bytes(b"")
    assert "not a bigWig" in bigwig_problem(path)
    path.write_bytes(bytes.fromhex("ebf28987") + bytes(100))
    assert "bigBed" in bigwig_problem(path)
    assert "not a file" in bigwig_problem(tmp_path)


def test_the_command_imports_no_scientific_library():
    code = (
        "import sys; from epilstm.cli import cli; cli.main(['samplesheet', 'check', '--help'], standalone_mode=False); "
        "print([name for name in ('numpy', 'pandas', 'pyBigWig', 'torch', 'pydantic') if name in sys.modules])"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.startswith("Usage:")
    assert completed.stdout.splitlines()[-1] == "[]"


def test_a_samplesheet_that_is_there_is_not_overwritten_unasked(tmp_path, capsys):
    path = tmp_path / "mine.csv"
    path.write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        main(["samplesheet", "roadmap", "--core", "--output", str(path)])
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said == f"error: {path}: is there already; give another name, or --overwrite to replace it\n"
    assert path.read_text() == "mine"
    main(["samplesheet", "roadmap", "--cell-type", "E116", "--output", str(path), "--overwrite"])
    assert len(read_samplesheet(path)) > 10
