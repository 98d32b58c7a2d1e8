"""A genome of thousands of scaffolds: few files, few calls, and every value where it belongs."""

import gzip
import shutil
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pyBigWig
import pytest
import yaml
import zarr

from epilstm.cli import main
from epilstm.genome.assembly import Assembly, Region, RegionIndex
from epilstm.genome.bin_range import BinRange
from epilstm.genome.coverage import region_of
from epilstm.outputs.browser_tracks import formats
from epilstm.outputs.segmentation.states import training_sequences
from epilstm.params import SplitParams
from epilstm.representations.features import RawTracks, bins_with_data, pooled_features
from epilstm.representations.pooling import WindowTable
from epilstm.serving.client.outputs import DatasetWriter, Layout
from epilstm.steps.preprocess.splitting import split_regions
from epilstm.steps.preprocess.training_counts import training_counts, warn_of_few_values
from epilstm.steps.report.data_quality import CHROMOSOME_ROWS, data_quality
from epilstm.store import arrays
from epilstm.store.arrays import Masks, TrackRows, open_signal
from epilstm.store.bin_ranges import open_embeddings
from epilstm.store.binned_track import Binning
from epilstm.store.manifests import (
    EmbeddingsManifest,
    Manifest,
    MatrixManifest,
    Scaler,
    SignalManifest,
    Split,
    read_manifest,
    read_reference_histograms,
    read_scaler,
)
from epilstm.store.matrix import Matrix
from epilstm.store.matrix_writing import MatrixWriter, shards_of
from epilstm.store.packing import ATTRIBUTE, MANY, SHARED_BINS, SMALL_BINS, arrays_of, places_of
from epilstm.store.shards import open_bins
from epilstm.store.standardisation import standardise
from epilstm.tracks import bigwig_columns
from epilstm.tracks.bigwig_columns import BinValues
from support.nonempty import nonempty

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


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One number for every bin of the scaffolds: the number of its scaffold."""
    folder = tmp_path_factory.mktemp("embedded") / "embeddings"
    assembly = Assembly("genome.sizes", sizes())
    binning = Binning.of(assembly, assembly.regions(), [], BIN, "lz4")
    writer = DatasetWriter(folder, Layout(binning, 1))
    for number, name in enumerate(NAMES):
        writer.write(BinValues(name, 0, np.full((binning.bins(name), 1), number, np.float32)))
    writer.finish(
        EmbeddingsManifest(
            assembly="genome.sizes", bin_size=BIN, chromosome_sizes=sizes(), size=1, matrix_fingerprint="",
            regions=[(name, 0, size) for name, size in sizes().items()],
            model_fingerprint="", encoder_fingerprint="",
        )
    )  # fmt: skip
    return folder


def exported(embeddings: Path, to: Path, *formats: str) -> Path:
    main(["export-tracks", "--embeddings", str(embeddings), "--to", str(to)]
         + [word for name in formats for word in ("--format", name)])  # fmt: skip
    return to


def rows_expected() -> list[tuple[str, int, int, float]]:
    return [
        (name, start, min(start + BIN, size), float(number))
        for number, (name, size) in enumerate(sizes().items())
        for start in range(0, size, BIN)
    ]


def test_rows_of_scaffolds_are_written_many_at_a_time(
    embeddings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "ROWS_AT_ONCE", 20_000)
    folder = exported(embeddings, tmp_path / "out", "parquet", "bedgraph")
    file = pyarrow.parquet.ParquetFile(folder / "parquet" / "embedding.parquet")
    assert file.num_row_groups == -(-len(rows_expected()) // 20_000)
    table = file.read().to_pydict()
    assert [*zip(*(table[name] for name in ("chrom", "start", "end", "e0")), strict=True)] == rows_expected()
    with gzip.open(folder / "bedgraph" / "e0.bedGraph.gz", "rt") as stream:
        lines = [line.rstrip("\n").split("\t") for line in stream]
    assert [(name, int(start), int(end), float(value)) for name, start, end, value in lines] == rows_expected()


def test_the_disk_is_not_asked_for_space_for_each_scaffold(
    embeddings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    ask = bigwig_columns.require_space
    monkeypatch.setattr(bigwig_columns, "require_space", lambda *given: asked.append(given) or ask(*given))
    folder = exported(embeddings, tmp_path / "out", "bigwig")
    assert len(asked) <= 4
    with pyBigWig.open(str(folder / "e0.bw")) as bigwig:
        found = [(name, *each) for name in NAMES for each in bigwig.intervals(name)]
    assert found == rows_expected()


def test_the_report_lists_long_scaffolds_and_puts_the_others_together(made: tuple[Path, int]) -> None:
    manifest = read_manifest(made[0] / "matrix", MatrixManifest)
    scaler = read_scaler(made[0] / "matrix", manifest)
    data = data_quality(manifest, scaler, read_reference_histograms(made[0] / "matrix", manifest))
    assert len(data.chromosomes) == CHROMOSOME_ROWS + len({each.use for each in data.chromosomes[CHROMOSOME_ROWS:]})
    assert sum(each.with_data for each in data.chromosomes) == sum(manifest.bins_with_data.values())
    regions = manifest.bin_ranges.values()
    assert sum(each.bins for each in data.chromosomes) == sum(b - a for each in regions for a, b in each)
    assert data.chromosomes[CHROMOSOME_ROWS].chrom == f"{SCAFFOLDS - CHROMOSOME_ROWS - 2:,} shorter chromosomes"
    shortest = min(each.bins for each in data.chromosomes[:CHROMOSOME_ROWS])
    assert shortest >= sorted(manifest.bins(name) for name in NAMES)[-CHROMOSOME_ROWS]


def test_what_a_client_writes_shares_arrays(tmp_path: Path) -> None:
    lengths = {"chr1": 3_000_000, **sizes()}
    order = [*NAMES[:5], "chr1", *NAMES[5:]]  # a large chromosome between small ones
    assembly = Assembly("genome.sizes", {name: lengths[name] for name in order})
    binning = Binning.of(assembly, assembly.regions(), [], BIN, "lz4")
    expected = {}
    writer = DatasetWriter(tmp_path / "out", Layout(binning, 2))
    for number, name in enumerate(order):
        expected[name] = np.full((binning.bins(name), 2), number, np.float32)
        writer.write(BinValues(name, 0, expected[name]))
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
    assert all(place.array == chrom for chrom, place in nonempty(places_of(few).items()))
    mixed = {"chr1": SMALL_BINS, **{f"s{number}": 30_000 for number in range(MANY + 1)}}
    places = places_of(mixed)
    assert places["chr1"] == ("chr1", 0, SMALL_BINS)
    shared = arrays_of(places)
    assert len(shared["shared-0"]) == SHARED_BINS // 30_000
    assert places[shared["shared-1"][1]] == ("shared-1", 30_000, 30_000)


def test_the_signal_says_how_much_of_each_scaffold_has_data(made: tuple[Path, int]) -> None:
    manifest = read_manifest(made[0] / "signal", SignalManifest)
    assert sum(manifest.bins_with_data.values()) >= sum(size // BIN for size in sizes().values())


def one_window_each(chroms: list[str]) -> WindowTable:
    zeros = np.zeros(len(chroms), np.int64)
    return WindowTable(np.array(chroms), zeros, zeros + 4)


def test_windows_of_scaffolds_are_pooled_without_a_pass_over_all_regions_for_each(
    made: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = Matrix(made[0] / "matrix")
    listed, cut = [], []
    region_list, cut_one = Manifest.region_list, Matrix.cut
    monkeypatch.setattr(Manifest, "region_list", lambda *given: listed.append(given) or region_list(*given))
    monkeypatch.setattr(Matrix, "cut", lambda *given: cut.append(given) or cut_one(*given))
    windows = one_window_each(NAMES[::-1])
    features = pooled_features(RawTracks(matrix), matrix, windows, ["mean"])
    assert np.array_equal(bins_with_data(matrix, windows), np.full(SCAFFOLDS, 4))
    assert len(listed) <= 1
    assert len(cut) <= 2 * SCAFFOLDS
    first = matrix.rows(BinRange("scaffold_7", 0, 4)).mean(axis=0)
    assert np.allclose(features[NAMES[::-1].index("scaffold_7")], first, atol=1e-6)


def test_the_use_of_a_scaffold_and_its_places_are_found_without_a_list_of_all(
    made: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(made[0] / "matrix", MatrixManifest)
    listed = []
    region_list = Manifest.region_list
    monkeypatch.setattr(Manifest, "region_list", lambda *given: listed.append(given) or region_list(*given))
    uses = [manifest.use_of(Region(name, 0, 50)) for name in NAMES]
    assert (uses[:4], set(uses[3:])) == (["train", "validation", "test", "train"], {"train"})
    assert manifest.places_with_regions([*NAMES, "other", "scaffold_5:0-50", "other:0-50"]) == [
        *NAMES,
        "scaffold_5:0-50",
    ]
    assert len(listed) <= 4


def test_the_signal_of_scaffolds_that_train_in_part_is_read_a_few_times(
    made: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = made
    manifest = read_manifest(folder / "signal", SignalManifest)
    reads = []
    read = TrackRows.__getitem__
    monkeypatch.setattr(TrackRows, "__getitem__", lambda rows, index: reads.append(index) or read(rows, index))
    cut = {name: size for name, size in sizes().items() if size >= 3 * BIN}
    split = Split(
        train=[f"{name}:{BIN}-{size}" for name, size in cut.items()],
        validation=[f"{name}:0-{BIN}" for name in cut],
        test=[],
    )
    counts = training_counts(folder / "signal", manifest, split)
    assert len(reads) <= 4
    for track, number in ((0, 0), (1, 2_999)):
        values = values_of(track, number, sizes()[NAMES[number]] // BIN)[1:]
        bins, total, squares = counts.manifest.tracks[track].moments[NAMES[number]]
        exact = np.arcsinh(values).astype(np.float64)
        assert bins == -(-sizes()[NAMES[number]] // BIN) - 1  # a shorter bin at the end is not covered, and so 0
        assert (total, squares) == (pytest.approx(exact.sum()), pytest.approx((exact**2).sum()))
    assert counts.histograms.sum() == sum(
        counts.manifest.tracks[track].moments[name][0] for track in range(2) for name in cut
    )
    warn_of_few_values(folder / "signal", counts)
    assert len(reads) <= 8


def test_states_are_fitted_on_as_many_bins_of_scaffolds_as_of_chromosomes(made: tuple[Path, int]) -> None:
    matrix = open_bins(made[0] / "matrix" / "matrix.zarr")
    scaffolds = [BinRange(name, 0, size // BIN) for name, size in sizes().items()]
    sequences = training_sequences(matrix, scaffolds, 5_000, "all scaffolds")
    assert sum(len(sequence.own) for sequence in sequences) == pytest.approx(5_000, rel=0.1)


def test_regions_of_labels_on_scaffolds_are_found_without_a_pass_over_all_labels_for_each() -> None:
    compared = []

    class Compared(np.ndarray):
        def __eq__(self, other: object) -> np.ndarray:
            compared.append(other)
            return super().__eq__(other)

        __hash__ = None

    chroms = np.array(NAMES[::-1]).reshape(-1, 1).view(Compared)
    starts = np.zeros(chroms.shape, np.int64)
    found = region_of(chroms, starts, starts + 50, [Region(name, 0, size) for name, size in sizes().items()])
    assert np.array_equal(found, np.arange(SCAFFOLDS)[::-1])
    assert len(compared) < 10
