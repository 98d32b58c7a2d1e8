"""``epilstm export-tracks``: every format opens with its field's own reader and holds the values, with gaps."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet
import pyBigWig
import pytest
import torch

from epilstm.cli import main
from epilstm.model.folder import load_model
from epilstm.outputs.browser_tracks import formats, hub, sources
from support.nonempty import nonempty
from support.tracks.small_epigenome import BIN, DIMENSIONS, SCALER, SIZES, TRACKS, SmallEpigenome, write_embeddings
from support.tracks.ucsc_hub import check_hub, stanzas


def export(small: SmallEpigenome, to: Path, *arguments: str) -> Path:
    main(["export-tracks", "--embeddings", str(small.embeddings), "--to", str(to), *arguments])
    return to


def export_model(small: SmallEpigenome, to: Path, *arguments: str) -> Path:
    where = ["--matrix", str(small.matrix), "--model", str(small.model), "--to", str(to)]
    main(["export-tracks", *where, *arguments])
    return to


def refused(capsys, *arguments: str) -> str:
    """The one line that a refused call prints; its exit code is that of a user's error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["export-tracks", *arguments])
    assert ended.value.code in (1, 2)
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    return err[0]


def intervals(path: Path) -> list[tuple[str, int, int, float]]:
    with pyBigWig.open(str(path)) as file:
        assert file.chroms() == SIZES
        return [(chrom, *each) for chrom in SIZES for each in file.intervals(chrom) or ()]


def test_each_dimension_is_a_bigwig_with_gaps_where_there_is_no_data(small, tmp_path):
    folder = export(small, tmp_path / "out", "--format", "bigwig")
    assert sorted(path.name for path in folder.iterdir()) == ["e0.bw", "e1.bw", "e2.bw", "manifest.json"]
    for dimension in range(DIMENSIONS):
        expected = [(c, s, e, float(values[dimension])) for c, s, e, values in small.rows()]
        assert intervals(folder / f"e{dimension}.bw") == expected
    assert intervals(folder / "e0.bw")[-1][1:3] == (5_000, 5_010)


def test_a_bedgraph_reads_back_to_the_last_bit(small, tmp_path):
    folder = export(small, tmp_path / "out", "--format", "bedgraph")
    table = pd.read_csv(folder / "e1.bedGraph.gz", sep="\t", header=None, dtype={3: np.float32})
    assert [tuple(row) for row in table.iloc[:, :3].itertuples(index=False)] == [row[:3] for row in small.rows()]
    np.testing.assert_array_equal(table[3].to_numpy(), [row[3][1] for row in small.rows()])


def test_a_genomedata_bedgraph_is_what_its_loader_takes(small, tmp_path):
    folder = export_model(small, tmp_path / "out", "--what", "reconstruction", "--format", "genomedata-bedgraph")
    assert (folder / "chrom.sizes").read_text() == "chr2\t6000\nchr10\t5010\n"
    script = (folder / "genomedata-load.sh").read_text()
    tracks = dict(re.findall(r"-t (\w+)=(\S+)", script))
    assert [*tracks] == ["A_H3K4me3", "A_H3K27me3", "B_H3K4me3", "B_meth"]
    for name in nonempty(tracks.values()):
        with gzip.open(folder / name, "rt") as lines:
            assert next(lines) == "track type=bedGraph\n"
            rows = [line.rstrip("\n").split("\t") for line in lines]
        assert [(row[0], int(row[1]), int(row[2])) for row in rows] == [row[:3] for row in small.rows()]


def test_numbers_too_small_for_genomedata_are_zero_there(tmp_path):
    layout = formats.Layout("embedding", ["e0"], {"chr1": 100}, "hg19", 25, {})
    writer = formats.GenomedataBedGraph(tmp_path, layout)
    writer.write(formats.BinValues("chr1", 0, np.array([[1e-40], [2.0]], np.float32)))
    writer.finish()
    writer.close()
    lines = gzip.decompress((tmp_path / "e0.bedGraph.gz").read_bytes()).decode().splitlines()
    assert [float(line.split("\t")[3]) for line in lines[1:]] == [0.0, 2.0]


