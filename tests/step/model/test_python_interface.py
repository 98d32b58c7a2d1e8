"""``import epilstm``: load, embed, reconstruct, save."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyBigWig
import pytest
import torch
import zarr

import epilstm
from epilstm.errors import EpilstmError
from epilstm.store.manifests import Scaler, scaler_digest

SHEET, REGIONS = "data/simulated/samplesheet.csv", "data/simulated/regions.bed"

#: Bins at the end of a chromosome, within one, and a single one; the last bin of chr3 is cut short (130,010 bp).
SOME = [("chr1", 100_000, 103_000), ("chr3", 129_000, 130_010), ("chr2", 50_010, 50_020)]


@pytest.fixture
def raw(project):
    """Raw signal of chr1, (bins, tracks), in the model's order."""
    return zarr.open_group(project / "data/signal/signal.zarr", mode="r")["chr1"][:].T


def pipeline_embedding(project, table):
    """What the embed step wrote for the bins of a table."""
    arrays = zarr.open_group(project / "data/embeddings/embeddings.zarr", mode="r")
    whole = {chrom: arrays[chrom][:] for chrom in table.chrom.unique()}
    return np.array([whole[chrom][start // 25] for chrom, start in zip(table.chrom, table.start, strict=True)])


def assert_equal_to_the_pipeline(project, model, table):
    expected = pipeline_embedding(project, table)
    found = table[model.dimensions].to_numpy()
    assert np.isfinite(expected).any()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected)) < 1e-4 * np.nanstd(expected)


# --- import and load -----------------------------------------------------------------------------------------------


def test_importing_the_package_loads_no_library_and_its_names_are_listed():
    program = "import epilstm, sys; print(sorted({'numpy', 'torch', 'zarr'} & set(sys.modules)), dir(epilstm))"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert output.startswith("[] ")
    assert "'Model'" in output
    assert "'load'" in output


def test_a_name_that_the_package_has_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = epilstm.lode


def test_a_model_says_what_it_takes_and_gives(model, project):
    assert len(model.tracks) == 6
    assert model.tracks[0] == "C01-DNase"
    assert (model.embedding_size, model.dimensions) == (4, ["e0", "e1", "e2", "e3"])
    assert (model.bin_size, model.assembly) == (25, str(project / "data/simulated/chrom.sizes"))
    assert repr(model).startswith("<epilstm.Model bottleneck: 6 tracks -> 4 numbers per 25-bp bin, ")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "no such folder"),
        ("data", r"is no model folder \(it has no manifest.json\)"),
        ("data/matrix", "holds epilstm.matrix, not a model; give the folder"),
        ("models/encoder", "holds epilstm.encoder, not a model, which has no decoder"),
        ("params.yaml", "no such folder"),
    ],
)
def test_what_is_no_model_is_reported_in_one_line(project, path, message):
    with pytest.raises(EpilstmError, match=message) as refused:
        epilstm.load(project / path)
    assert "\n" not in str(refused.value)


