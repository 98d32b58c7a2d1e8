"""``epilstm init``: a project outside the clone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from epilstm.genome.assembly import load_assembly, read_blacklist, read_regions
from epilstm.params import SECTIONS, load_section
from support.nonempty import nonempty
from support.paths import PROJECT
from support.project.own_data import init

CLONE = PROJECT
FILES = ["params.yaml", "regions.bed", "dvc.yaml", ".gitignore", ".dvcignore", "tasks.yaml", "labels/README.txt",
         "blacklist.bed"]  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_project_holds_valid_params_regions_tasks_and_an_empty_samplesheet(tmp_path, capsys):
    assert init(tmp_path / "mine") == 0
    folder = tmp_path / "mine"
    assert set(contents(folder)) == {*FILES, "samplesheet.csv"}
    for name, model in SECTIONS.items():
        load_section(folder / "params.yaml", name, model)
    hg38 = load_assembly("hg38")
    assert read_regions(folder / "regions.bed", hg38, 25) == hg38.regions()
    assert read_blacklist(folder / "blacklist.bed", hg38) == []
    assert (folder / "samplesheet.csv").read_text() == "cell_type,assay,uri\n"
    assert "dvc init" in capsys.readouterr().out


def test_the_params_name_files_of_the_project_alone(tmp_path):
    init(tmp_path)
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    named = [params["ingest"][key] for key in ("samplesheet", "regions", "blacklist")]
    named += [params["evaluate"][key] for key in ("tasks", "labels")]
    assert all((tmp_path / name).exists() for name in nonempty(named))


def test_the_pipeline_is_the_clones_without_the_simulation_and_without_its_sources(tmp_path):
    init(tmp_path)
    made, clone = (yaml.safe_load((folder / "dvc.yaml").read_text()) for folder in (tmp_path, CLONE))
    clone["stages"].pop("simulate")
    assert made == clone
    assert "components/" not in (tmp_path / "dvc.yaml").read_text()


def test_a_samplesheet_and_its_bigwigs_choose_regions_and_split(epigenome, tmp_path, capsys):
    sheet, sizes = epigenome / "data/samplesheet.csv", epigenome / "data/chrom.sizes"
    assert init(tmp_path, "--samplesheet", sheet, "--assembly", sizes) == 0, capsys.readouterr().err
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert (tmp_path / params["ingest"]["samplesheet"]).samefile(sheet)
    assert (tmp_path / params["ingest"]["assembly"]).samefile(sizes)
    assert params["preprocess"]["split"] == {"validation": ["chr4"], "test": ["chr3"]}
    assert (tmp_path / "regions.bed").read_text().splitlines()[-1] == "chr4\t0\t100000"
    assert not (tmp_path / "samplesheet.csv").exists()


def test_a_samplesheet_of_the_folder_is_the_projects_and_never_overwritten(epigenome, tmp_path):
    text = (epigenome / "data/samplesheet.csv").read_text().replace("bigwig/", f"{epigenome}/data/bigwig/")
    (tmp_path / "samplesheet.csv").write_text(text)
    for flags in ([], ["--force"]):
        assert init(tmp_path, "--assembly", epigenome / "data/chrom.sizes", *flags) == 0
        assert (tmp_path / "samplesheet.csv").read_text() == text
        assert yaml.safe_load((tmp_path / "params.yaml").read_text())["ingest"]["samplesheet"] == "samplesheet.csv"


def test_files_of_a_project_are_overwritten_only_where_forced_and_others_stay(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "params.yaml").write_text("train: {epochs: 3}\n")
    before = contents(tmp_path)
    assert init(tmp_path) == 1
    assert f"error: {tmp_path}: params.yaml of a project is there already" in capsys.readouterr().err
    assert contents(tmp_path) == before
    assert init(tmp_path, "--force") == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert "samplesheet: samplesheet.csv" in (tmp_path / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--assembly", "hg37"], "assembly 'hg37' is neither one of hg19, hg38, mm10 nor a chrom.sizes file"),
        (["--samplesheet", "absent.csv"], "absent.csv: no such file"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(tmp_path, capsys, words, message):
    assert init(tmp_path / "mine", *words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_a_samplesheet_of_another_assembly_is_refused(epigenome, tmp_path, capsys):
    assert init(tmp_path / "mine", "--samplesheet", epigenome / "data/samplesheet.csv", "--assembly", "hg38") == 1
    assert "chr1 has 250,000 bp in the file but 248,956,422 in hg38" in capsys.readouterr().err