def test_parquet_has_a_row_per_bin_with_data(small, tmp_path):
    folder = export(small, tmp_path / "out", "--format", "parquet")
    table = pd.read_parquet(folder / "embedding.parquet")
    assert [*table.columns] == ["chrom", "start", "end", "e0", "e1", "e2"]
    assert list(zip(table.chrom, table.start, table.end, strict=True)) == [row[:3] for row in small.rows()]
    np.testing.assert_array_equal(table[["e0", "e1", "e2"]].to_numpy(), [row[3] for row in small.rows()])
    metadata = json.loads(pyarrow.parquet.read_schema(folder / "embedding.parquet").metadata[b"epilstm"])
    assert (metadata["assembly"], metadata["bin_size"], metadata["encoder"]) == ("hg19", 25, "2" * 64)


def test_anndata_has_bins_as_observations_and_dimensions_as_variables(small, tmp_path):
    folder = export(small, tmp_path / "out", "--format", "h5ad")
    content = anndata.read_h5ad(folder / "embedding.h5ad")
    assert list(content.var_names) == ["e0", "e1", "e2"]
    places = zip(content.obs.chrom, content.obs.start, content.obs.end, strict=True)
    assert list(places) == [row[:3] for row in small.rows()]
    assert content.obs_names[0] == "chr2:500-525"
    assert content.obs_names.is_unique
    np.testing.assert_array_equal(content.X, [row[3] for row in small.rows()])
    assert content.uns["epilstm"]["assembly"] == "hg19"


def test_with_a_bed_each_region_is_the_mean_of_its_bins_with_data(small, tmp_path, capsys):
    bed = tmp_path / "regions.bed"
    bed.write_text("chr10\t4990\t5010\tlast\nchr2\t1230\t1500\tbeside-the-gap\nchr2\t2100\t2200\tnothing\nchr9\t1\t2\n")
    folder = export(small, tmp_path / "out", "--format", "h5ad", "--format", "parquet", "--bed", str(bed))
    said = capsys.readouterr().err
    assert "1 of 4 intervals are left out: 1 of 3 chromosomes (chr9) are not in the data set" in said
    assert "1 of 3 regions have no bin with data and are left out" in said
    content = anndata.read_h5ad(folder / "h5ad" / "embedding.h5ad")
    assert list(content.obs.name) == ["beside-the-gap", "last"]
    assert list(zip(content.obs.start, content.obs.end, strict=True)) == [(1_230, 1_500), (4_990, 5_010)]
    assert list(content.obs.bins) == [5, 2]
    beside = np.concatenate([small.embedding["chr2"][49:50], small.embedding["chr2"][56:60]]).mean(axis=0)
    np.testing.assert_allclose(content.X, [beside, small.embedding["chr10"][199:201].mean(axis=0)], rtol=1e-6)
    table = pd.read_parquet(folder / "parquet" / "embedding.parquet")
    np.testing.assert_array_equal(table[["e0", "e1", "e2"]].to_numpy(), content.X)


def signal_of(small: SmallEpigenome, hidden: str | None = None) -> dict[str, np.ndarray]:
    """Reconstructed signal of whole regions by torch alone, (bins, tracks) by chromosome, NaN outside."""
    network, _ = load_model(small.model)
    undo = [np.sinh, np.sinh, np.expm1, lambda x: x]
    found = {}
    for chrom, rows in small.matrix_rows.items():
        found[chrom] = np.full(rows.shape, np.nan)
        for first, last in {"chr2": [(20, 80), (120, 240)], "chr10": [(0, 210)]}[chrom]:
            shown = rows[first:last].astype(np.float32)
            if hidden is not None:
                shown[:, TRACKS.index(hidden)] = 0
            with torch.inference_mode():
                standardised = network.reconstruct(torch.from_numpy(shown[:, None]))[:, 0].numpy()
            for track in range(len(TRACKS)):
                values = undo[track](standardised[:, track] * SCALER.scale[track] + SCALER.mean[track])
                found[chrom][first:last, track] = values if track == 3 else np.maximum(values, 0)
        found[chrom][~small.mask[chrom]] = np.nan
    return found