def test_a_damaged_model_is_not_loaded(project, tmp_path):
    shutil.copytree(project / "models/autoencoder", tmp_path / "model")
    with open(tmp_path / "model/weights.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(EpilstmError, match="damaged or replaced"):
        epilstm.load(tmp_path / "model")


def test_a_device_that_is_not_there_is_reported(project):
    with pytest.raises(EpilstmError, match="device 'abacus'"):
        epilstm.load(project / "models/autoencoder", device="abacus")


# --- embed: the same numbers as the pipeline's ---------------------------------------------------------------------


@pytest.mark.parametrize("signal", ["data/matrix", "data/signal"])
def test_a_dataset_is_embedded_as_the_embed_step_does_it(project, model, signal):
    table = model.embed(project / signal)
    assert len(table) == sum(-(-bases // 25) for bases in (250_000, 150_000, 130_010, 100_000))
    assert_equal_to_the_pipeline(project, model, table)


@pytest.mark.parametrize("signal", ["data/matrix", "data/signal", SHEET])
def test_regions_are_embedded_as_parts_of_their_chromosomes(project, model, signal):
    table = model.embed(str(project / signal), SOME)
    assert list(table.columns) == ["chrom", "start", "end", *model.dimensions]
    assert table.index.name == "region"
    assert table.groupby("region").size().to_list() == [120, 41, 1]
    assert table.loc[1, "end"].iloc[-1] == 130_010
    assert_equal_to_the_pipeline(project, model, table)


@pytest.mark.parametrize("signal", ["data/matrix", SHEET])
def test_long_regions_are_run_block_by_block_with_the_same_result(project, model, signal, monkeypatch):
    monkeypatch.setattr("epilstm.model.python_interface.BLOCK_VALUES", 6 * 1100)
    monkeypatch.setattr("epilstm.model.chunks.CONTEXT_FRAMES", 32)  # nothing of a small genome is further away
    assert_equal_to_the_pipeline(project, model, model.embed(project / signal, ["chr1:1010-240010", "chr3"]))


def test_an_array_is_embedded_as_a_whole_region(project, model, raw):
    found = model.embed(raw)
    assert (found.shape, found.dtype) == ((10_000, 4), np.float32)
    expected = zarr.open_group(project / "data/embeddings/embeddings.zarr", mode="r")["chr1"][:]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected)) < 1e-4 * np.nanstd(expected)


def test_a_table_of_signal_is_taken_by_track_name(model, raw):
    table = pd.DataFrame(raw[:500], columns=model.tracks).iloc[:, ::-1].assign(note=1.0)
    np.testing.assert_array_equal(model.embed(table), model.embed(raw[:500]))


def test_bins_without_data_are_nan_and_others_are_not(model):
    signal = np.ones((300, 6), np.float32)
    signal[100:150] = np.nan
    signal[200:250, :5] = np.nan
    found = model.embed(signal)
    assert np.isnan(found[100:150]).all()
    assert np.isfinite(np.delete(found, np.s_[100:150], axis=0)).all()


def test_an_array_may_be_of_any_number_type_and_is_left_as_it_was(model):
    signal = np.random.default_rng(0).integers(0, 9, (200, 6))
    before = signal.copy()
    np.testing.assert_array_equal(model.embed(signal), model.embed(signal.astype(np.float64).tolist()))
    np.testing.assert_array_equal(model.embed(signal), model.embed(torch.from_numpy(signal)))
    np.testing.assert_array_equal(signal, before)


def test_no_bins_have_no_embedding(model):
    assert model.embed(np.empty((0, 6))).shape == (0, 4)


# --- regions -------------------------------------------------------------------------------------------------------


def test_regions_may_be_given_in_any_form(project, model, tmp_path):
    (tmp_path / "some.bed").write_text("".join(f"{chrom}\t{start}\t{end}\n" for chrom, start, end in SOME))
    expected = model.embed(project / "data/matrix", SOME)
    frame = pd.DataFrame(SOME, columns=["chrom", "start", "end"])
    for regions in (
        [f"{chrom}:{start:,}-{end}" for chrom, start, end in SOME],
        tmp_path / "some.bed",
        str(tmp_path / "some.bed"),
        frame,
    ):
        pd.testing.assert_frame_equal(model.embed(project / "data/matrix", regions), expected)
    for one in ("chr2:50010-50020", SOME[2], [SOME[2]]):
        found = model.embed(project / "data/matrix", one)
        pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.loc[[2]].reset_index(drop=True))


def test_rows_keep_the_labels_of_a_table_of_regions_and_its_order(project, model):
    genes = pd.DataFrame(SOME, columns=["chrom", "start", "end"], index=["b", "a", "c"])
    table = model.embed(project / "data/matrix", genes)
    assert list(dict.fromkeys(table.index)) == ["b", "a", "c"]
    assert (table.loc["a", "chrom"] == "chr3").all()


