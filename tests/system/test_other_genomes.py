"""A genome of our own, other bins, and assays that take transforms of their own, through the real steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pyBigWig
import pytest
import yaml

from epilstm.errors import EpilstmError
from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS
from epilstm.store.arrays import open_group
from epilstm.store.manifests import Scaler

#: Names as Ensembl, yeast's and RefSeq's; no length is of whole bins.
SIZES = {"I": 30_007, "II": 20_003, "Mito": 10_001, "NC_001135.5_alt": 15_050}
ASSAYS = {"H3K4me3": "", "ATAC": "log1p", "WGBS": "none"}


def write_track(path: Path, assay: str, rng: np.random.Generator) -> None:
    """Runs of 20 bp with gaps, or single CpGs with the fraction that is methylated."""
    with pyBigWig.open(str(path), "w") as bigwig:
        bigwig.addHeader(list(SIZES.items()))
        for chrom, size in SIZES.items():
            step, span = (37, 1) if assay == "WGBS" else (20, 20)
            starts = np.arange(0, size - span, step)
            level = 1 + np.sin(starts / 1_500)
            values = rng.binomial(10, level / 2) / 10 if assay == "WGBS" else rng.poisson(3 * level).astype(float)
            kept = np.full(len(starts), True) if assay == "WGBS" else values > 0
            bigwig.addEntries(
                [chrom] * int(kept.sum()), starts[kept].tolist(), ends=(starts[kept] + span).tolist(),
                values=values[kept].tolist(),
            )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("yeast")
    (folder / "chrom.sizes").write_text("".join(f"{chrom}\t{size}\n" for chrom, size in SIZES.items()))
    rng = np.random.default_rng(0)
    rows = ["cell_type,assay,uri,transform"]
    for assay, transform in ASSAYS.items():
        write_track(folder / f"wt-{assay}.bw", assay, rng)
        rows.append(f"wt,{assay},wt-{assay}.bw,{transform}")
    (folder / "samplesheet.csv").write_text("\n".join(rows) + "\n")
    return folder


def params(data: Path, **ingest: object) -> dict[str, dict]:
    return {
        "ingest": {"assembly": str(data / "chrom.sizes"), "workers": 1, **ingest},
        "preprocess": {"split": {"validation": ["Mito"], "test": ["NC_001135.5_alt"]}, "workers": 1},
        "train": {"embedding_size": 2, "context_size": 0, "hidden_size": 4, "epochs": 1, "streams": 2, "threads": 1},
        "export": {"triton": False},
        "embed": {"threads": 1},
    }


def run(folder: Path, content: dict[str, dict], name: str, **paths: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    run_step(STEPS[name], folder / "params.yaml", paths, frozenset())


@pytest.mark.parametrize("bin_size", [10, 200])
def test_a_genome_of_ones_own_is_embedded_in_bins_of_any_size(data: Path, tmp_path: Path, bin_size: int) -> None:
    content = params(data, bin_size=bin_size)
    names = ("signal", "matrix", "model", "encoder", "embeddings")
    signal, matrix, model, encoder, embeddings = (tmp_path / name for name in names)
    run(tmp_path, content, "ingest", samplesheet=data / "samplesheet.csv", signal=signal)
    run(tmp_path, content, "preprocess", signal=signal, matrix=matrix)
    run(tmp_path, content, "train", matrix=matrix, model=model)
    run(tmp_path, content, "export", model=model, encoder=encoder)
    run(tmp_path, content, "embed", matrix=matrix, encoder=encoder, embeddings=embeddings)

    scaler = Scaler.model_validate_json((matrix / "scaler.json").read_text())
    assert scaler.transforms == ["arcsinh", "log1p", "none"]
    assert scaler.uncovered_bases == ["zero", "zero", "missing"]
    session = onnxruntime.InferenceSession(str(encoder / "encoder.onnx"), providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    assert (said["bin_size"], json.loads(said["transform"])) == (str(bin_size), scaler.transforms)
    for chrom, size in SIZES.items():
        bins = -(-size // bin_size)
        raw = np.asarray(open_group(signal / "signal.zarr")[chrom][:], np.float32)
        assert raw.shape == (3, bins)
        (expected,) = session.run(["embedding"], {"signal": raw.T[None]})
        known = ~np.isnan(raw).all(axis=0)
        found = np.asarray(open_group(embeddings / "embeddings.zarr")[chrom][:bins])
        np.testing.assert_array_equal(np.isnan(found).any(axis=1), ~known)
        # The matrix, which embed reads, is in float16.
        np.testing.assert_allclose(found[known], expected[0][known], atol=0.02 * expected[0][known].std())


def test_a_matrix_of_other_bins_than_the_encoders_is_refused(data: Path, tmp_path: Path) -> None:
    for bin_size in (50, 100):
        content, place = params(data, bin_size=bin_size), tmp_path / str(bin_size)
        run(place, content, "ingest", samplesheet=data / "samplesheet.csv", signal=place / "signal")
        run(place, content, "preprocess", signal=place / "signal", matrix=place / "matrix")
    run(tmp_path, content, "train", matrix=tmp_path / "100" / "matrix", model=tmp_path / "model")
    run(tmp_path, content, "export", model=tmp_path / "model", encoder=tmp_path / "encoder")
    paths = {"matrix": tmp_path / "50" / "matrix", "encoder": tmp_path / "encoder"}
    with pytest.raises(EpilstmError, match="bins are 50 bp in the matrix, 100 bp in the encoder"):
        run(tmp_path, content, "embed", **paths, embeddings=tmp_path / "embeddings")


def test_tracks_of_another_assembly_are_refused_in_one_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(EpilstmError, match=r"wt-H3K4me3.*none of the regions' chromosomes \(chr1.* is in the file"):
        run(
            tmp_path, params(data, assembly="mm10"), "ingest",
            samplesheet=data / "samplesheet.csv", signal=tmp_path / "signal",
        )  # fmt: skip
    sizes = tmp_path / "other.sizes"
    sizes.write_text((data / "chrom.sizes").read_text().replace("30007", "30008"))
    with pytest.raises(
        EpilstmError, match=r"chromosome I is 30007 bp in the file but 30008 in .*: leave it out of the regions"
    ):
        run(
            tmp_path, params(data, assembly=str(sizes)), "ingest",
            samplesheet=data / "samplesheet.csv", signal=tmp_path / "signal",
        )  # fmt: skip
