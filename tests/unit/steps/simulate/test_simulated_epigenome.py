"""The simulated epigenome as files."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
import yaml

from epilstm.cli import main
from epilstm.errors import ParamsError
from epilstm.files.disk import require_space
from epilstm.files.outputs import fingerprint, read_json, sha256_file
from epilstm.genome.assembly import bed_intervals, load_assembly, read_regions
from epilstm.params import SimulateParams
from epilstm.steps.simulate.core import simulate
from epilstm.tracks.samplesheet import read_samplesheet
from epilstm.tracks.samplesheet_check import track_problem
from support.nonempty import nonempty

PARAMS = SimulateParams(
    chromosomes={"chr2": 120_000, "chr10": 100_003, "chr1": 150_000},
    cell_types=3,
    assays=["DNase", "H3K4me3", "H3K27me3"],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("epigenome") / "simulated"
    simulate(folder, PARAMS)
    return folder


def lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def test_the_same_seed_gives_the_same_bytes(folder, tmp_path):
    simulate(tmp_path / "again", PARAMS)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path / "again") for path in tmp_path.rglob("*") if path.is_file())
    for file in nonempty(files):
        assert (folder / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_another_seed_gives_other_tracks_and_labels(folder, tmp_path):
    simulate(tmp_path, PARAMS.model_copy(update={"seed": 8}))
    for file in ("bigwig/C01-DNase.bigwig", "labels/genes.gtf.gz", "labels/promoter-enhancer-pairs.csv.gz"):
        assert (folder / file).read_bytes() != (tmp_path / file).read_bytes()


def test_a_track_does_not_depend_on_which_others_are_simulated(folder, tmp_path):
    simulate(tmp_path, PARAMS.model_copy(update={"assays": ["H3K27me3"]}))
    file = "bigwig/C02-H3K27me3.bigwig"
    assert (folder / file).read_bytes() == (tmp_path / file).read_bytes()


def test_the_samplesheet_names_every_track_with_its_digest(folder):
    tracks = read_samplesheet(folder / "samplesheet.csv")
    assert [track.name for track in tracks] == [f"C0{cell}-{assay}" for cell in (1, 2, 3) for assay in PARAMS.assays]
    for track in nonempty(tracks):
        assert track.sha256
        assert track_problem(track, folder / "samplesheet.csv", checksums=True) is None


def test_bigwigs_hold_runs_with_gaps_on_every_chromosome(folder):
    for track in nonempty(read_samplesheet(folder / "samplesheet.csv")):
        bigwig = pyBigWig.open(str(folder / track.uri))
        assert bigwig.chroms() == PARAMS.chromosomes
        for chrom, length in PARAMS.chromosomes.items():
            start, end, value = map(np.array, zip(*bigwig.intervals(chrom), strict=True))
            assert ((end - start >= 20) & (end - start <= 60)).all()
            assert 0.9 < (end - start).sum() / length < 0.995
            assert np.isfinite(value).all()
            assert (value >= 0).all()


def test_a_bigwig_is_smaller_than_what_is_reserved_for_it(folder):
    for path in nonempty((folder / "bigwig").iterdir()):
        assert path.stat().st_size < sum(PARAMS.chromosomes.values())


def test_regions_are_the_whole_chromosomes_of_the_assembly(folder):
    assembly = load_assembly(str(folder / "chrom.sizes"))
    assert dict(assembly.sizes) == PARAMS.chromosomes
    assert read_regions(folder / "regions.bed", assembly, 25) == assembly.regions()


def test_tasks_name_label_files_that_are_there(folder):
    content = yaml.safe_load((folder / "tasks.yaml").read_text())
    assert [task["name"] for task in content["tasks"]] == [
        "gene_expression",
        "promoter_enhancer",
        "fire",
        "replication_timing",
        "expression_level",
    ]
    assert "&" not in (folder / "tasks.yaml").read_text()
    for task in nonempty(content["tasks"]):
        assert set(task) == {"name", "kind", "windows", "labels", "cell_types"}
        assert set(task["cell_types"]) <= {"C01", "C02", "C03"}
        for key in ("path", "annotation"):
            assert (folder / "labels" / task["labels"].get(key, task["labels"]["path"])).is_file()


def test_expression_is_a_table_of_all_cell_types_whose_genes_are_annotated(folder):
    header, *rows = [line.split("\t") for line in lines(folder / "labels" / "expression.RPKM.tsv.gz")]
    assert header == ["gene_id", "C01", "C02", "C03"]
    assert all(float(value) >= 0 for row in nonempty(rows) for value in row[1:])
    genes = [line.split("\t") for line in lines(folder / "labels" / "genes.gtf.gz")]
    assert [gene[8].split('"')[1].partition(".")[0] for gene in genes] == [row[0] for row in rows]
    for chrom, _, feature, start, end, _, strand, _, attributes in nonempty(genes):
        assert feature == "gene"
        assert 1 <= int(start) < int(end) <= PARAMS.chromosomes[chrom]
        assert strand in "+-"
        assert 'gene_type "protein_coding";' in attributes


def test_pairs_have_the_columns_of_targetfinder_and_the_cells_of_the_task(folder):
    rows = list(csv.DictReader(lines(folder / "labels" / "promoter-enhancer-pairs.csv.gz")))
    assert list(rows[0]) == [
        "cell",
        "enhancer_chrom",
        "enhancer_start",
        "enhancer_end",
        "promoter_chrom",
        "promoter_start",
        "promoter_end",
        "label",
    ]
    task = yaml.safe_load((folder / "tasks.yaml").read_text())["tasks"][1]
    assert set(task["labels"]["cells"]) == set(task["cell_types"])
    assert {row["cell"] for row in rows} == set(task["labels"]["cells"].values())


@pytest.mark.parametrize("name", ["fire-C01.bed.gz", "replication-timing.bedgraph.gz"])
def test_labelled_intervals_are_whole_10_kb_bins_inside_the_chromosomes(folder, name):
    bins = [region for _, region, _ in bed_intervals(folder / "labels" / name)]
    expected = [
        (chrom, start, start + 10_000)
        for chrom, length in PARAMS.chromosomes.items()
        for start in range(0, length - 9_999, 10_000)
    ]
    assert [(region.chrom, region.start, region.end) for region in bins] == expected


def test_default_labels_have_usable_rates_on_every_chromosome(tmp_path):
    simulate(tmp_path, SimulateParams(assays=["DNase"], cell_types=2))
    table = [line.split("\t") for line in lines(tmp_path / "labels" / "expression.RPKM.tsv.gz")][1:]
    chroms = np.array([line.split("\t")[0] for line in lines(tmp_path / "labels" / "genes.gtf.gz")])
    expressed = np.array([[float(value) >= 0.5 for value in row[1:]] for row in table])
    assert len(table) >= 300
    timing = [line.split("\t") for line in lines(tmp_path / "labels" / "replication-timing.bedgraph.gz")]
    for chrom in SimulateParams().chromosomes:
        assert (expressed[chroms == chrom].mean(axis=0) > 0.2).all()
        assert (expressed[chroms == chrom].mean(axis=0) < 0.8).all()
        assert 0.2 < np.mean([float(value) >= 0 for name, _, _, value in timing if name == chrom]) < 0.8


def test_the_manifest_says_what_was_simulated_and_stands_for_every_file(folder):
    manifest = read_json(folder / "manifest.json")
    assert manifest["format"] == "epilstm.simulated/1"
    assert SimulateParams(**manifest["params"]) == PARAMS
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == files
    assert all(sha256_file(folder / file) == digest for file, digest in nonempty(manifest["files"].items()))


@pytest.mark.parametrize(
    ("assays", "message"), [(["DNase", "RNA"], "'RNA' cannot be simulated"), (["DNase", "DNase"], "twice")]
)
def test_assays_that_cannot_be_simulated_are_refused_before_anything_is_written(tmp_path, assays, message):
    with pytest.raises(ParamsError, match=message):
        simulate(tmp_path / "none", PARAMS.model_copy(update={"assays": assays}))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("section", ["chromosomes: {}", "chromosomes: {a b: 100000}", "chromosomes: {chr1: 5}"])
def test_unusable_chromosomes_are_bad_usage(tmp_path, capsys, section):
    (tmp_path / "params.yaml").write_text(f"simulate: {{{section}}}\n")
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "--params", str(tmp_path / "params.yaml"), "--simulated", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert "simulate.chromosomes" in capsys.readouterr().err


def test_a_full_disk_is_found_before_the_bigwig_is_begun(tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", no_space, raising=False)
    with pytest.raises(OSError, match="No space left"):
        require_space(tmp_path, 1_000)


def test_the_step_replaces_its_own_folder_on_a_rerun(tmp_path):
    (tmp_path / "params.yaml").write_text("simulate: {chromosomes: {chr1: 100000}, cell_types: 1, assays: [DNase]}\n")
    line = ["simulate", "--params", str(tmp_path / "params.yaml"), "--simulated", str(tmp_path / "out"), "-q"]
    main(line)
    before = fingerprint(tmp_path / "out")
    main(line)
    assert fingerprint(tmp_path / "out") == before
    assert read_json(tmp_path / "out.record.json")["outputs"]["simulated"]["fingerprint"] == before
