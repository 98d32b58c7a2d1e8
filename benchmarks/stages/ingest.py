"""From bigWig to signal, on a chromosome of the size of human 21 in runs of 20 to 60 bp."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import reference, synthetic
from benchmarks.case import Case, Measurement, Setting, Size
from benchmarks.pipeline import run_step
from benchmarks.timing import PeakMemory, in_turn, rate

#: Base pairs that the published route is given: it takes seconds for this much.
REFERENCE_BASES = 500_000


def cases(size: Size, device: str) -> list[Case]:
    bases = 2_000_000 if size == "quick" else synthetic.CHROMOSOME_SIZE
    bins = -(-bases // synthetic.BIN_SIZE)
    if size == "scaling" or device == "cuda":
        return []
    tracks = 2 if size == "quick" else 96
    whole = [
        Case("ingest", f"whole step, {n} process{'es' if n > 1 else ''}", bins, tracks, {"workers": n}) for n in (1, 2)
    ]
    return [Case("ingest", "read and bin one track", bins, 1), *whole]


def _bigwigs(case: Case, folder: Path) -> list[Path]:
    size = min(case.bins * synthetic.BIN_SIZE, synthetic.CHROMOSOME_SIZE)
    return synthetic.write_bigwigs(folder / f"bigwig-{case.bins}", size, case.tracks)


def prepare(case: Case, folder: Path) -> None:
    paths = _bigwigs(case, folder)
    sheet = [f"cell{number},assay,{path.name}" for number, path in enumerate(paths)]
    (paths[0].parent / "sheet.csv").write_text("\n".join(["cell_type,assay,uri", *sheet]) + "\n")
    size = min(case.bins * synthetic.BIN_SIZE, synthetic.CHROMOSOME_SIZE)
    (paths[0].parent / "chrom.sizes").write_text(f"{synthetic.CHROMOSOME}\t{size}\n")


def measure(case: Case, setting: Setting) -> Measurement:
    path = _bigwigs(case, setting.folder)[0]
    text = setting.folder / "published-route.bedgraph"

    def route() -> None:
        write_bedgraph(path, REFERENCE_BASES, text)
        with open(text, encoding="utf-8") as lines:
            reference.bin_bedgraph(lines, 0, REFERENCE_BASES, synthetic.BIN_SIZE)

    published = rate(REFERENCE_BASES // synthetic.BIN_SIZE, route)
    if "workers" in case.options:
        return _whole_step(case, setting, path, published)
    return _read_and_bin(case, setting, path, published)


def write_bedgraph(path: Path, bases: int, text: Path) -> None:
    """Write the first bases of a bigWig's chromosome as bedGraph text, with which the published route begins."""
    import pyBigWig

    with pyBigWig.open(str(path)) as bigwig, open(text, "w", encoding="utf-8") as stream:
        for start, end, value in bigwig.intervals(synthetic.CHROMOSOME, 0, bases):
            stream.write(f"{synthetic.CHROMOSOME}\t{start}\t{end}\t{value}\n")


def _read_and_bin(case: Case, setting: Setting, path: Path, published: Any) -> Measurement:
    from epilstm.store.binned_track import WINDOW_BINS
    from epilstm.tracks.bigwig import BigWig
    from epilstm.tracks.binning import bin_means

    bin_size = synthetic.BIN_SIZE

    def read_and_bin() -> None:
        with BigWig(path) as bigwig:
            size = bigwig.chromosomes[synthetic.CHROMOSOME]
            for start in range(0, size, WINDOW_BINS * bin_size):
                end = min(start + WINDOW_BINS * bin_size, size)
                bin_means(bigwig.intervals(synthetic.CHROMOSOME, start, end), start, end, bin_size)

    def inflate() -> None:
        data = path.read_bytes()
        for offset, size in blocks:
            zlib.decompress(data[offset : offset + size])

    with BigWig(path) as bigwig:
        places = bigwig._blocks  # what is inflated alone must be the very blocks of the file
        blocks = list(zip(places.offset.tolist(), places.size.tolist(), strict=True))
    with PeakMemory() as peak:
        read_and_bin()
    ours, theirs, storage = in_turn(setting.repeats, rate(case.bins, read_and_bin), published, rate(case.bins, inflate))
    return Measurement(
        bins_per_second=ours,
        bytes_per_bin=path.stat().st_size / case.bins + 4,
        operations_per_bin=0,
        peak_memory=peak.bytes,
        reference_bins_per_second=theirs,
        storage_bins_per_second=storage,
        note="one process",
    )


def _whole_step(case: Case, setting: Setting, path: Path, published: Any) -> Measurement:
    from epilstm.params import IngestParams

    params = IngestParams(assembly=str(path.with_name("chrom.sizes")), workers=case.options["workers"])
    out = setting.folder / "ingest-output"

    def step() -> None:
        run_step("ingest", params, {"samplesheet": path.with_name("sheet.csv")}, {"signal": out})

    with PeakMemory() as peak:
        step()
    bins = case.bins * case.tracks
    ours, theirs = in_turn(setting.repeats, rate(bins, step), published)
    workers = case.options["workers"]
    note = "digest, binning, statistics and writing of every track; bins are counted per track"
    if workers > 1:
        note += "; processes start each time"
    per_process = f"{peak.bytes / (workers + (workers > 1)) / 1e6:.0f} MB per process"
    return Measurement(
        bins_per_second=ours,
        bytes_per_bin=path.stat().st_size / case.bins + 4,
        operations_per_bin=0,
        peak_memory=peak.bytes,
        reference_bins_per_second=theirs,
        note=f"{note}; {per_process}",
        extra={"stored_bytes_per_value": stored_bytes(out / "signal.zarr") / bins},
    )


def stored_bytes(folder: Path) -> int:
    """Size of all files in a folder."""
    return int(np.sum([path.stat().st_size for path in folder.rglob("*") if path.is_file()]))
