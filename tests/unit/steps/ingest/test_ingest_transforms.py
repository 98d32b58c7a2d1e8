"""Each track is counted after its own transform, and binned as its uncovered bases want."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from epilstm.errors import TrackError
from epilstm.store.arrays import open_group
from epilstm.store.manifests import SignalManifest, read_manifest
from support.ingest.bigwig_files import write_bigwig
from support.ingest.epigenome import SIZES, Epigenome

#: Methylation of single CpGs, some of them in one bin.
CPGS = {"chr9": [(3, 4, 1.0), (20, 21, 0.5), (110, 111, 0.25)], "chr10": [(20_001, 20_002, 0.0)]}


@pytest.fixture
def toy(tmp_path: Path) -> Epigenome:
    toy = Epigenome(tmp_path / "in")
    for number, (name, transform) in enumerate({"liver-DNase": "", "liver-ATAC": "log1p"}.items()):
        toy.add(name, number)
        toy.rows.pop()
        toy.list_row(name, f"bigwig/{name}.bigwig", transform=transform)
    write_bigwig(toy.bigwig("liver-WGBS"), SIZES, CPGS)
    toy.list_row("liver-WGBS", "bigwig/liver-WGBS.bigwig", transform="none")
    return toy


def test_the_manifest_says_how_each_track_is_treated(toy: Epigenome, tmp_path: Path) -> None:
    toy.ingest(tmp_path / "signal")
    tracks = read_manifest(tmp_path / "signal", SignalManifest).tracks
    assert [(track.transform, track.uncovered) for track in tracks] == [
        ("arcsinh", "zero"), ("log1p", "zero"), ("none", "missing")
    ]  # fmt: skip


def test_moments_are_of_the_transformed_signal_where_a_file_covers_it(toy: Epigenome, tmp_path: Path) -> None:
    toy.treat_uncovered_as("gap")
    toy.ingest(tmp_path / "signal")
    signal = open_group(tmp_path / "signal" / "signal.zarr")
    tracks = read_manifest(tmp_path / "signal", SignalManifest).tracks
    for row, forward in enumerate([np.arcsinh, np.log1p, np.positive]):
        for chrom in SIZES:
            values = np.asarray(signal[chrom][row], float)
            values = forward(values[~np.isnan(values)])
            expected = (len(values), values.sum(), (values**2).sum())
            np.testing.assert_allclose(tracks[row].moments[chrom], expected, rtol=1e-6)


def test_methylation_of_a_bin_is_the_mean_of_its_cpgs(toy: Epigenome, tmp_path: Path) -> None:
    toy.ingest(tmp_path / "signal")
    methylation = open_group(tmp_path / "signal" / "signal.zarr")["chr9"][2]
    np.testing.assert_array_equal(methylation[:6], [0.75, np.nan, np.nan, np.nan, 0.25, np.nan])


def test_another_transform_is_not_taken_from_the_cache(toy: Epigenome, tmp_path: Path) -> None:
    toy.ingest(tmp_path / "one", cache=tmp_path / "cache")
    toy.rows[0] = toy.rows[0].replace("DNase,", "DNase,", 1) + "log1p"
    toy.rows[1] = toy.rows[1].removesuffix("log1p")
    sheet = toy.folder / "samplesheet.csv"
    sheet.write_text("\n".join(["cell_type,assay,uri,sha256,transform", *toy.rows]) + "\n")
    result = toy.ingest(tmp_path / "cached", cache=tmp_path / "cache")
    toy.ingest(tmp_path / "fresh")
    assert result.metrics["tracks_read"] == 2
    assert read_manifest(tmp_path / "cached", SignalManifest) == read_manifest(tmp_path / "fresh", SignalManifest)


def test_signal_below_0_is_refused_under_log1p(toy: Epigenome, tmp_path: Path) -> None:
    write_bigwig(toy.bigwig("lung-ATAC"), SIZES, {"chr9": [(0, 50, 3.0), (100, 125, -2.5)]})
    toy.list_row("lung-ATAC", "bigwig/lung-ATAC.bigwig", transform="log1p")
    with pytest.raises(
        TrackError,
        match=r"^track lung-ATAC: .*chr9: signal below 0 \(-2.5 at base 100, in 1 bins\), which log1p",
    ):
        toy.ingest(tmp_path / "signal")
