"""Signal goes to the server piece by piece, several pieces at a time, and embeddings come back in order."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import ParamsError
from epilstm.model.genome_windows import EncoderWindow, WindowShape, shards_of, windows_of
from epilstm.serving.client.connection import Connection, NotFound, Parameters, ServedModel, ServerRefused, Tensors
from epilstm.serving.protocol.dimensions import DIMENSIONS, chosen_dimensions
from epilstm.store.binned_track import Binning
from epilstm.store.manifests import dimension_names
from epilstm.store.samplesheet_signal import ChromosomeSignal, Digest, Signal, TrackFile, chromosomes
from epilstm.tracks.bigwig_columns import BinValues
from epilstm.tracks.identity import TrackSet, tracks_of_properties
from epilstm.tracks.signal_transform import Uncovered

# Names of the served models and of their tensors, which are the exported encoders'.
ENCODER, STATEFUL = "encoder", "encoder_stateful"
SIGNAL, EMBEDDING = "signal", "embedding"
STATE = {"h0": "h", "c0": "c"}

#: Bins between which `epilstm embed` begins afresh, as `epilstm.store.arrays.SHARD_BINS`.
SHARD_BINS = 100_000


@dataclass(frozen=True)
class ServedEncoder:
    """What is needed of the server's models.

    Parameters
    ----------
    stateful : ServedModel or None
        None where the encoder reads both ways or has a context level.
    wanted : str
        Numbers that are asked for, as `chosen_dimensions` reads them; empty for all.
    """

    encoder: ServedModel
    stateful: ServedModel | None
    wanted: str = ""

    @property
    def tracks(self) -> tuple[str, ...]:
        """Names in input order."""
        return self.encoder.tracks

    @property
    def track_set(self) -> TrackSet:
        """The tracks with their fields, in input order; of an encoder of an older version, by their names alone."""
        return tracks_of_properties(self.tracks, self.encoder.properties)

    @property
    def bin_size(self) -> int:
        """In base pairs."""
        return int(self.encoder.properties["bin_size"])

    @property
    def uncovered(self) -> list[Uncovered]:
        """What uncovered bases of each track are, where that is not a signal of 0 in all; else empty."""
        return [cast(Uncovered, each) for each in json.loads(self.encoder.properties.get("uncovered", "[]"))]

    @property
    def by_cell_type(self) -> bool:
        """Whether cell types share the model, each with a code."""
        return "dimensions" in self.encoder.properties

    @property
    def dimensions(self) -> list[str] | None:
        """Names of the numbers that are asked for; None where they are ``e0``, ``e1``, ..."""
        every = dimension_names(self.encoder.outputs[EMBEDDING][-1])
        if self.by_cell_type:
            every = list(map(str, json.loads(self.encoder.properties["dimensions"])))
        if self.wanted:
            return [every[column] for column in chosen_dimensions(every, self.wanted)]
        return every if self.by_cell_type else None

    @property
    def size(self) -> int:
        """Numbers per bin."""
        return self.encoder.outputs[EMBEDDING][-1] if self.dimensions is None else len(self.dimensions)

    @property
    def parameters(self) -> Parameters:
        """Parameters of each request."""
        return {DIMENSIONS: self.wanted} if self.wanted else {}


def served_encoder(connection: Connection, wanted: str = "") -> ServedEncoder:
    """Ask a server what it serves.

    Parameters
    ----------
    wanted : str
        Numbers that are asked for; empty for all.

    Raises
    ------
    ServerRefused
        Not an encoder of epilstm, or it does not say what signal it takes.
    ParamsError
        It has no such numbers.
    """
    address = connection.access.address
    encoder = connection.describe(ENCODER)
    if SIGNAL not in encoder.inputs or EMBEDDING not in encoder.outputs:
        raise ServerRefused(f"{address}: model {ENCODER} is not one that 'epilstm export' wrote")
    bin_size = encoder.properties.get("bin_size", "")
    if len(encoder.tracks) != encoder.inputs[SIGNAL][-1] or not bin_size.isdigit() or int(bin_size) < 1:
        raise ServerRefused(
            f"{address}: does not say which tracks and bins its encoder takes; serve it with 'epilstm serve'"
        )
    try:
        stateful: ServedModel | None = connection.describe(STATEFUL)
    except NotFound:
        stateful = None
    if stateful is not None and stateful.version != encoder.version:
        stateful = None
    served = ServedEncoder(encoder, stateful, wanted)
    try:
        _ = served.dimensions
    except ValueError as error:
        raise ParamsError(f"--dimensions {wanted}: {error}") from error
    return served


def window_shape(served: ServedEncoder, chunk_bins: int, warmup_bins: int) -> WindowShape:
    """How long requests are; an encoder that reads both ways warms up on both sides.

    One with a context level says how many bins that takes at least, and where its frames begin.
    """
    properties = served.encoder.properties
    warmup_bins = max(warmup_bins, int(properties.get("context_bins", 0)))
    frame_bins = int(properties.get("frame_bins", 1))
    return WindowShape(chunk_bins, warmup_bins, warmup_bins if served.stateful is None else 0, frame_bins)


def embed_windows(
    connection: Connection,
    served: ServedEncoder,
    files: Sequence[TrackFile],
    binning: Binning,
    shape: WindowShape,
    in_flight: int,
    digest: Digest,
) -> Iterator[BinValues]:
    """Embeddings of the binning's regions, window by window, each warmed up on its own, as `epilstm embed` does it.

    Parameters
    ----------
    files : sequence of TrackFile
        In the encoder's order.
    in_flight : int
        Requests at a time.
    digest : Digest
        Called with the signal.

    Raises
    ------
    ServerRefused, TrackError
        The first thing that goes wrong; what is under way is dropped.
    """
    waiting: deque[tuple[str, EncoderWindow, NDArray[np.bool_], Future[NDArray[np.float32]]]] = deque()

    def ask(rows: Signal) -> NDArray[np.float32]:
        outputs = connection.infer(served.encoder, {SIGNAL: rows[None]}, served.parameters)
        return _rows_of(connection, outputs, len(rows), served.size)

    def oldest() -> BinValues:
        chrom, window, with_data, answer = waiting.popleft()
        values = answer.result()[window.first - window.start : window.last - window.start].copy()
        return _piece(chrom, window.first, values, with_data)

    with ThreadPoolExecutor(in_flight) as pool:
        try:
            for signal in chromosomes(files, binning):
                for window, needed in _windows(signal, shape):
                    rows = signal.rows(window.start, window.stop, needed)
                    kept = rows[window.first - window.start : window.last - window.start]
                    digest.add(kept)
                    waiting.append((signal.chrom, window, _with_data(kept), pool.submit(ask, rows)))
                    if len(waiting) > in_flight:
                        yield oldest()
            while waiting:
                yield oldest()
        except BaseException:
            connection.give_up()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _windows(signal: ChromosomeSignal, shape: WindowShape) -> Iterator[tuple[EncoderWindow, int]]:
    """Windows along a chromosome, and up to which bin signal will be needed without a gap."""
    binning, chrom = signal.binning, signal.chrom
    for shard in shards_of(chrom, binning.bin_ranges(chrom), binning.bins(chrom), SHARD_BINS):
        for bin_range in shard.bin_ranges:
            needed = min(bin_range.last + shape.after, bin_range.region_last)
            for window in windows_of(bin_range, shape):
                yield window, needed


def embed_unbroken(
    connection: Connection,
    served: ServedEncoder,
    files: Sequence[TrackFile],
    binning: Binning,
    chunk_bins: int,
    digest: Digest,
) -> Iterator[BinValues]:
    """Embeddings of the binning's regions, each in one unbroken pass with the encoder's state carried on.

    One request at a time, since each needs the one before; signal is read meanwhile.

    Raises
    ------
    ParamsError
        The encoder reads both ways or has a context level.
    ServerRefused, TrackError
        The first thing that goes wrong.
    """
    stateful = served.stateful
    if stateful is None:
        raise ParamsError(
            f"--stateful: the server has no model {STATEFUL}: its encoder reads both ways or has a context level; "
            "leave it out"
        )
    model = stateful

    def ask(rows: Signal, state: Tensors) -> dict[str, NDArray[np.float32]]:
        return connection.infer(model, {SIGNAL: rows[None], **state}, served.parameters)

    with ThreadPoolExecutor(1) as pool:
        for signal in chromosomes(files, binning):
            for first, last in binning.bin_ranges(signal.chrom):
                state: Tensors = {name: np.zeros(_state_shape(model, name), np.float32) for name in STATE}
                rows = signal.rows(first, min(first + chunk_bins, last), last)
                while first < last:
                    answer = pool.submit(ask, rows, state)
                    digest.add(rows)
                    with_data = _with_data(rows)
                    following = first + len(rows)
                    if following < last:
                        rows = signal.rows(following, min(following + chunk_bins, last), last)
                    outputs = answer.result()
                    state = {name: outputs[carried] for name, carried in STATE.items()}
                    values = _rows_of(connection, outputs, following - first, served.size)
                    yield _piece(signal.chrom, first, values.copy(), with_data)
                    first = following


def _state_shape(model: ServedModel, name: str) -> tuple[int, ...]:
    """Shape of a state of one sequence."""
    return tuple(1 if length < 0 else length for length in model.inputs[name])


def _rows_of(connection: Connection, outputs: Tensors, bins: int, size: int) -> NDArray[np.float32]:
    embedding = outputs[EMBEDDING]
    if embedding.shape != (1, bins, size):
        raise ServerRefused(
            f"{connection.access.address}: an embedding of shape {embedding.shape} for {bins} bins of {size} numbers"
        )
    values: NDArray[np.float32] = embedding[0]
    return values


def _with_data(signal: Signal) -> NDArray[np.bool_]:
    """Which bins have data in any track."""
    return np.asarray(np.isfinite(signal).any(axis=1))


def _piece(chrom: str, first: int, values: NDArray[np.float32], with_data: NDArray[np.bool_]) -> BinValues:
    values[~with_data] = np.nan
    return BinValues(chrom, first, values)