def test_regions_may_overlap(project, model):
    table = model.embed(project / "data/matrix", [("chr1", 50_000, 51_000), ("chr1", 50_500, 51_500)])
    shared = table[(table.start >= 50_500) & (table.start < 51_000)]
    np.testing.assert_array_equal(shared.loc[0, model.dimensions], shared.loc[1, model.dimensions])


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ("chr1:1000", "no region, no BED file and no chromosome"),
        ("chr9:0-100", "chromosome 'chr9' is not in assembly"),
        ("chr1:0-300000", "end at most 250,000"),
        ("chr1:200-100", "start must be below end"),
        ("chr1:,-100", "start must be below end"),
        (("chr1", -25, 100), "start must be below end"),
        (("chr1", 0.5, 100), "no region"),
        ([("chr1", 0)], "is no region"),
        ([], "no regions"),
        (7, "7 is no region"),
        (Path("nowhere.bed"), "nowhere.bed: no such file"),
        (pd.DataFrame({"chrom": ["chr1"], "begin": [0]}), "no column start, end"),
        (pd.DataFrame({"chrom": ["chr1"], "start": [np.nan], "end": [100]}), "no region"),
        (pd.DataFrame([("chr1", 0, 9)], [[1], [2]], ["chrom", "start", "end"]), "several levels"),
    ],
)
def test_regions_that_cannot_be_are_refused_in_one_line(project, model, regions, message):
    for signal in ("data/signal", SHEET):
        with pytest.raises(EpilstmError, match=message) as refused:
            model.embed(project / signal, regions)
        assert "\n" not in str(refused.value)


def test_a_region_outside_a_dataset_is_refused(project, model, tmp_path):
    folder = tmp_path / "signal"
    shutil.copytree(project / "data/signal", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["regions"] = [["chr1", 50_000, 100_000]]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert len(model.embed(folder, ("chr1", 60_000, 61_000))) == 40
    with pytest.raises(EpilstmError, match="region chr1:99000-110000 is not in it"):
        model.embed(folder, ("chr1", 99_000, 110_000))


def test_a_samplesheet_needs_regions(project, model):
    with pytest.raises(EpilstmError, match="a samplesheet needs regions"):
        model.embed(project / SHEET)


def test_tracks_as_bedgraph_embed_as_the_same_bigwigs(project, model, tmp_path):
    """Plain and gzipped in turn; what a file is follows from its content."""
    with open(project / SHEET, newline="") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows):
        with pyBigWig.open(str(project / "data/simulated" / row["uri"])) as bigwig:
            text = "".join(
                f"{chrom}\t{start}\t{end}\t{value!r}\n"
                for chrom in bigwig.chroms()
                for start, end, value in bigwig.intervals(chrom) or []
            ).encode()
        row |= {"uri": f"track-{number}.bedGraph", "sha256": ""}
        (tmp_path / row["uri"]).write_bytes(gzip.compress(text) if number % 2 else text)
    with open(tmp_path / "sheet.csv", "w", newline="") as stream:
        sheet = csv.DictWriter(stream, list(rows[0]))
        sheet.writeheader()
        sheet.writerows(rows)
    expected = model.embed(project / SHEET, SOME)
    pd.testing.assert_frame_equal(model.embed(tmp_path / "sheet.csv", SOME), expected)
    assert len(expected) > 100


# --- arrays that do not fit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (np.zeros((10, 5)), r"shape \(10, 5\), expected \(bins, 6\)"),
        (np.zeros((6, 10)), "transpose it"),
        (np.zeros(6), r"shape \(6,\)"),
        (np.zeros((1, 10, 6)), r"shape \(1, 10, 6\)"),
        (np.full((3, 6), np.inf), "infinite"),
        (np.full((3, 6), 1e300), "too large for float32"),
        ([["a"] * 6], "not an array of numbers"),
        (np.full((3, 6), 1j), "complex"),
        (None, "shape"),
    ],
)
def test_an_array_that_does_not_fit_is_refused_in_one_line(model, signal, message):
    with pytest.raises(EpilstmError, match=message) as refused:
        model.embed(signal)
    assert "\n" not in str(refused.value)


def test_an_array_of_a_region_is_a_table_if_its_bins_are_the_regions(model, raw):
    table = model.embed(raw[4000:4040], "chr1:100000-101000")
    assert table.start.to_list() == list(range(100_000, 101_000, 25))
    np.testing.assert_array_equal(table[model.dimensions], model.embed(raw[4000:4040]))


@pytest.mark.parametrize("regions", ["chr1:100000-110000", [("chr1", 0, 500), ("chr1", 500, 1000)]])
def test_an_array_in_bins_of_another_size_is_refused(model, raw, regions):
    with pytest.raises(EpilstmError, match="the array has 100 bins"):
        model.embed(raw[:100], regions)


