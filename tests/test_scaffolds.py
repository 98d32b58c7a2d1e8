"""A genome of thousands of scaffolds: few files, few calls, and every value where it belongs."""

import shutil
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
import yaml
import zarr

from epilstm.cli import main
from epilstm.genome.assembly import Assembly, Region, RegionIndex
from epilstm.params import SplitParams
from epilstm.serving.client.outputs import DatasetWriter, Layout
from epilstm.steps.preprocess.splitting import split_regions
from epilstm.store import arrays
from epilstm.store.arrays import Masks, open_signal
from epilstm.store.bin_ranges import open_embeddings
from epilstm.store.binned_track import Binning
from epilstm.store.manifests import EmbeddingsManifest, MatrixManifest, Scaler, SignalManifest, read_manifest
from epilstm.store.matrix_writing import MatrixWriter, shards_of
from epilstm.store.packing import ATTRIBUTE, MANY, SHARED_BINS, SMALL_BINS, arrays_of, places_of
from epilstm.store.shards import open_bins
from epilstm.store.standardisation import standardise
from epilstm.tracks.bigwig_columns import Piece

SCAFFOLDS, BIN = 3_000, 25
KINDS = {"signal": SignalManifest, "matrix": MatrixManifest}
NAMES = [f"scaffold_{number}" for number in range(SCAFFOLDS)]


def sizes() -> dict[str, int]:
    drawn = np.random.default_rng(1).integers(100, 900, SCAFFOLDS)
    return dict(zip(NAMES, drawn.tolist(), strict=True))