def test_reconstructed_tracks_are_in_the_units_of_their_files(small, tmp_path):
    folder = export_model(small, tmp_path / "out", "--what", "reconstruction", "--format", "bigwig")
    expected = signal_of(small)
    for track, name in enumerate(TRACKS):
        found = intervals(folder / f"{name}.bw")
        assert [each[:3] for each in found] == [row[:3] for row in small.rows()]
        wanted = [expected[chrom][start // BIN, track] for chrom, start, _, _ in found]
        np.testing.assert_allclose([each[3] for each in found], wanted, rtol=1e-4, atol=1e-5)


def test_an_imputed_track_is_hidden_from_the_encoder(small, tmp_path):
    folder = export_model(small, tmp_path / "out", "--what", "imputation", "--tracks", "H3K4me3", "--format", "bigwig")
    assert sorted(path.stem for path in folder.glob("*.bw")) == ["A-H3K4me3", "B-H3K4me3"]
    for name in ("A-H3K4me3", "B-H3K4me3"):
        expected = signal_of(small, hidden=name)
        found = intervals(folder / f"{name}.bw")
        wanted = [expected[chrom][start // BIN, TRACKS.index(name)] for chrom, start, _, _ in found]
        np.testing.assert_allclose([each[3] for each in found], wanted, rtol=1e-4, atol=1e-5)


def test_signed_keeps_what_is_below_zero(small, tmp_path):
    plain = export_model(small, tmp_path / "plain", "--what", "reconstruction", "--format", "bigwig")
    signed = export_model(small, tmp_path / "signed", "--what", "reconstruction", "--format", "bigwig", "--signed")
    values = {folder: [each[3] for each in intervals(folder / "A-H3K4me3.bw")] for folder in (plain, signed)}
    assert min(values[signed]) < 0 == min(values[plain])
    assert np.maximum(values[signed], 0).tolist() == values[plain]


@pytest.mark.parametrize("what", ["reconstruction", "imputation"])
def test_pieces_of_any_size_give_the_same_reconstruction(small, tmp_path, monkeypatch, what):
    model = load_model(small.model)[0]
    whole = export_model(small, tmp_path / "whole", "--what", what, "--tracks", "A-H3K27me3", "--format", "bigwig")
    monkeypatch.setattr("epilstm.store.bin_ranges.BLOCK_BINS", 20)
    cut = export_model(small, tmp_path / "cut", "--what", what, "--tracks", "A-H3K27me3", "--format", "bigwig")
    assert model.config.context_size == 0
    one, other = (intervals(folder / "A-H3K27me3.bw") for folder in (whole, cut))
    assert [each[:3] for each in one] == [each[:3] for each in other]
    np.testing.assert_allclose([each[3] for each in one], [each[3] for each in other], rtol=1e-5, atol=1e-6)


def test_a_region_is_widened_to_whole_bins_and_kept_to_the_datasets_regions(small, tmp_path):
    folder = export(small, tmp_path / "out", "--format", "bigwig", "--region", "chr2:1,990-3,030", "--tracks", "2")
    assert [path.name for path in folder.glob("*.bw")] == ["e2.bw"]
    assert [each[1:3] for each in intervals(folder / "e2.bw")] == [(1_975, 2_000), (3_000, 3_025), (3_025, 3_050)]


def test_the_same_values_are_the_same_bytes(small, tmp_path):
    wanted = [part for name in formats_of_all() for part in ("--format", name)]
    one, other = (export(small, tmp_path / name, *wanted, "--email", "a@b.org") for name in ("one", "other"))
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) > 20
    for file in nonempty(files):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


def formats_of_all() -> list[str]:
    from epilstm.outputs.browser_tracks.exporting import FORMATS

    return [*FORMATS]


def test_a_hub_keeps_to_ucscs_rules(small, tmp_path):
    folder = export(small, tmp_path / "out", "--format", "hub", "--email", "someone@example.org")
    tracks = check_hub(folder)
    assert [each["bigDataUrl"] for each in tracks.values()] == ["e0.bw", "e1.bw", "e2.bw"] * 2
    assert stanzas(folder / "genomes.txt") == [{"genome": "hg19", "trackDb": "hg19/trackDb.txt"}]
    low, high = map(float, tracks["epilstm_embedding_e0"]["viewLimits"].split(":"))
    values = [row[3][0] for row in small.rows()]
    np.testing.assert_allclose([low, high], np.percentile(values, [0.5, 99.5]), rtol=1e-4)


def test_a_hub_of_tracks_is_grouped_by_assay_and_cell_type(small, tmp_path):
    arguments = ["--what", "reconstruction", "--format", "hub", "--email", "someone@example.org"]
    folder = export_model(small, tmp_path / "out", *arguments)
    tracks = check_hub(folder)
    assert tracks["epilstm_reconstruction_A_H3K4me3"]["subGroups"] == "assay=H3K4me3 cell=A"
    colours = {name.rpartition("_")[2]: each["color"] for name, each in tracks.items()}
    assert colours["H3K4me3"] != colours["H3K27me3"]


def test_an_igv_session_names_every_file(small, tmp_path):
    from xml.etree import ElementTree

    folder = export(small, tmp_path / "out", "--format", "hub", "--email", "a@b.org", "--region", "chr2:3000-6000")
    session = ElementTree.parse(folder / "igv_session.xml").getroot()
    assert (session.tag, session.get("genome"), session.get("locus")) == ("Session", "hg19", "chr2:3001-6000")
    paths = [each.get("path") for each in session.iter("Resource")]
    assert paths == [each.get("id") for each in session.iter("Track")] == [f"hg19/e{n}.bw" for n in range(DIMENSIONS)]
    assert all((folder / path).is_file() for path in nonempty(paths))


def test_a_hub_of_an_assembly_that_ucsc_lacks_has_its_sequence(small, tmp_path, capsys):
    write_embeddings(tmp_path / "own", small.embedding, assembly="yeast/own.sizes")
    hub_of_own = ["--embeddings", str(tmp_path / "own"), "--format", "hub", "--to", str(tmp_path / "out")]
    hub_of_own += ["--email", "a@b.org"]
    assert "--genome NAME --two-bit URL" in refused(capsys, *hub_of_own)
    main(["export-tracks", *hub_of_own, "--genome", "ownYeast", "--two-bit", "ownYeast.2bit"])
    check_hub(tmp_path / "out")
    (genome,) = stanzas(tmp_path / "out" / "genomes.txt")
    assert (genome["genome"], genome["twoBitPath"], genome["defaultPos"]) == (
        "ownYeast",
        "ownYeast.2bit",
        "chr2:501-2000",
    )


def test_a_hub_opens_where_its_first_data_are(small, tmp_path):
    """The regions begin with bins without data, and on a chromosome that has none at all."""
    from xml.etree import ElementTree

    embedding = {chrom: values.copy() for chrom, values in small.embedding.items()}
    embedding["chr2"][:] = np.nan
    embedding["chr10"][:7] = np.nan
    write_embeddings(tmp_path / "own", embedding, assembly="own")
    hub_of_own = ["export-tracks", "--embeddings", str(tmp_path / "own"), "--format", "hub", "--email", "a@b.org"]
    main([*hub_of_own, "--genome", "ownYeast", "--two-bit", "own.2bit", "--to", str(tmp_path / "out")])
    (genome,) = stanzas(tmp_path / "out" / "genomes.txt")
    session = ElementTree.parse(tmp_path / "out" / "igv_session.xml").getroot()
    assert genome["defaultPos"] == session.get("locus") == "chr10:176-5010"


def test_axis_limits_are_of_evenly_spread_bins(monkeypatch):
    monkeypatch.setattr(hub, "SAMPLE_BINS", 100)
    limits, rows = hub.Limits(1), np.arange(5_000, dtype=np.float32)[:, None]
    for first in range(0, 5_000, 77):
        limits.add(rows[first : first + 77])
    ((low, high),) = limits.limits()
    assert low == 0
    assert high == pytest.approx(4_975, abs=70)


def test_pieces_are_no_larger_than_memory_allows(small):
    source = sources.Embeddings(small.embeddings)
    assert sum(len(piece.values) for piece in source.pieces()) == source.bins == 60 + 120 + 201


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--tracks", "e7"], "--tracks e7: no such dimension; there are e0 to e2"),
        (["--tracks", "3"], "no such dimension"),
        (["--region", "chr3:1-100"], "chromosome 'chr3' is not in assembly hg19"),
        (["--region", "chr2:2100-2200"], "has no bins there; the nearest region it has is chr2:500-2000"),
        (["--region", "chr2:100-100000"], "end at most 6,000"),
        (["--region", "chr2-100"], "chromosome 'chr2-100' is not in assembly"),
        (["--region", "chr2:1250-1400"], "none of the bins asked for has data"),
        (["--what", "imputation"], "--matrix is required"),
        (["--bed", "regions.bed"], "means over regions are for parquet and h5ad"),
    ],
)
def test_what_cannot_be_exported_is_reported(small, tmp_path, capsys, arguments, part):
    message = refused(
        capsys, "--embeddings", str(small.embeddings), "--to", str(tmp_path / "out"), "--format", "bigwig", *arguments
    )
    assert part in message
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize("email", [[], ["--email", "nobody"]])
def test_a_hub_needs_a_contact(small, tmp_path, capsys, email):
    where = ["--embeddings", str(small.embeddings), "--to", str(tmp_path / "out"), "--format", "hub"]
    assert "give an email address" in refused(capsys, *where, *email)


def test_a_misspelt_track_is_reported_with_similar_names(small, tmp_path, capsys):
    where = ["--matrix", str(small.matrix), "--model", str(small.model), "--to", str(tmp_path / "out")]
    message = refused(capsys, *where, "--what", "imputation", "--format", "bigwig", "--tracks", "A-H3K4me")
    assert "no such track, cell type or assay; did you mean A-H3K4me3" in message


def test_a_model_of_other_tracks_is_refused(small, tmp_path, capsys):
    other = tmp_path / "model"
    other.mkdir()
    manifest = json.loads((small.model / "manifest.json").read_text())
    manifest["scaler"]["tracks"][0] = "Z-H3K4me3"
    (other / "manifest.json").write_text(json.dumps(manifest))
    (other / "weights.safetensors").write_bytes((small.model / "weights.safetensors").read_bytes())
    where = ["--matrix", str(small.matrix), "--model", str(other), "--to", str(tmp_path / "out")]
    assert "does not belong" in refused(capsys, *where, "--what", "reconstruction", "--format", "bigwig")


def test_only_exported_tracks_are_replaced(small, tmp_path, capsys):
    target = export(small, tmp_path / "out", "--format", "parquet")
    where = ["--embeddings", str(small.embeddings), "--to", str(target), "--format", "bigwig"]
    assert "is there already; give another name, or --overwrite" in refused(capsys, *where)
    export(small, target, "--format", "bigwig", "--tracks", "0", "--overwrite")
    assert sorted(path.name for path in target.iterdir()) == ["e0.bw", "manifest.json"]
    at_the_matrix = ["--embeddings", str(small.embeddings), "--to", str(small.matrix), "--format", "bigwig"]
    assert "stands there, not tracks; choose another output path" in refused(capsys, *at_the_matrix)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("words")
    for place in (tmp_path / "thesis", small.matrix):
        where = ["--embeddings", str(small.embeddings), "--to", str(place), "--format", "bigwig", "--overwrite"]
        assert "stands there" in refused(capsys, *where)
    for place in (small.embeddings, small.embeddings / "tracks", small.folder):
        where = ["--embeddings", str(small.embeddings), "--to", str(place), "--format", "bigwig", "--overwrite"]
        assert "path of its own" in refused(capsys, *where)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "words"


def test_a_damaged_dataset_leaves_what_was_there(small, tmp_path, capsys):
    import shutil

    own = tmp_path / "embeddings"
    shutil.copytree(small.embeddings, own)
    target = tmp_path / "out"
    main(["export-tracks", "--embeddings", str(own), "--to", str(target), "--format", "bigwig"])
    before = (target / "e0.bw").read_bytes()
    shard = own / "embeddings.zarr" / "chr10" / "c" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-10])
    message = refused(capsys, "--embeddings", str(own), "--to", str(target), "--format", "bigwig", "--overwrite")
    assert "chr10" in message
    assert (target / "e0.bw").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embeddings", "out", "out.record.json"]


def test_a_full_disk_is_reported_and_leaves_nothing(small, tmp_path, capsys, monkeypatch):
    import errno

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gzip.GzipFile.write", full)
    where = ["--embeddings", str(small.embeddings), "--to", str(tmp_path / "out"), "--format", "bedgraph"]
    assert "no space left" in refused(capsys, *where)
    assert [*tmp_path.iterdir()] == []


def test_too_many_bins_for_an_anndata_are_refused(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(formats, "MAX_ANNDATA_ROWS", 100)
    where = ["--embeddings", str(small.embeddings), "--to", str(tmp_path / "out"), "--format", "h5ad"]
    assert "more than 100 bins are too many; give --region" in refused(capsys, *where)
