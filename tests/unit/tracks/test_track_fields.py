"""Cell type, assay and replicate on their way from the samplesheet to every output."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epilstm.cli import main
from epilstm.files.outputs import ENCODER
from epilstm.model.encoder_folder import read_encoder_manifest
from epilstm.model.folder import read_model_manifest
from epilstm.serving.client.connection import ServedModel
from epilstm.serving.client.streaming import ServedEncoder
from epilstm.steps.export.triton import field_metadata
from epilstm.store.manifests import (
    EmbeddingsManifest,
    MatrixManifest,
    Scaler,
    SignalManifest,
    TrackEntry,
    read_manifest,
)
from epilstm.tracks.identity import TrackIdentity, TrackSet, file_name, symbol
from epilstm.tracks.samplesheet import Track, read_samplesheet, write_samplesheet
from support.nonempty import nonempty

SIZES = {"chr1": 50_000, "chr2": 20_000, "chr3": 20_000}

#: The value of a track in its n-th block of 500 bases is like no other track's.
TRACKS = [
    TrackIdentity("K562", "ATAC-seq"),
    TrackIdentity("K562", "NKX2-1"),
    TrackIdentity("T cell", "ATAC-seq", "1"),
    TrackIdentity("T cell", "ATAC-seq", "2"),
    TrackIdentity("A-B", "C"),
    TrackIdentity("A", "B-C"),
    TrackIdentity("a b", "H3K27ac"),
    TrackIdentity("a_b", "H3K27ac"),
    TrackIdentity("Ζέα, ../é", 'μ"|%2d'),
]
NAMES = [
    "K562-ATAC-seq",
    "K562-NKX2-1",
    "T cell-ATAC-seq-1",
    "T cell-ATAC-seq-2",
    "A-B:C",
    "A:B-C",
    "a b-H3K27ac",
    "a_b-H3K27ac",
    'Ζέα, ../é-μ"|%2d',
]

PARAMS = {
    "ingest": {"assembly": "chrom.sizes", "workers": 1},
    "preprocess": {"split": {"validation": ["chr2"], "test": ["chr3"]}, "frame_bins": 20, "workers": 1},
    "train": {
        "epochs": 1, "embedding_size": 2, "hidden_size": 4, "streams": 2, "frames_per_step": 2, "threads": 1,
        "device": "cpu", "context_size": 0,
    },
}  # fmt: skip


def write_track(path: Path, number: int) -> None:
    random = np.random.default_rng(number)
    file = pyBigWig.open(str(path), "w")
    file.addHeader(list(SIZES.items()))
    for chrom, size in SIZES.items():
        file.addEntries(chrom, 0, values=random.exponential(2, size // 500).tolist(), span=500, step=500)
    file.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    (folder / "chrom.sizes").write_text("".join(f"{chrom}\t{size}\n" for chrom, size in SIZES.items()))
    params = PARAMS | {"ingest": PARAMS["ingest"] | {"assembly": str(folder / "chrom.sizes")}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    with open(folder / "sheet.csv", "w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["cell_type", "assay", "replicate", "uri", "donor"])
        for number, track in enumerate(TRACKS):
            write_track(folder / f"{number}.bw", number)
            rows.writerow([track.cell_type, track.assay, track.replicate or "", f"{number}.bw", f"D{number}"])
    steps = [
        ["ingest", "--samplesheet", "sheet.csv", "--signal", "signal"],
        ["preprocess", "--signal", "signal", "--matrix", "matrix"],
        ["train", "--matrix", "matrix", "--model", "model"],
        ["export", "--model", "model", "--encoder", "encoder"],
        ["embed", "--matrix", "matrix", "--encoder", "encoder", "--embeddings", "embeddings"],
    ]
    for step, *arguments in steps:
        paths = [value if value.startswith("--") else str(folder / value) for value in arguments]
        main([step, "--params", str(folder / "params.yaml"), *paths])
    return folder


def export(project: Path, target: Path, *arguments: str) -> Path:
    where = ["--what", "reconstruction", "--matrix", str(project / "matrix"), "--model", str(project / "model")]
    main(["export-tracks", *where, "--to", str(target), *arguments])
    return target


def test_every_manifest_has_the_fields_and_names_that_distinguish_the_tracks(project: Path) -> None:
    kinds = {"signal": SignalManifest, "matrix": MatrixManifest, "embeddings": EmbeddingsManifest}
    found = [read_manifest(project / name, kind).track_set for name, kind in kinds.items()]
    found += [read_model_manifest(project / "model").track_set, read_encoder_manifest(project / "encoder").track_set]
    entries = read_manifest(project / "signal", SignalManifest).tracks
    assert [entry.metadata for entry in entries] == [{"donor": f"D{number}"} for number in range(len(TRACKS))]
    for tracks in nonempty(found):
        assert tracks.known
        assert list(tracks.identities) == TRACKS
        assert list(tracks.names) == NAMES


def test_the_encoder_file_has_the_fields(project: Path) -> None:
    import onnx

    stated = {each.key: each.value for each in onnx.load(project / "encoder" / ENCODER).metadata_props}
    assert json.loads(stated["tracks"]) == NAMES
    assert json.loads(stated["cell_types"]) == [track.cell_type for track in TRACKS]
    assert json.loads(stated["assays"]) == [track.assay for track in TRACKS]
    assert json.loads(stated["replicates"]) == [track.replicate for track in TRACKS]


def test_a_triton_repository_states_the_fields(project: Path, tmp_path: Path) -> None:
    config = (project / "encoder" / "triton" / "encoder" / "config.pbtxt").read_text()
    stated = dict(re.findall(r'parameters \{ key: "(\w+)" value \{ string_value: (".*") \} \}', config))
    assert json.loads(json.loads(stated["tracks"])) == NAMES
    assert json.loads(json.loads(stated["cell_types"])) == [track.cell_type for track in TRACKS]


def test_an_anndata_has_the_fields(project: Path, tmp_path: Path) -> None:
    import anndata

    folder = export(project, tmp_path / "out", "--format", "h5ad")
    var = anndata.read_h5ad(folder / "reconstruction.h5ad").var
    assert list(var.index) == NAMES
    assert list(var["cell_type"]) == [track.cell_type for track in TRACKS]
    assert list(var["assay"]) == [track.assay for track in TRACKS]
    assert list(var["replicate"]) == [track.replicate or "" for track in TRACKS]


def test_a_hub_is_grouped_and_coloured_by_the_fields(project: Path, tmp_path: Path) -> None:
    arguments = ["--format", "hub", "--email", "a@b.org", "--genome", "own", "--two-bit", "own.2bit"]
    folder = export(project, tmp_path / "out", *arguments)
    stanzas = [
        dict(line.split(" ", 1) for line in stanza.splitlines() if line)
        for stanza in (folder / "own" / "trackDb.txt").read_text(encoding="utf-8").split("\n\n")
    ]
    composite, *rest = stanzas
    tracks = {each["longLabel"].partition(": ")[2]: each for each in rest if "subGroups" in each}
    assert tracks["K562-ATAC-seq"]["subGroups"] == "assay=ATAC_seq cell=K562 replicate=none"
    assert tracks["T cell-ATAC-seq-2"]["subGroups"] == "assay=ATAC_seq cell=T__20_cell replicate=2"
    assert tracks["A-B:C"]["subGroups"] == "assay=C cell=A_B replicate=none"
    assert "K562=K562" in composite["subGroup2"].split()
    assert "T__20_cell=T_cell" in composite["subGroup2"].split()
    assert tracks["K562-ATAC-seq"]["color"] == tracks["T cell-ATAC-seq-1"]["color"] == "40,40,40"
    assert tracks["K562-NKX2-1"]["color"] != tracks["K562-ATAC-seq"]["color"]
    symbols = [each["track"] for each in stanzas]
    assert len(set(symbols)) == len(symbols) == 2 * len(TRACKS) + 2
    assert all(symbol.isascii() and symbol.replace("_", "").isalnum() for symbol in nonempty(symbols))


def test_every_track_has_a_bigwig_of_its_own_with_its_own_values(project: Path, tmp_path: Path) -> None:
    folder = export(project, tmp_path / "out", "--format", "bigwig")
    assert {path.name for path in folder.glob("*.bw")} == {f"{file_name(name)}.bw" for name in NAMES}
    alone = export(project, tmp_path / "alone", "--format", "bigwig", "--tracks", "NKX2-1")
    assert [path.name for path in alone.glob("*.bw")] == ["K562-NKX2-1.bw"]
    assert (alone / "K562-NKX2-1.bw").read_bytes() == (folder / "K562-NKX2-1.bw").read_bytes()
    stated = json.loads((alone / "manifest.json").read_text())
    assert stated["tracks"] == [{"name": "K562-NKX2-1", "cell_type": "K562", "assay": "NKX2-1"}]


@pytest.mark.parametrize(
    ("token", "message"),
    [("1", "no such track, cell type or assay"), ("seq", "no such track"), ("K562-ATAC", "did you mean K562-ATAC-seq")],
)
def test_a_part_of_a_name_selects_nothing(project, tmp_path, capsys, token, message) -> None:
    with pytest.raises(SystemExit):
        export(project, tmp_path / "out", "--format", "bigwig", "--tracks", token)
    err = capsys.readouterr().err
    assert err.startswith(f"error: --tracks {token}: ")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_new_signal_is_matched_by_its_fields(project: Path, tmp_path: Path) -> None:
    """In another order and without the tracks that make names clash, a track is still the same one."""
    from epilstm.steps.preprocess.standardise import rows_of

    signal = read_manifest(project / "signal", SignalManifest)
    turned = signal.model_copy(update={"tracks": signal.tracks[::-1]})
    scaler = read_model_manifest(project / "model").scaler
    assert rows_of(scaler, turned) == tuple(range(len(TRACKS)))[::-1]
    some = scaler.select([4, 0])
    assert some.tracks == ["A-B:C", "K562-ATAC-seq"]
    without = signal.model_copy(update={"tracks": [signal.tracks[0], signal.tracks[4]]})
    assert without.track_set.names == ("K562-ATAC-seq", "A-B-C")
    assert rows_of(some, without) == (1, 0)


def test_files_of_an_older_version_have_names_alone(project: Path, tmp_path: Path) -> None:
    older = json.loads((project / "encoder" / "manifest.json").read_text())
    del older["scaler"]["identities"]
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "manifest.json").write_text(json.dumps(older))
    encoder = read_encoder_manifest(tmp_path / "encoder")
    assert not encoder.track_set.known
    assert encoder.tracks == NAMES
    matrix = read_manifest(project / "matrix", MatrixManifest)
    assert matrix.track_set.places_of(encoder.track_set) == list(range(len(TRACKS)))


FIELD = st.text(min_size=1, max_size=10).filter(lambda text: text.isprintable() and text == text.strip() != "")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tracks=st.lists(st.builds(TrackIdentity, FIELD, FIELD, st.none() | FIELD), min_size=1, max_size=5, unique=True))
def test_any_text_comes_back_from_the_sheet_the_manifests_and_the_encoder(tmp_path, tracks) -> None:
    rows = [Track(each.cell_type, each.assay, "a.bw", replicate=each.replicate) for each in tracks]
    write_samplesheet(tmp_path / "sheet.csv", rows)
    read = [row.identity for row in read_samplesheet(tmp_path / "sheet.csv")]
    assert read == tracks

    entries = [
        TrackEntry(
            cell_type=each.cell_type, assay=each.assay, replicate=each.replicate, uri="a.bw", sha256="0", bytes=0,
            covered_fraction=1, moments={},
        )
        for each in read
    ]  # fmt: skip
    again = [TrackEntry.model_validate_json(entry.model_dump_json()).identity for entry in entries]
    named = TrackSet.of(again)
    count = len(tracks)
    scaler = Scaler(
        tracks=list(named.names), identities=list(named.identities), mean=[0.0] * count, scale=[1.0] * count
    )
    scaler = Scaler.model_validate_json(scaler.model_dump_json())
    assert list(scaler.track_set.identities) == tracks

    served = ServedModel("encoder", "1", named.names, field_metadata(scaler.track_set), {}, {})
    assert ServedEncoder(served, None).track_set == named
    assert len({file_name(name) for name in named.names}) == len({symbol(name) for name in named.names}) == count