# --- tracks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def short_sheet(project, tmp_path):
    """The samplesheet without C01-H3K4me3, and in another order."""
    lines = (project / SHEET).read_text().splitlines()
    rows = [line for line in lines[1:] if not line.startswith("C01,H3K4me3")]
    absolute = [line.replace("bigwig/", f"{project}/data/simulated/bigwig/") for line in reversed(rows)]
    path = tmp_path / "short.csv"
    path.write_text("\n".join([lines[0], *absolute]) + "\n")
    return path


def test_a_missing_track_is_an_error_that_says_what_to_do(model, short_sheet):
    with pytest.raises(EpilstmError, match=r"has no C01-H3K4me3: 1 of the model's 6 tracks.*missing='mask'"):
        model.embed(short_sheet, "chr1:0-1000")


def test_a_missing_track_may_be_hidden_which_is_its_mean(project, model, short_sheet, raw):
    with pytest.warns(UserWarning, match="1 of the model's 6 tracks hidden") as caught:
        found = model.embed(short_sheet, "chr1", missing="mask")
    assert caught[0].filename == __file__
    mean = float(np.sinh(model.manifest.scaler.mean[1]))
    expected = model.embed(np.where(np.arange(6) == 1, mean, raw))
    there = ~np.isnan(np.delete(raw, 1, axis=1)).all(axis=1)
    assert np.abs(found.loc[there, model.dimensions].to_numpy() - expected[there]).max() < 1e-2
    assert np.isnan(found.loc[~there, model.dimensions].to_numpy()).all()


@pytest.mark.filterwarnings("ignore:the table")
def test_none_of_the_tracks_is_an_error_even_where_they_may_be_missing(model):
    with pytest.raises(EpilstmError, match="none of the model's 6 tracks"):
        model.embed(pd.DataFrame({"other": [1.0, 2.0]}), missing="mask")


def test_choices_that_there_are_not_are_refused(model, raw):
    with pytest.raises(EpilstmError, match="missing='skip': expected 'error' or 'mask'"):
        model.embed(raw, missing="skip")
    with pytest.raises(EpilstmError, match="scale='log'"):
        model.reconstruct(raw, scale="log")
    with pytest.raises(EpilstmError, match="goes with a samplesheet"):
        model.embed(raw, blacklist="some.bed")


