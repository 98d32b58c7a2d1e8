"""``epilstm client embed`` against the real server: what it writes is what the pipeline would have written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from epilstm.files.outputs import ENCODER, fingerprint
from epilstm.model.encoder_folder import STATEFUL_ENCODER
from epilstm.store.arrays import open_group
from epilstm.store.manifests import EmbeddingsManifest, read_manifest
from support.client.fixtures import REGIONS, SIZES, embedded
from support.serve.server_process import ServerProcess, embedding_of, export_encoder

#: The matrix is float16; the client's signal is not.
TOLERANCE = {"rtol": 0, "atol": 0.02}


def client(url: str, place, output: Path, *options: str, regions: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "epilstm", "client", "embed", "--url", url, "--bigwig-sheet", str(place.sheet)]
    command += ["--assembly", str(place.sizes), "--output", str(output), "--patience-s", "30"]
    command += ["--regions", str(place.regions)] if regions else []
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)


def embed(*arguments, **more) -> None:
    done = client(*arguments, **more)
    assert done.returncode == 0, done.stderr


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that reports a failure."""
    assert done.returncode in (1, 2), done.stderr
    *_, line = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in done.stderr
    return line


def values_of(dataset: Path) -> dict[str, np.ndarray]:
    return {chrom: np.asarray(open_group(dataset / "embeddings.zarr")[chrom][:]) for chrom, *_ in REGIONS}


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_dataset_is_that_of_the_pipeline(any_encoder, ingested, place, tmp_path, scheme):
    server = ServerProcess(tmp_path, any_encoder)
    try:
        port = {"http": server.http_port, "grpc": server.grpc_port}[scheme]
        options = ["--blacklist", str(place.blacklist), "--chunk-bins=700"]
        embed(f"{scheme}://127.0.0.1:{port}", place, tmp_path / "out.zarr", *options)
    finally:
        server.stop()
    pipeline = embedded(ingested, any_encoder, tmp_path)
    found, expected = values_of(tmp_path / "out.zarr"), values_of(pipeline)
    for chrom, _, end in REGIONS:
        bins = -(-end // 25)
        np.testing.assert_array_equal(np.isnan(found[chrom][:bins]), np.isnan(expected[chrom][:bins]))
        if not (any_encoder / STATEFUL_ENCODER).exists() and bins % 100:
            bins -= (
                200  # backwards, the pipeline comes from the bins that complete the last frame, the client from none
            )
        np.testing.assert_allclose(found[chrom][:bins], expected[chrom][:bins], **TOLERANCE)
        assert np.nanstd(expected[chrom][:bins]) > 20 * TOLERANCE["atol"]
    one, other = (read_manifest(folder, EmbeddingsManifest) for folder in (tmp_path / "out.zarr", pipeline))
    # This server says neither what its model was trained on nor the fields of its tracks.
    unknown = {"matrix_fingerprint": "", "split": None, "identities": None}
    assert one.model_dump() | unknown == other.model_dump() | unknown
    assert one.encoder_fingerprint == fingerprint(any_encoder)


def test_pieces_with_carried_state_are_one_unbroken_pass(server, encoder, place, tmp_path):
    from epilstm.genome.assembly import load_assembly, read_regions
    from epilstm.store.binned_track import Binning
    from epilstm.store.samplesheet_signal import ChromosomeSignal, files_of
    from support.export.small_model import SCALER

    embed(f"http://127.0.0.1:{server.http_port}", place, tmp_path / "out.zarr", "--stateful", "--chunk-bins=333")
    assembly = load_assembly(str(place.sizes))
    binning = Binning.of(assembly, read_regions(place.regions, assembly, 25), [], 25, "lz4")
    found = values_of(tmp_path / "out.zarr")
    for chrom, start, end in REGIONS:
        first, last = start // 25, -(-end // 25)
        with ChromosomeSignal(files_of(SCALER.track_set, place.sheet, tmp_path), binning, chrom) as signal:
            rows = signal.rows(first, last, last)
        expected = embedding_of(encoder / ENCODER, rows[None])[0]
        expected[np.isnan(rows).all(axis=1)] = np.nan
        np.testing.assert_allclose(found[chrom][first:last], expected, rtol=0, atol=2e-5)


@pytest.fixture(scope="module")
def dataset(server, place, tmp_path_factory) -> dict[str, np.ndarray]:
    output = tmp_path_factory.mktemp("dataset") / "out.zarr"
    embed(f"http://127.0.0.1:{server.http_port}", place, output)
    return values_of(output)


def test_a_table_has_a_row_per_bin_with_data(server, place, tmp_path, dataset):
    embed(f"http://127.0.0.1:{server.http_port}", place, tmp_path / "out.tsv", "--in-flight=1")
    head, *lines = (tmp_path / "out.tsv").read_text().splitlines()
    assert head == "#chrom\tstart\tend\te0\te1\te2"
    rows = [line.split("\t") for line in lines]
    expected = [
        (chrom, number * 25, min(number * 25 + 25, SIZES[chrom]), values)
        for chrom in dataset
        for number, values in enumerate(dataset[chrom])
        if not np.isnan(values[0])
    ]
    assert [(row[0], int(row[1]), int(row[2])) for row in rows] == [row[:3] for row in expected]
    found = np.array([row[3:] for row in rows], np.float32)
    np.testing.assert_array_equal(found, np.stack([row[3] for row in expected]))
    assert (rows[-1][0], int(rows[-1][2])) == ("chr10", 40_010)


def test_bigwigs_hold_a_number_each(server, place, tmp_path, dataset):
    embed(f"grpc://127.0.0.1:{server.grpc_port}", place, tmp_path / "out.bw")
    assert sorted(path.name for path in (tmp_path / "out.bw").iterdir()) == ["e0.bw", "e1.bw", "e2.bw", "manifest.json"]
    for number in range(3):
        with pyBigWig.open(str(tmp_path / "out.bw" / f"e{number}.bw")) as file:
            assert file.chroms() == SIZES
            for chrom, values in dataset.items():
                bases = np.array(file.values(chrom, 0, SIZES[chrom]), np.float32)
                expected = np.repeat(values[: -(-SIZES[chrom] // 25), number], 25)[: SIZES[chrom]]
                np.testing.assert_array_equal(bases, expected)


def test_regions_of_the_command_line_are_widened_to_whole_bins(server, place, tmp_path):
    url = f"http://127.0.0.1:{server.http_port}"
    embed(url, place, tmp_path / "a.tsv", "--region=chr9:70,010-70,060", "--region", "chr10", regions=False)
    starts = [int(line.split()[1]) for line in (tmp_path / "a.tsv").read_text().splitlines() if line.startswith("chr9")]
    assert set(starts) <= {70_000, 70_025, 70_050}
    record = json.loads((tmp_path / "a.tsv.record.json").read_text())
    assert record["regions"] == [["chr9", 70_000, 70_075], ["chr10", 0, 40_010]]
    assert record["model"]["version"] == server.version


def test_the_same_request_gives_the_same_bytes(server, place, tmp_path):
    for name in ("a.tsv", "b.tsv"):
        embed(f"http://127.0.0.1:{server.http_port}", place, tmp_path / name, "--in-flight=8")
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()


def test_over_tls_with_a_token(encoder, place, certificate, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "wrong").write_text("other\n")
    token = f"--token-file={tmp_path / 'token'}"
    server = ServerProcess(tmp_path, encoder, token, f"--tls-cert={certificate[0]}", f"--tls-key={certificate[1]}")
    trust = f"--ca-file={certificate[0]}"
    try:
        for url in (f"https://localhost:{server.http_port}", f"grpcs://localhost:{server.grpc_port}"):
            embed(url, place, tmp_path / f"{url[:4]}.tsv", token, trust)
            wrong = client(url, place, tmp_path / "no.tsv", f"--token-file={tmp_path / 'wrong'}", trust)
            assert "a bearer token is needed" in error_of(wrong)
        distrusted = client(f"https://localhost:{server.http_port}", place, tmp_path / "no.tsv", token)
        assert "--ca-file" in error_of(distrusted)
    finally:
        server.stop()
    assert (tmp_path / "http.tsv").read_bytes() == (tmp_path / "grpc.tsv").read_bytes()
    assert not list(tmp_path.glob("*no.tsv*"))
    assert "s3cret" not in "".join(path.read_text() for path in tmp_path.glob("*.record.json"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "grpc://127.0.0.1:1"])
def test_a_server_that_is_not_there_is_reported_in_one_line(place, tmp_path, url):
    message = error_of(client(url, place, tmp_path / "out.tsv", "--patience-s=0.1"))
    assert url in message
    assert "given up after 0.1 s" in message


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--output", "{folder}/out.txt"], "name it .tsv"),
        (["--region", "chr9:1-2"], "give --region"),
        (["--url", "ftp://x"], "not the URL of a server"),
        (["--url", "http://user:secret@host"], "holds a name or password"),
        (["--url", "grpc://host"], "has no port"),
        (["--ca-file", "x"], "--ca-file needs https://"),
        (["--assembly", "hg19"], "chromosome 'chr9' is|but 141213431 in hg19|past the end|wrong assembly"),
        (["--bigwig-sheet", "{folder}/few.csv"], "7 of the model's 7 tracks"),
    ],
)
def test_what_cannot_be_is_reported_in_one_line(server, place, tmp_path, options, problem):
    (tmp_path / "few.csv").write_text("cell_type,assay,uri\nA,B,C.bw\n")
    (tmp_path / "out.tsv").write_text("old")
    filled = [option.format(folder=tmp_path) for option in options]
    done = client(f"http://127.0.0.1:{server.http_port}", place, tmp_path / "out.tsv", "--overwrite", *filled)
    assert re.search(problem, error_of(done)), done.stderr
    assert "secret" not in done.stderr
    assert (tmp_path / "out.tsv").read_text() == "old"
    assert not list(tmp_path.glob(".out*"))


def test_a_server_of_a_single_file_does_not_make_datasets(encoder, place, tmp_path):
    server = ServerProcess(tmp_path, encoder / ENCODER)
    try:
        url = f"http://127.0.0.1:{server.http_port}"
        assert "does not say which it has" in error_of(client(url, place, tmp_path / "out.zarr"))
        embed(url, place, tmp_path / "out.tsv")
    finally:
        server.stop()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_one_cell_types_code_is_asked_for_alone(place, tmp_path, scheme):
    """Of an encoder that cell types share; named and valued as among all numbers."""
    server = ServerProcess(tmp_path, export_encoder(tmp_path, "by cell type with context"))
    try:
        url = f"{scheme}://127.0.0.1:{ {'http': server.http_port, 'grpc': server.grpc_port}[scheme] }"
        embed(url, place, tmp_path / "all.zarr")
        embed(url, place, tmp_path / "one.zarr", "--dimensions=E116")
        unknown = error_of(client(url, place, tmp_path / "none.zarr", "--dimensions=E117"))
    finally:
        server.stop()
    every, one = (read_manifest(tmp_path / name, EmbeddingsManifest) for name in ("all.zarr", "one.zarr"))
    assert one.cell_types == ["E116"]
    assert one.names == [every.names[column] for column in every.code_columns["E116"]]
    whole, values = values_of(tmp_path / "all.zarr"), values_of(tmp_path / "one.zarr")
    for chrom, *_ in REGIONS:
        np.testing.assert_array_equal(values[chrom], whole[chrom][:, every.code_columns["E116"]])
    assert "--dimensions E117: no number 'E117'" in unknown
    assert not (tmp_path / "none.zarr").exists()