def values_of(track: int, number: int, bins: int) -> np.ndarray:
    return ((np.arange(bins) * 7 + number * 3 + track) % 11 + 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaffolds")
    (folder / "genome.sizes").write_text("".join(f"{name}\t{size}\n" for name, size in sizes().items()))
    rows = ["cell_type,assay,uri"]
    for track in range(2):
        bigwig = pyBigWig.open(str(folder / f"{track}.bw"), "w")
        bigwig.addHeader(list(sizes().items()))
        for number, (name, size) in enumerate(sizes().items()):
            whole = size // BIN
            bigwig.addEntries(name, 0, values=values_of(track, number, whole).tolist(), span=BIN, step=BIN)
        bigwig.close()
        rows.append(f"K562,A{track},{track}.bw")
    (folder / "sheet.csv").write_text("\n".join(rows) + "\n")
    params = {
        "ingest": {"assembly": str(folder / "genome.sizes"), "workers": 1},
        "preprocess": {
            "frame_bins": 10,
            "workers": 1,
            "split": {"validation": ["scaffold_1"], "test": ["scaffold_2"]},
        },
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def run(folder: Path, *words: str) -> None:
    main([words[0], "--params", str(folder / "params.yaml"), *words[1:]])


@pytest.fixture(scope="module")
def made(folder: Path) -> tuple[Path, int]:
    """Signal and matrix of the scaffolds, and how many arrays were made for them."""
    calls = []
    create = arrays.create_array
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "create_array", lambda *given, **named: calls.append(None) or create(*given, **named))
        run(folder, "ingest", "--samplesheet", str(folder / "sheet.csv"), "--signal", str(folder / "signal"))
        run(folder, "preprocess", "--signal", str(folder / "signal"), "--matrix", str(folder / "matrix"))
    return folder, len(calls)


def test_scaffolds_share_arrays_and_files(made: tuple[Path, int]) -> None:
    folder, calls = made
    for name in ("signal", "matrix"):
        files = [path for path in (folder / name).rglob("*") if path.is_file()]
        assert len(files) < 20, files
    assert calls <= 6, "one array for each track, and one each for signal, matrix and masks"


def test_every_scaffold_has_its_own_values(made: tuple[Path, int]) -> None:
    folder, _ = made
    manifest = read_manifest(folder / "matrix", MatrixManifest)
    signal, matrix = open_signal(folder / "signal" / "signal.zarr"), open_bins(folder / "matrix" / "matrix.zarr")
    masks = Masks(folder / "matrix" / "mask.zarr", manifest.bins_with_data)
    scaler = Scaler.model_validate_json((folder / "matrix" / "scaler.json").read_text())
    for number in (0, 1, 2, 1_499, 2_998, 2_999):
        name, whole = NAMES[number], sizes()[NAMES[number]] // BIN
        expected = np.stack([values_of(track, number, whole) for track in range(2)])
        assert np.array_equal(signal[name][0:2, :whole], expected)
        assert np.allclose(matrix[name][:whole], standardise(expected.T, scaler), atol=2e-3)
        assert matrix[name].shape == (manifest.bins(name), 2)
        assert masks[name][:whole].all()
        assert masks[name].sum() == manifest.bins_with_data[name]
    group = zarr.open_group(folder / "matrix" / "matrix.zarr", mode="r")
    array, first, bins = group.attrs[ATTRIBUTE]["scaffold_2999"]
    assert np.array_equal(group[array][first : first + bins], matrix["scaffold_2999"][:], equal_nan=True)


def test_a_part_may_be_a_group_of_scaffolds(made: tuple[Path, int], tmp_path: Path) -> None:
    folder, _ = made
    for part in ("1/2", "2/2", "scaffold_7"):
        run(folder, "preprocess", "--signal", str(folder / "signal"), "--parts", str(tmp_path), "--part", part)
    run(
        folder,
        *("preprocess", "--signal", str(folder / "signal"), "--parts", str(tmp_path)),
        *("--matrix", str(tmp_path / "matrix")),
    )
    file = Path("matrix.zarr", "shared-0", "c", "0", "0")
    assert (tmp_path / "matrix" / file).read_bytes() == (folder / "matrix" / file).read_bytes()


def test_a_process_that_writes_a_shard_does_not_read_the_list_of_all_scaffolds(
    made: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = made
    source, manifest = (read_manifest(folder / name, kind) for name, kind in KINDS.items())
    copy = shutil.copytree(folder / "matrix", tmp_path / "matrix")
    opened = []
    monkeypatch.setattr(zarr, "open_group", lambda *given, **named: opened.append(given))
    scaler = Scaler.model_validate_json((copy / "scaler.json").read_text())
    for shard in shards_of("shared-0", source, manifest):
        MatrixWriter(folder / "signal" / "signal.zarr", copy / "matrix.zarr", scaler, (0, 1)).write(shard)
    assert opened == []
    file = Path("matrix.zarr", "shared-0", "c", "0", "0")
    assert (copy / file).read_bytes() == (folder / "matrix" / file).read_bytes()


def test_scaffolds_are_split_by_region_without_a_pass_over_all_for_each(
    made: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(made[0] / "signal", SignalManifest)
    masks = Masks(made[0] / "signal" / "mask.zarr", manifest.bins_with_data)
    compared = []
    overlap = Region.overlap
    monkeypatch.setattr(Region, "overlap", lambda one, other: compared.append(one) or overlap(one, other))
    monkeypatch.setattr(Region, "__lt__", lambda one, other: compared.append(one) or astuple(one) < astuple(other))
    params = SplitParams(by="region", validation=0.1, test=0.1)
    split, bins = split_regions(manifest, params, 10, masks)
    assert len(compared) < 20 * SCAFFOLDS
    assert len(split.train) + len(split.validation) + len(split.test) >= SCAFFOLDS
    assert sum(bins.values()) == sum(manifest.bins_with_data.values())


def test_the_python_interface_finds_a_scaffold_without_a_pass_over_all() -> None:
    index = RegionIndex([Region(name, 0, size) for name, size in sizes().items()])
    chrom = NAMES[1_234]
    assert index.overlapping(Region(chrom, 5, 60)) == [Region(chrom, 0, sizes()[chrom])]
    assert index.overlapping(Region(chrom, sizes()[chrom], sizes()[chrom] + 5)) == []
    assert index.overlapping(Region("other", 0, 60)) == []


def test_what_a_client_writes_shares_arrays(tmp_path: Path) -> None:
    lengths = {"chr1": 3_000_000, **sizes()}
    order = [*NAMES[:5], "chr1", *NAMES[5:]]  # a large chromosome between small ones
    assembly = Assembly("genome.sizes", {name: lengths[name] for name in order})
    binning = Binning.of(assembly, assembly.regions(), [], BIN, "lz4")
    expected = {}
    writer = DatasetWriter(tmp_path / "out", Layout(binning, 2))
    for number, name in enumerate(order):
        expected[name] = np.full((binning.bins(name), 2), number, np.float32)
        writer.write(Piece(name, 0, expected[name]))
    writer.finish(
        EmbeddingsManifest(
            assembly="genome.sizes", bin_size=BIN, chromosome_sizes=lengths, size=2, matrix_fingerprint="",
            regions=[(name, 0, size) for name, size in assembly.sizes.items()],
            model_fingerprint="", encoder_fingerprint="",
        )
    )  # fmt: skip
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) < 12
    _, rows = open_embeddings(tmp_path / "out")
    for name in (*order[:8], order[-1]):
        np.testing.assert_array_equal(rows[name][0 : len(expected[name])], expected[name])


def test_few_or_large_chromosomes_keep_arrays_of_their_own() -> None:
    few = {f"chr{number}": 1_000 for number in range(MANY)}
    assert all(place.array == chrom for chrom, place in places_of(few).items())
    mixed = {"chr1": SMALL_BINS, **{f"s{number}": 30_000 for number in range(MANY + 1)}}
    places = places_of(mixed)
    assert places["chr1"] == ("chr1", 0, SMALL_BINS)
    shared = arrays_of(places)
    assert len(shared["shared-0"]) == SHARED_BINS // 30_000
    assert places[shared["shared-1"][1]] == ("shared-1", 30_000, 30_000)


def test_the_signal_says_how_much_of_each_scaffold_has_data(made: tuple[Path, int]) -> None:
    manifest = read_manifest(made[0] / "signal", SignalManifest)
    assert sum(manifest.bins_with_data.values()) >= sum(size // BIN for size in sizes().values())
