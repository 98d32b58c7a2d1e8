"""``epilstm impute`` and ``Model.impute`` for a cell type that training never saw."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
import yaml

import epilstm
from epilstm.cli import main
from epilstm.errors import ModelError
from support.api.tiny_project import PARAMS, run_pipeline

TRAIN = {
    "kind": "cell_types", "embedding_size": 3, "hidden_size": 8, "streams": 8, "epochs": 1, "warmup_steps": 5,
    "context_size": 0, "threads": 1, "device": "cpu",
    "imputation": {"enabled": True, "bins": 12_000, "steps": 250, "hidden_size": 16, "batch": 256},
}  # fmt: skip
ASSAYS = ["DNase", "H3K4me3", "H3K27me3"]


def command(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments), "-q"])
    return ended.value.code


def rows_of(sheet):
    with open(sheet, newline="") as stream:
        return list(csv.DictReader(stream))


def write_sheet(path, rows):
    with open(path, "w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A model of three cell types, and samplesheets of a fourth."""
    folder = tmp_path_factory.mktemp("unseen")
    data = folder / "data/simulated"
    (folder / "simulate.yaml").write_text(yaml.safe_dump({"simulate": PARAMS["simulate"] | {"cell_types": 4}}))
    main(["simulate", "--params", str(folder / "simulate.yaml"), "--simulated", str(data), "-q"])
    rows = [{**row, "uri": str(data / row["uri"])} for row in rows_of(data / "samplesheet.csv")]
    cell_types = list(dict.fromkeys(row["cell_type"] for row in rows))
    new = [row for row in rows if row["cell_type"] == cell_types[3]]
    write_sheet(folder / "new.csv", new)
    write_sheet(folder / "two.csv", [row for row in new if row["assay"] != "H3K4me3"])
    write_sheet(data / "samplesheet.csv", [row for row in rows if row["cell_type"] != cell_types[3]])
    run_pipeline(folder, ["ingest", "preprocess", "train"], **TRAIN)
    return folder


