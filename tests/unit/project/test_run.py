"""``epilstm run``: from a samplesheet to a report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from epilstm.cli import main
from epilstm.errors import DataError, DiskFullError, EpilstmError, GenomeError, ParamsError
from epilstm.genome.assembly import Region
from epilstm.project import plan as planning
from epilstm.project.plan import ORDER, Request, _choose_folds, check_disk, check_folder, make_plan
from epilstm.project.running import duration
from support.project.requests import line, request


def check(given: Request, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    code = 0
    try:
        main(line(given, "-q", "--check", *flags))
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, capsys.readouterr().err


def test_check_prints_the_steps_and_writes_nothing(epigenome, tmp_path, capsys):
    main(line(request(epigenome, tmp_path / "results"), "--check", "-q"))
    words = [text.split()[:2] for text in capsys.readouterr().out.splitlines()]
    assert words == [["epilstm", step] for step in ORDER]
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ({"samplesheet": Path("absent.csv")}, 1, "absent.csv: no such file"),
        ({"assembly": "hg38"}, 1, "chr1 has 250,000 bp in the file but 248,956,422 in hg38"),
        ({"assembly": "hg37"}, 1, "hg37' is neither one of hg19, hg38, mm10 nor a chrom.sizes file"),
        ({"assembly": None}, 2, "--assembly is missing: give hg19, hg38, mm10 or the path of a chrom.sizes file"),
        ({"params": Path("absent.yaml")}, 2, "absent.yaml: "),
        ({"regions": Path("absent.bed")}, 1, "--regions absent.bed: no such file or folder"),
        ({"tasks": Path("absent.yaml")}, 1, "--tasks absent.yaml: no such file or folder"),
        ({"labels": Path(".")}, 2, "give --tasks too, or leave it out"),
    ],
)  # fmt: skip
def test_an_obvious_fault_is_one_line_before_the_first_step(epigenome, tmp_path, capsys, given, code, message):
    found, received = check(request(epigenome, tmp_path / "results", **given), capsys)
    assert (found, received.count("\n")) == (code, 1)
    assert received.startswith("error: ")
    assert message in received
    assert not (tmp_path / "results").exists()


def test_a_bigwig_that_is_none_is_named_before_the_first_step(epigenome, tmp_path, capsys):
    (tmp_path / "x.bigwig").write_text("no bigWig")
    (tmp_path / "sheet.csv").write_text("cell_type,assay,uri\nC01,DNase,x.bigwig\nC01,CTCF,y.bigwig\n")
    code, received = check(request(epigenome, tmp_path / "results", samplesheet=tmp_path / "sheet.csv"), capsys)
    assert code == 1
    assert f"{tmp_path / 'x.bigwig'}" in received
    assert "(and 1 more; 'epilstm samplesheet check' lists them)" in received


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ("train: {epochz: 3}", ParamsError, "params.yaml: train.epochz: unknown key"),
        ("monitor: {threads: -1}", ParamsError, "params.yaml: monitor.threads"),
        ("ingest: {assembly: mm10}", ParamsError, "params.yaml says ingest.assembly: mm10; remove one of them"),
        ("ingest: {assembly: other.sizes}", ParamsError, "ingest.assembly: other.sizes (relative to the params: "),
        ("ingest: {blacklist: absent.bed}", DataError, "absent.bed: no such file or folder"),
        ("preprocess: {split: {validation: [chr4], test: [chr9]}}", GenomeError, "chr9, which is not in the regions"),
        ("preprocess: {split: {validation: [chr4, chr1], test: [chr3, chr2]}}", GenomeError, "no chromosome to train"),
    ],
)  # fmt: skip
def test_params_that_cannot_be_meant_are_refused_before_the_first_step(epigenome, tmp_path, params, error, message):
    (tmp_path / "params.yaml").write_text(params)
    with pytest.raises(error) as caught:
        make_plan(request(epigenome, tmp_path / "results", params=tmp_path / "params.yaml"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "samplesheet",
            Path("samplesheet.csv"),
            "ingest.samplesheet is {named}, but SAMPLESHEET is {given}; give that",
        ),
        ("regions", Path("some.bed"), "--regions {given}: {params} says ingest.regions: {named}; remove one of them"),
    ],
)
def test_a_relative_path_in_the_params_is_shown_with_the_file_that_it_is(
    epigenome, tmp_path, monkeypatch, name, given, message
):
    # The same words on the command line and in the params are two files: the params' are relative to their file.
    (tmp_path / "presets").mkdir()
    params = tmp_path / "presets/params.yaml"
    params.write_text(f"ingest: {{{name}: {given}}}")
    monkeypatch.chdir(epigenome / "data")
    with pytest.raises(ParamsError) as caught:
        make_plan(request(epigenome, tmp_path / "results", params=params, **{name: given}))
    named = f"{given} (relative to the params: {tmp_path / 'presets' / given})"
    assert message.format(named=named, given=given, params=params) in str(caught.value)


@pytest.mark.parametrize("count", [1, 2])
def test_of_one_or_two_chromosomes_intervals_are_held_out(epigenome, tmp_path, count):
    (tmp_path / "few.bed").write_text("".join(f"chr{number + 1}\t0\t100000\n" for number in range(count)))
    plan = make_plan(request(epigenome, tmp_path / "results", regions=tmp_path / "few.bed"))
    assert plan.sections["preprocess"]["split"] == {"by": "region", "validation": 0.1, "test": 0.1}


def test_files_that_the_params_name_are_taken_relative_to_them(epigenome, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project/some.bed").write_text("chr1\t0\t200000\nchr2\t0\t100000\nchr3\t0\t50000\n")
    (tmp_path / "project/params.yaml").write_text("ingest: {regions: some.bed}\n")
    plan = make_plan(request(epigenome, tmp_path / "results", params=tmp_path / "project/params.yaml"))
    assert plan.paths("ingest")["regions"] == tmp_path / "project/some.bed"
    assert plan.bins == 14_000
    assert plan.sections["preprocess"]["split"] == {"validation": ["chr3"], "test": ["chr2"]}


def test_label_files_that_are_not_there_are_named_before_the_first_step(epigenome, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    with pytest.raises(EpilstmError, match=r"task gene_expression: .*: no such file; correct its path"):
        make_plan(request(epigenome, tmp_path / "results", tasks=epigenome / "data/tasks.yaml", labels=labels))
    plan = make_plan(
        request(epigenome, tmp_path / "results", tasks=epigenome / "data/tasks.yaml", labels=epigenome / "data/labels")
    )
    assert plan.paths("evaluate")["tasks"] == epigenome / "data/tasks.yaml"
    assert plan.sections["evaluate"]["folds"] == {"by": "chromosome", "count": 4}


@pytest.mark.parametrize(
    ("sizes", "folds"),
    [
        ({"chr1": 46_000_000}, {"by": "region", "count": 5}),
        ({"chr1": 2_400_000, "chr2": 1_600_000}, {"by": "region", "count": 3}),
        ({"chr1": 900_000, "chr2": 800_000}, {"by": "chromosome", "count": 2}),
        ({f"chr{number}": 1_000 for number in range(5)}, None),
    ],
)
def test_folds_follow_from_the_chromosomes_there_are(sizes, folds):
    assert _choose_folds([Region(chrom, 0, size) for chrom, size in sizes.items()]) == folds


def test_tasks_on_one_short_chromosome_are_refused_before_the_first_step():
    with pytest.raises(ParamsError, match=r"chr1:0-600000 is too short .* leave out --tasks and --labels"):
        _choose_folds([Region("chr1", 0, 600_000)])


def test_a_folder_with_other_content_or_of_another_samplesheet_is_not_taken(epigenome, tmp_path):
    plan = make_plan(request(epigenome, tmp_path / "results"))
    (tmp_path / "results").mkdir()
    check_folder(plan, replace=False)
    (tmp_path / "results/thesis.doc").write_text("mine")
    with pytest.raises(DataError, match=r"has other content \(thesis.doc, ...\); give an empty or a new folder"):
        check_folder(plan, replace=True)
    (tmp_path / "results/thesis.doc").unlink()
    plan.write()
    check_folder(plan, replace=False)
    (tmp_path / "other.csv").write_text(
        plan.request.samplesheet.read_text().replace("bigwig/", f"{epigenome}/data/bigwig/")
    )
    other = make_plan(request(epigenome, tmp_path / "results", samplesheet=tmp_path / "other.csv"))
    with pytest.raises(DataError, match=r"holds the results of samplesheet .*data/samplesheet.csv, not .*other.csv"):
        check_folder(other, replace=False)
    check_folder(other, replace=True)


def test_a_run_is_not_written_into_a_file(epigenome, tmp_path):
    (tmp_path / "results").write_text("mine")
    with pytest.raises(DataError, match=r"results: is a file; give a folder"):
        check_folder(make_plan(request(epigenome, tmp_path / "results")), replace=True)


def test_too_little_disk_is_reported_before_the_first_step_with_both_sizes(epigenome, tmp_path, monkeypatch):
    plan = make_plan(request(epigenome, tmp_path / "results"))
    needed = 25_200 * (3.6 * 3 + 2.0 * 3 + 4.0 * 2)

    def free(amount: float) -> Any:
        return lambda path: shutil._ntuple_diskusage(10**9, 0, int(amount))  # type: ignore[attr-defined]

    monkeypatch.setattr(planning.shutil, "disk_usage", free(needed + 1))
    assert check_disk(plan, ORDER) is None
    monkeypatch.setattr(planning.shutil, "disk_usage", free(needed * 0.8))
    assert "3 tracks x 25,200 bins" in (check_disk(plan, ORDER) or "")
    assert check_disk(plan, ORDER[1:]) is None
    monkeypatch.setattr(planning.shutil, "disk_usage", free(needed * 0.3))
    with pytest.raises(DiskFullError, match="free some, give --to a folder on another disk, or fewer --regions"):
        check_disk(plan, ORDER)


def test_cell_types_that_are_embedded_are_checked_first_and_count_for_the_disk(epigenome, tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("train: {kind: cell_types}\nembed: {cell_types: [K562]}\n")
    with pytest.raises(ParamsError, match=r"embed\.cell_types: the model has no cell type 'K562'; it has "):
        make_plan(request(epigenome, tmp_path / "results", params=tmp_path / "params.yaml"))
    (cell_type,) = {track.identity.cell_type for track in make_plan(request(epigenome, tmp_path / "results")).tracks}
    (tmp_path / "params.yaml").write_text(f"train: {{kind: cell_types}}\nembed: {{cell_types: [{cell_type}]}}\n")
    plan = make_plan(request(epigenome, tmp_path / "results", params=tmp_path / "params.yaml"))
    numbers = planning._shape(plan.sections, plan.tracks).sizes.embedding_size
    free = shutil._ntuple_diskusage(10**9, 0, int(25_200 * 4.0 * numbers) + 1)  # type: ignore[attr-defined]
    monkeypatch.setattr(planning.shutil, "disk_usage", lambda path: free)
    assert check_disk(plan, ["embed"]) is None


def test_an_embedding_as_large_as_the_number_of_tracks_is_remarked_on(epigenome, tmp_path):
    (tmp_path / "params.yaml").write_text("train: {embedding_size: 3}\n")
    plan = make_plan(request(epigenome, tmp_path / "results", params=tmp_path / "params.yaml"))
    assert "3 numbers per bin for 3 tracks" in plan.remarks[-1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3_599, "59 min 59 s"), (7_380, "2 h 3 min")]
)
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text