def test_a_matrix_of_another_standardisation_is_refused(project, model, tmp_path):
    shutil.copytree(project / "data/matrix", tmp_path / "matrix")
    scaler = json.loads((tmp_path / "matrix/scaler.json").read_text())
    scaler["mean"][0] += 1
    (tmp_path / "matrix/scaler.json").write_text(json.dumps(scaler))
    manifest = json.loads((tmp_path / "matrix/manifest.json").read_text())
    manifest["scaler_sha256"] = scaler_digest(Scaler.model_validate(scaler))
    (tmp_path / "matrix/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(EpilstmError, match="has another standardisation than the model was trained with"):
        model.embed(tmp_path / "matrix")


@pytest.mark.parametrize("path", ["nowhere.csv", "data", "models/encoder", "data/embeddings", REGIONS])
def test_what_is_no_signal_is_refused_in_one_line(project, model, path):
    with pytest.raises(EpilstmError) as refused:
        model.embed(project / path, "chr1")
    assert "\n" not in str(refused.value)


def test_a_blacklist_takes_bins_out(project, model, tmp_path):
    (tmp_path / "out.bed").write_text("chr1\t100100\t100200\n")
    table = model.embed(project / SHEET, "chr1:100000-100300", blacklist=tmp_path / "out.bed")
    assert np.isnan(table["e0"]).to_list() == [False] * 4 + [True] * 4 + [False] * 4


def test_embedding_loads_no_torch_and_no_decoder(project):
    program = (
        "import sys, numpy as np, epilstm\n"
        f"model = epilstm.load({str(project / 'models/autoencoder')!r})\n"
        "signal = np.random.default_rng(0).exponential(1, (400, len(model.tracks)))\n"
        "print(model.embed(signal).shape[0], sorted({'pandas', 'scipy', 'torch', 'zarr'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "400 []"


def test_changed_weights_of_the_network_are_those_that_embed(project, raw):
    model = epilstm.load(project / "models/autoencoder")
    before = model.embed(raw[:300])
    assert not model.network.training
    np.testing.assert_array_equal(model.embed(raw[:300]), before)
    with torch.no_grad():
        for weights in model.network.parameters():
            weights.zero_()
    assert np.nanstd(before) > 0
    assert np.nanstd(model.embed(raw[:300])) == 0


# --- reconstruct ---------------------------------------------------------------------------------------------------


def test_a_reconstruction_is_what_the_network_gives_back(project, model):
    rows = zarr.open_group(project / "data/matrix/matrix.zarr", mode="r")["chr4"][:]
    table = model.reconstruct(project / "data/matrix", "chr4", scale="standardised")
    with torch.inference_mode():
        expected = model.network.reconstruct(torch.from_numpy(rows.astype(np.float32))[:, None])[:, 0].numpy()
    there = ~np.isnan(table[model.tracks].to_numpy()).any(axis=1)
    assert there.sum() > 3000
    np.testing.assert_allclose(table[model.tracks].to_numpy()[there], expected[there], rtol=0, atol=1e-4)


def test_a_reconstruction_is_in_units_of_the_signal(project, model):
    standardised = model.reconstruct(project / "data/matrix", SOME, scale="standardised")[model.tracks]
    found = model.reconstruct(project / "data/matrix", SOME)[model.tracks]
    scaler = model.manifest.scaler
    np.testing.assert_allclose(found, np.sinh(standardised * scaler.scale + scaler.mean), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("signal", ["data/matrix", "data/signal", SHEET, "array"])
def test_what_comes_back_of_a_hidden_track_does_not_depend_on_it(project, model, raw, signal):
    given = raw if signal == "array" else project / signal
    region = None if signal == "array" else "chr1"
    hidden = model.reconstruct(given, region, hide=["C02-DNase"])
    shown = model.reconstruct(given, region)
    if signal == "array":
        changed = raw.copy()
        changed[:, model.tracks.index("C02-DNase")] = 50
        np.testing.assert_array_equal(model.reconstruct(changed, hide="C02-DNase")[:4000], hidden[:4000])
        assert np.nanmax(np.abs(hidden - shown)) > 0
    else:
        difference = (hidden["C02-DNase"] - shown["C02-DNase"]).abs().max()
        assert difference > 0


def test_a_track_to_hide_that_there_is_not_is_refused(model, raw):
    with pytest.raises(EpilstmError, match="hide C09-DNase: no such track, cell type or assay"):
        model.reconstruct(raw, hide=["C09-DNase"])


# --- save ----------------------------------------------------------------------------------------------------------


def test_a_saved_model_is_the_same_model(project, model, raw, tmp_path):
    model.save(tmp_path / "model")
    again = epilstm.load(tmp_path / "model")
    np.testing.assert_array_equal(again.embed(raw[:500]), model.embed(raw[:500]))
    for file in ("manifest.json", "weights.safetensors"):
        assert (tmp_path / "model" / file).read_bytes() == (project / "models/autoencoder" / file).read_bytes()


def test_weights_that_were_changed_are_saved_over_the_old_model(project, raw, tmp_path):
    model = epilstm.load(project / "models/autoencoder")
    model.save(tmp_path / "model")
    with torch.no_grad():
        model.network.readout.bias += 1
    model.save(tmp_path / "model")
    shift = epilstm.load(tmp_path / "model").reconstruct(raw[:50], scale="standardised") - epilstm.load(
        project / "models/autoencoder"
    ).reconstruct(raw[:50], scale="standardised")
    np.testing.assert_allclose(shift[~np.isnan(shift)], 1, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_saving_replaces_nothing_but_a_model(project, model, tmp_path):
    shutil.copytree(project / "models/encoder", tmp_path / "encoder")
    with pytest.raises(EpilstmError, match="stands there, not model"):
        model.save(tmp_path / "encoder")


@pytest.mark.parametrize("path", [".", ""])
def test_the_folder_one_is_in_is_not_replaced(model, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EpilstmError, match="cannot be a model folder"):
        model.save(path)
