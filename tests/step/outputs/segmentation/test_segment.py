"""``epilstm segment``: planted states are found, distinguished, named, and compared with genes."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from epilstm.cli import main
from epilstm.genome.assembly import bed_intervals
from support.nonempty import nonempty
from support.segment.planted_states import (
    BIN,
    GAP,
    GENE,
    LENGTH,
    PERIOD,
    PROMOTER,
    QUIET,
    SIGNAL,
    SIZES,
    PlantedStates,
)
from support.tracks.small_epigenome import write_embeddings

BED9 = ["chrom", "start", "end", "name", "score", "strand", "thick_start", "thick_end", "rgb"]


def segment(planted: PlantedStates, to: Path, *arguments: str, states: int = 3) -> Path:
    where = ["--embeddings", str(planted.embeddings), "--segmentation", str(to), "--states", str(states)]
    main(["segment", *where, "--overwrite", *arguments])
    return to


def with_all(planted: PlantedStates, *more: str) -> list[str]:
    return ["--matrix", str(planted.matrix), "--annotation", str(planted.annotation), *more]


def refused(capsys, *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["segment", *arguments])
    assert ended.value.code in (1, 2)
    err = [line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("error")]
    assert len(err) == 1
    return err[0]


def read_bed(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "segmentation.bed", sep="\t", header=None, names=BED9, skiprows=1)


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.tsv", sep="\t", index_col="state")


def states_of(folder: Path) -> dict[str, np.ndarray]:
    """State (from 1) of every bin, 0 where there is no segment."""
    found = {chrom: np.zeros(-(-size // BIN), int) for chrom, size in SIZES.items()}
    for row in read_bed(folder).itertuples():
        found[row.chrom][row.start // BIN : -(-row.end // BIN)] = int(row.name[1:].partition("_")[0])
    return found


@pytest.fixture(scope="module", params=["multiscale", "kmeans", "hmm"])
def segmented(request, planted, tmp_path_factory) -> Path:
    return segment(
        planted, tmp_path_factory.mktemp("out") / request.param, *with_all(planted), "--method", request.param
    )


def test_planted_states_are_found_on_chromosomes_that_were_not_fitted_on(segmented, planted):
    least = 0.95 if segmented.name == "multiscale" else 0.98  # means over 1 kb blur the edges of states
    assert json.loads((segmented / "manifest.json").read_text())["fitted_chromosomes"] == ["chr1"]
    found = states_of(segmented)
    for chrom, truth in nonempty(planted.truth.items()):
        there = truth >= 0
        assert (found[chrom][~there] == 0).all()
        assert (found[chrom][there] - 1 == truth[there]).mean() > least, chrom


def test_the_segmentation_is_strict_bed9(segmented):
    lines = (segmented / "segmentation.bed").read_text().splitlines()
    assert re.fullmatch(r'track name="[^"]+" description="[^"]+" visibility=1 itemRgb="On"', lines[0])
    end_of: dict[str, int] = {}
    for line in lines[1:]:
        fields = line.split("\t")
        assert len(fields) == 9
        chrom, start, end, name, score, strand, thick_start, thick_end, rgb = fields
        assert 0 <= int(start) < int(end) <= SIZES[chrom]
        assert int(start) >= end_of.get(chrom, 0)
        assert name in ("E1_TssA", "E2_Tx", "E3_Quies")
        assert (score, strand, thick_start, thick_end) == ("0", ".", start, end)
        assert re.fullmatch(r"\d+,\d+,\d+", rgb)
        assert max(map(int, rgb.split(","))) <= 255
        end_of[chrom] = int(end)
    assert end_of == {"chr1": 100_000, "chr2": 50_010}
    assert len([*bed_intervals(segmented / "segmentation.bed")]) == len(lines) - 1


def test_neighbouring_segments_differ_in_state_and_each_state_has_one_colour(segmented):
    bed = read_bed(segmented)
    touching = (bed.start.to_numpy()[1:] == bed.end.to_numpy()[:-1]) & (bed.chrom.to_numpy()[1:] == bed.chrom[:-1])
    assert (bed.name.to_numpy()[1:] != bed.name.to_numpy()[:-1])[touching].all()
    assert bed.groupby("name").rgb.nunique().eq(1).all()
    assert bed.rgb.nunique() == 3
    assert table(segmented, "states").rgb.to_dict() == dict(zip(bed.name, bed.rgb, strict=True))


def test_states_go_by_how_much_they_are_at_transcription_starts(segmented):
    enrichment = table(segmented, "enrichment")
    assert [*enrichment.index] == ["E1_TssA", "E2_Tx", "E3_Quies", "Base"]
    assert enrichment.TSS_2kb[:3].is_monotonic_decreasing
    assert enrichment.TSS["E1_TssA"] > 4


def test_states_are_named_and_coloured_by_the_marks_they_carry(segmented):
    states = table(segmented, "states")
    assert states.rgb.to_dict() == {"E1_TssA": "255,0,0", "E2_Tx": "0,128,0", "E3_Quies": "255,255,255"}
    assert states.label.to_list() == ["active TSS", "strong transcription", "quiescent, low signal"]
    assert states.marks["E1_TssA"].startswith("H3K4me3 ")
    key = json.loads((segmented / "manifest.json").read_text())["key"]
    assert [(each["state"], each["rgb"]) for each in key[:1]] == [("E1_TssA", [255, 0, 0])]


def test_the_emission_table_is_the_mean_raw_signal(segmented):
    emissions = table(segmented, "emissions")
    atol = 0.7 if segmented.name == "multiscale" else 0.12  # means over 1 kb blur the edges of states
    assert [*emissions.columns] == ["A-H3K4me3", "A-H3K36me3"]
    np.testing.assert_allclose(emissions, np.sinh(SIGNAL[[PROMOTER, GENE, QUIET]]), atol=atol)


def test_the_enrichment_table_is_that_of_every_base_counted(segmented, planted):
    """Against a count base by base of the written segments and of the genes they were made with."""
    state, feature = {}, {}
    for chrom, size in SIZES.items():
        state[chrom] = np.repeat(states_of(segmented)[chrom], BIN)[:size]
        names = ("TSS", "TSS_2kb", "TES", "gene_body", "exon")
        feature[chrom] = {name: np.zeros(size, bool) for name in names}
        for number, start in enumerate(range(1_500, size - PERIOD, PERIOD)):
            end = start + LENGTH
            tss, tes = (start, end - 1) if number % 2 == 0 else (end - 1, start)
            feature[chrom]["TSS"][tss] = feature[chrom]["TES"][tes] = True
            feature[chrom]["TSS_2kb"][max(tss - 2_000, 0) : tss + 2_001] = True
            feature[chrom]["gene_body"][start:end] = True
            feature[chrom]["exon"][start : start + 500] = True
        feature[chrom]["intergenic"] = ~feature[chrom]["gene_body"]
    states = np.concatenate([*state.values()])
    enrichment = table(segmented, "enrichment")
    segmented_bases = (states > 0).sum()
    assert {*enrichment.columns} == {"genome_percent", *feature["chr1"]}
    for name in nonempty(feature["chr1"]):
        there = np.concatenate([each[name] for each in feature.values()])
        share = there[states > 0].sum() / segmented_bases
        for number, state_name in enumerate(enrichment.index[:3], start=1):
            expected = there[states == number].mean() / share
            assert enrichment[name][state_name] == pytest.approx(expected, rel=1e-4), name
        assert enrichment[name]["Base"] == pytest.approx(100 * share, rel=1e-4)
    assert enrichment.genome_percent["E1_TssA"] == pytest.approx(100 * (states == 1).sum() / segmented_bases, rel=1e-4)


def test_the_states_table_counts_what_is_in_the_bed(segmented):
    bed, states = read_bed(segmented), table(segmented, "states")
    lengths = (bed.end - bed.start).groupby(bed.name)
    assert states.bases.to_dict() == lengths.sum().to_dict()
    assert states.segments.to_dict() == lengths.count().to_dict()
    assert states.median_length.to_dict() == lengths.median().to_dict()
    assert states.share.sum() == pytest.approx(1, abs=1e-5)


def test_the_heat_map_is_a_picture(segmented):
    from matplotlib import image

    pixels = image.imread(segmented / "states.png")
    assert min(pixels.shape[:2]) > 200
    assert len(np.unique(pixels[..., 0])) > 50


def test_transitions_of_the_hmm_are_probabilities_that_mostly_stay(planted, tmp_path):
    transitions = table(segment(planted, tmp_path / "out", "--method", "hmm"), "transitions").to_numpy()
    np.testing.assert_allclose(transitions.sum(axis=1), 1, atol=1e-4)
    assert (np.diag(transitions) > 0.8).all()
    assert not (segment(planted, tmp_path / "out", "--method", "kmeans") / "transitions.tsv").exists()


@pytest.mark.parametrize("method", ["multiscale", "kmeans", "hmm"])
def test_the_same_input_gives_the_same_bytes(planted, tmp_path, method):
    one, other = (segment(planted, tmp_path / name, *with_all(planted), "--method", method) for name in ("a", "b"))
    for file in nonempty(sorted(path.name for path in one.iterdir())):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


@pytest.mark.parametrize("method", ["multiscale", "kmeans", "hmm"])
def test_pieces_of_any_size_give_the_same_segmentation(planted, tmp_path, monkeypatch, method):
    whole = segment(planted, tmp_path / "whole", "--method", method)
    monkeypatch.setattr("epilstm.outputs.segmentation.states.BLOCK_BINS", 700)
    cut = segment(planted, tmp_path / "cut", "--method", method)
    assert (whole / "segmentation.bed").read_text() == (cut / "segmentation.bed").read_text()


def test_segments_are_as_long_as_asked(planted, tmp_path):
    shortest = {}
    for least in (1, 8, 30):
        bed = read_bed(segment(planted, tmp_path / str(least), "--min-bins", str(least), "--method", "kmeans"))
        inner = bed[(bed.end != 50_010)]
        shortest[least] = (inner.end - inner.start).min() // BIN
        # Nothing is joined across the gap, and no bin is lost.
        assert not ((bed.chrom == "chr1") & (bed.start < GAP.stop * BIN) & (bed.end > GAP.start * BIN)).any()
        assert (bed.end - bed.start).sum() == 60_000 - 500 + 30_000 + 50_010
    assert shortest[1] == 1
    assert shortest[8] >= 8
    assert shortest[30] >= 30


def test_without_annotation_and_matrix_states_go_by_likeness(planted, tmp_path, capsys):
    folder = segment(planted, tmp_path / "out")
    expected = {"manifest.json", "segmentation.bed", "states.tsv", "embedding.tsv", "states.png"}
    assert {path.name for path in folder.iterdir()} == expected
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["ordered_by"], manifest["fitted_chromosomes"]) == ("similarity", ["chr1", "chr2"])
    assert (
        "on 5,581 bins of all chromosomes (nothing says which of them the model was trained on)"
        in capsys.readouterr().err
    )
    assert [*table(folder, "states").index] == ["E1", "E2", "E3"]
    means = table(folder, "embedding").to_numpy()
    assert means.mean(axis=1)[0] == max(means.mean(axis=1)[[0, -1]])


def test_the_embeddings_know_what_their_model_was_trained_on(planted, tmp_path, capsys):
    own = tmp_path / "embeddings"
    shutil.copytree(planted.embeddings, own)
    manifest = json.loads((own / "manifest.json").read_text())
    manifest["split"] = {"train": ["chr2"], "validation": [], "test": ["chr1"]}
    (own / "manifest.json").write_text(json.dumps(manifest))
    for more in ([], ["--matrix", str(planted.matrix)]):  # whose own split says chr1
        main(
            [
                "segment",
                "--embeddings",
                str(own),
                "--segmentation",
                str(tmp_path / "out"),
                "--states",
                "3",
                "--overwrite",
                *more,
            ]
        )
        assert json.loads((tmp_path / "out" / "manifest.json").read_text())["fitted_chromosomes"] == ["chr2"]
    assert "bins of the training chromosomes" in capsys.readouterr().err
    manifest["split"]["train"] = ["chr7"]
    (own / "manifest.json").write_text(json.dumps(manifest))
    segment(replace(planted, folder=tmp_path), tmp_path / "out")
    assert "all chromosomes (no region on one that the model was trained on: chr7)" in capsys.readouterr().err


def test_intervals_with_data_shorter_than_a_segment_have_none_at_gaps_and_ends(tmp_path, capsys):
    rows = np.where(np.arange(2_000)[:, None] % 200 < 100, [4.0, 0.0], [0.0, 4.0]).astype(np.float32)
    rows[100:105] = rows[112:120] = rows[1_990:1_995] = np.nan  # so that 105 to 112 and 1995 to 2000 are 7 and 5 long
    write_embeddings(tmp_path / "gappy", {"chr1": rows}, {"chr1": 50_000}, [("chr1", 0, 50_000)])
    where = ["--embeddings", str(tmp_path / "gappy"), "--segmentation", str(tmp_path / "out")]
    main(["segment", *where, "--states", "2"])
    bed = read_bed(tmp_path / "out")
    assert (bed.end - bed.start).min() >= 8 * BIN
    covered = np.zeros(2_000, bool)
    for row in bed.itertuples():
        covered[row.start // BIN : row.end // BIN] = True
    assert np.flatnonzero(~covered).tolist() == [*range(100, 120), *range(1_990, 2_000)]
    assert (
        "12 bins have no segment: they lie in intervals with data shorter than --min-bins 8" in capsys.readouterr().err
    )


def test_a_gzipped_annotation_without_gene_lines_is_read_by_its_transcripts(planted, tmp_path):
    plain = segment(planted, tmp_path / "plain", *with_all(planted))
    compressed = tmp_path / "transcripts.gtf.gz"
    with gzip.open(compressed, "wt") as file:
        file.write(planted.annotation.read_text().replace("\tgene\t", "\ttranscript\t"))
    other = segment(planted, tmp_path / "other", "--matrix", str(planted.matrix), "--annotation", str(compressed))
    assert (plain / "enrichment.tsv").read_text() == (other / "enrichment.tsv").read_text()


@pytest.mark.parametrize(
    ("annotation", "part"),
    [
        ("", "no gene, transcript or exon lines"),
        ("chr1\tgene\t1\n", "genes.gtf:1: expected the 9 tab-separated columns of GTF, got 3"),
        ("chr1\tx\tgene\t0\t10\t.\t+\t.\tid\n", "genes.gtf:1: expected 1 <= start <= end, got '0' and '10'"),
        ("1\tx\tgene\t1\t10\t.\t+\t.\tid\n", "none of its chromosomes (1) is in the embeddings (chr1, chr2)"),
        (None, "no such file"),
        (b"\x1f\x8b\x00\xff", "cannot be read as GTF"),
    ],
)
def test_an_unusable_annotation_is_reported(planted, tmp_path, capsys, annotation, part):
    path = tmp_path / "genes.gtf"
    if isinstance(annotation, bytes):
        path.write_bytes(annotation)
    elif annotation is not None:
        path.write_text(annotation)
    where = ["--embeddings", str(planted.embeddings), "--segmentation", str(tmp_path / "out")]
    assert part in refused(capsys, *where, "--annotation", str(path))
    assert not (tmp_path / "out").exists()


def test_a_matrix_of_other_bins_is_refused(planted, small, tmp_path, capsys):
    where = ["--embeddings", str(planted.embeddings), "--segmentation", str(tmp_path / "out")]
    assert "its bins are not those of the embeddings" in refused(capsys, *where, "--matrix", str(small.matrix))


def test_more_states_than_the_bins_carry_are_refused(tmp_path, capsys):
    rows = np.full((40, 2), np.nan, np.float32)
    rows[:30] = np.arange(60).reshape(30, 2)
    write_embeddings(tmp_path / "few", {"chr1": rows}, {"chr1": 1_000}, [("chr1", 0, 1_000)])
    where = ["--embeddings", str(tmp_path / "few"), "--segmentation", str(tmp_path / "out")]
    assert "give --states 3 or fewer" in refused(capsys, *where)


@pytest.mark.parametrize("method", ["multiscale", "kmeans", "hmm"])
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_embeddings_that_are_all_alike_have_no_states(tmp_path, capsys, method):
    rows = {"chr1": np.ones((400, 2), np.float32)}
    write_embeddings(tmp_path / "alike", rows, {"chr1": 10_000}, [("chr1", 0, 10_000)])
    where = ["--embeddings", str(tmp_path / "alike"), "--segmentation", str(tmp_path / "out")]
    assert "all alike" in refused(capsys, *where, "--states", "3", "--method", method)
    assert not (tmp_path / "out").exists()


def test_embeddings_without_any_data_are_refused(tmp_path, capsys):
    rows = {"chr1": np.full((40, 2), np.nan, np.float32)}
    write_embeddings(tmp_path / "none", rows, {"chr1": 1_000}, [("chr1", 0, 1_000)])
    where = ["--embeddings", str(tmp_path / "none"), "--segmentation", str(tmp_path / "out")]
    assert (
        "no bin of all chromosomes (nothing says which of them the model was trained on) has an embedding"
        in refused(capsys, *where)
    )


def test_an_embeddings_dataset_is_not_written_over(planted, capsys):
    where = ["--embeddings", str(planted.embeddings), "--segmentation", str(planted.embeddings)]
    without_option = refused(capsys, *where)
    assert "stands there, not segmentation; choose another output path" in without_option
    assert "--overwrite" not in without_option
    assert "path of its own" in refused(capsys, *where, "--overwrite")
    assert (planted.embeddings / "manifest.json").is_file()