def arguments(project, to, sheet="two.csv", *more):
    return (
        "impute", "--model", project / "models/autoencoder", "--matrix", project / "data/matrix",
        "--samplesheet", project / sheet, "--to", to, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def imputed(project, tmp_path_factory):
    to = tmp_path_factory.mktemp("imputed") / "tracks"
    main([*map(str, arguments(project, to)), "-q"])
    return to


def signal(path, chrom="chr4", bins=4_000):
    with pyBigWig.open(str(path)) as file:
        return np.array(file.stats(chrom, 0, bins * 25, nBins=bins, exact=True), float)


def new_name(project):
    return rows_of(project / "new.csv")[0]["cell_type"]


def test_the_assay_that_a_cell_type_lacks_is_written_with_its_deviation(project, imputed):
    name = new_name(project)
    assert sorted(each.name for each in imputed.glob("*.bw")) == [f"{name}-H3K4me3.bw", f"{name}-H3K4me3.sd.bw"]
    manifest = json.loads((imputed / "manifest.json").read_text())
    assert (manifest["cell_type"], manifest["shown"]) == (name, ["DNase", "H3K27me3"])


def test_it_is_nearer_to_the_truth_than_the_assays_mean_over_the_training_cell_types(project, imputed):
    name = new_name(project)
    truth = np.arcsinh(signal(project / f"data/simulated/bigwig/{name}-H3K4me3.bigwig"))
    guess = np.arcsinh(signal(imputed / f"{name}-H3K4me3.bw"))
    others = [
        np.arcsinh(signal(row["uri"]))
        for row in rows_of(project / "data/simulated/samplesheet.csv")
        if row["assay"] == "H3K4me3"
    ]
    there = np.isfinite(guess) & np.isfinite(truth)
    assert there.sum() > 2_000
    mean = np.nanmean(others, axis=0)
    assert np.mean((guess - truth)[there] ** 2) < np.mean((mean - truth)[there] ** 2)


def test_python_gives_what_the_command_writes(project, imputed):
    model = epilstm.load(project / "models/autoencoder")
    table = model.impute(project / "two.csv", "chr4:1000-21010", matrix=project / "data/matrix")
    assert list(table.columns) == ["chrom", "start", "end", "H3K4me3", "H3K4me3.sd"]
    assert (table["start"].iloc[0], table["end"].iloc[-1]) == (1000, 21025)
    name = new_name(project)
    for column, file in (("H3K4me3", f"{name}-H3K4me3.bw"), ("H3K4me3.sd", f"{name}-H3K4me3.sd.bw")):
        np.testing.assert_allclose(table[column], signal(imputed / file)[40:841], rtol=1e-4, atol=1e-5)


def test_a_saved_model_imputes_the_same(project, tmp_path):
    model = epilstm.load(project / "models/autoencoder")
    model.save(tmp_path / "copy")
    again = epilstm.load(tmp_path / "copy")
    found = [each.impute(project / "two.csv", "chr4:0-2500", matrix=project / "data/matrix") for each in (model, again)]
    assert found[0].equals(found[1])


def test_an_assay_that_is_there_is_imputed_from_the_others_when_it_is_named(project):
    model = epilstm.load(project / "models/autoencoder")
    options = {"regions": "chr4:0-2500", "matrix": project / "data/matrix", "assays": "h3k4me3"}
    with_it = model.impute(project / "new.csv", **options)
    without = model.impute(project / "two.csv", **options)
    np.testing.assert_array_equal(with_it["H3K4me3"], without["H3K4me3"])


def test_other_spellings_of_assays_are_taken(project, tmp_path):
    other = {"DNase": "DNase-seq", "H3K27me3": "h3k27me3"}
    sheet = changed_sheet(project, tmp_path, lambda row: row | {"assay": other[row["assay"]]})
    model = epilstm.load(project / "models/autoencoder")
    options = {"regions": "chr4:0-2500", "matrix": project / "data/matrix"}
    assert model.impute(sheet, **options).equals(model.impute(project / "two.csv", **options))


def test_one_bin_is_imputed(project):
    model = epilstm.load(project / "models/autoencoder")
    assert len(model.impute(project / "two.csv", "chr4:2500-2525", matrix=project / "data/matrix")) == 1


def changed_sheet(project, folder, change):
    return write_sheet(folder / "changed.csv", [change(dict(row)) for row in rows_of(project / "two.csv")])


@pytest.mark.parametrize(
    ("assay", "message"),
    [("ATAC-seq", "the model has no assay 'ATAC-seq'; it has DNase, H3K4me3, H3K27me3"),
     ("DNase I", "has DNase twice")],
)  # fmt: skip
def test_an_unusable_assay_is_one_clear_line(project, tmp_path, capsys, assay, message):
    sheet = changed_sheet(project, tmp_path, lambda row: row | {"assay": "DNase" if row["assay"] == "DNase" else assay})
    assert command(*arguments(project, tmp_path / "to", sheet)) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert not (tmp_path / "to").exists()


def test_another_matrix_is_refused(project, tmp_path, capsys):
    shutil.copytree(project / "data/matrix", tmp_path / "matrix")
    manifest = json.loads((tmp_path / "matrix/manifest.json").read_text())
    (tmp_path / "matrix/manifest.json").write_text(json.dumps(manifest | {"signal_fingerprint": "another"}))
    given = arguments(project, tmp_path / "to")
    assert command(*(tmp_path / "matrix" if each == project / "data/matrix" else each for each in given)) == 1
    assert "not the matrix that the model was trained on" in capsys.readouterr().err


def test_a_file_of_another_assembly_is_refused(project, tmp_path, capsys):
    other = tmp_path / "other.bigwig"
    with pyBigWig.open(str(other), "w") as file:
        file.addHeader([("chr1", 123_456)])
        file.addEntries(["chr1"], [0], ends=[100], values=[1.0])
    sheet = changed_sheet(project, tmp_path, lambda row: row | {"uri": str(other), "sha256": ""})
    assert command(*arguments(project, tmp_path / "to", sheet)) == 1
    assert "wrong assembly?" in capsys.readouterr().err


def test_signal_on_another_scale_is_warned_of(project, tmp_path, caplog):
    def scaled(row):
        target = tmp_path / Path(row["uri"]).name
        with pyBigWig.open(row["uri"]) as source, pyBigWig.open(str(target), "w") as file:
            file.addHeader(list(source.chroms().items()))
            for chrom in source.chroms():
                starts, ends, values = zip(*(source.intervals(chrom) or []), strict=True)
                file.addEntries([chrom] * len(starts), list(starts), ends=list(ends), values=[30 * v for v in values])
        return row | {"uri": str(target), "sha256": ""}

    sheet = changed_sheet(project, tmp_path, scaled)
    model = epilstm.load(project / "models/autoencoder")
    with caplog.at_level("WARNING"):
        model.impute(sheet, "chr4", matrix=project / "data/matrix")
        of_scaled = [record.getMessage() for record in caplog.records]
        caplog.clear()
        model.impute(project / "two.csv", "chr4", matrix=project / "data/matrix")
    assert [message for message in of_scaled if "is it on the same scale" in message]
    assert not [record for record in caplog.records if "same scale" in record.getMessage()]


def test_a_model_without_an_imputer_says_so(project, tmp_path):
    model = epilstm.load(project / "models/autoencoder")
    model.imputer = None
    with pytest.raises(ModelError, match=r"train it with train.kind: cell_types and train.imputation.enabled: true"):
        model.impute(project / "two.csv", matrix=project / "data/matrix")
