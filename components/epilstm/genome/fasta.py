"""GC content of bins, from a FASTA file read once from end to end: plain or gzipped, whatever its line lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.files.text import byte_blocks
from epilstm.genome.name_matching import those_there

#: Bytes read at once.
READ_BYTES = 4 << 20

_AT, _GC, _OTHER, _SPACE = 0, 1, 2, 3

#: What each byte of a sequence stands for. N and the other IUPAC codes of more than one base are unknown.
_KIND = np.full(256, _OTHER, np.uint8)
_KIND[np.frombuffer(b"ATUatu", np.uint8)] = _AT
_KIND[np.frombuffer(b"GCgc", np.uint8)] = _GC
_KIND[np.frombuffer(b"\r\n\t ", np.uint8)] = _SPACE


def gc_content(path: Path, sizes: Mapping[str, int], bin_size: int) -> dict[str, NDArray[np.float32]]:
    """Share of G and C among the known bases of every bin of some chromosomes.

    Parameters
    ----------
    path : Path
        FASTA file, gzipped or not. A sequence's name ends at the first white space.
    sizes : mapping of str to int
        Chromosomes wanted and their sizes in base pairs.
    bin_size : int
        In base pairs.

    Returns
    -------
    dict of str to (bins,) float32 array
        NaN where a bin has no known base.

    Raises
    ------
    DataError
        Not FASTA, or a chromosome is absent, there twice, or of another length than the assembly's.
    """
    content: dict[str, NDArray[np.float32]] = {}
    seen: list[str] = []
    counts: _Counts | None = None
    for name, piece in _pieces(path):
        if piece is None:
            _finish(counts, path, sizes, content)
            counts = _Counts(name, sizes[name], bin_size) if name in sizes else None
            seen.append(name)
            if name in content:
                raise DataError(f"{path}: two sequences are called {name}; give a FASTA with one of each")
        elif counts is not None:
            counts.add(piece)
    _finish(counts, path, sizes, content)
    absent = [chrom for chrom in sizes if chrom not in content]
    if absent:
        raise DataError(
            f"{path}: no sequence called {absent[0]}; it has {those_there(absent[0], seen)}; "
            "give the assembly's FASTA, with chromosomes named alike"
        )
    return content


class _Counts:
    """Known bases, and those that are G or C, of each bin of a chromosome."""

    def __init__(self, chrom: str, size: int, bin_size: int) -> None:
        self.chrom, self.size, self.bin_size, self.bases = chrom, size, bin_size, 0
        self.known = np.zeros(-(-size // bin_size) + 1, np.int32)
        self.gc = self.known.copy()

    def add(self, piece: bytes) -> None:
        kind = _KIND[np.frombuffer(piece, np.uint8)]
        kind = kind[kind != _SPACE]
        first = self.bases
        self.bases += len(kind)
        if not len(kind) or self.bases > self.size:
            return
        # Bins that the piece touches; the first may have begun with an earlier piece.
        start, stop = first // self.bin_size, -(-self.bases // self.bin_size)
        padded = np.full((stop - start) * self.bin_size, _OTHER, np.uint8)
        padded[first - start * self.bin_size :][: len(kind)] = kind
        rows = padded.reshape(-1, self.bin_size)
        self.known[start:stop] += (rows < _OTHER).sum(axis=1, dtype=np.int32)
        self.gc[start:stop] += (rows == _GC).sum(axis=1, dtype=np.int32)


def _finish(
    counts: _Counts | None, path: Path, sizes: Mapping[str, int], content: dict[str, NDArray[np.float32]]
) -> None:
    if counts is None:
        return
    if counts.bases != counts.size:
        raise DataError(
            f"{path}: {counts.chrom} has {counts.bases:,} bases, the data set's assembly {counts.size:,}; "
            "give the FASTA of that assembly"
        )
    known, gc = counts.known[:-1], counts.gc[:-1]
    content[counts.chrom] = np.where(known > 0, gc / np.maximum(known, 1), np.nan).astype(np.float32)


def _pieces(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """Sequences one after the other: (name, None) where one begins, then (name, part of it)."""
    name, header = "", b""
    in_header = False
    first = True
    for raw in byte_blocks(path, "FASTA", DataError, READ_BYTES):
        block = raw.replace(b"\r", b"\n")  # of old Macs, and of Windows, whose lines then are followed by empty ones
        if first and not block.lstrip()[:1] == b">":
            raise DataError(f"{path}: not FASTA: its first line does not begin with '>'")
        first = False
        at = 0
        while at < len(block):
            if in_header:
                end = block.find(b"\n", at)
                header += block[at : end if end >= 0 else len(block)]
                at = end + 1 if end >= 0 else len(block)
                if end >= 0:
                    in_header, name = False, (header.split() or [b""])[0].decode("utf-8", "replace")
                    yield name, None
            else:
                begin = block.find(b">", at)
                end = begin if begin >= 0 else len(block)
                if end > at:
                    yield name, block[at:end]
                in_header, header = begin >= 0, b""
                at = end + 1 if begin >= 0 else end
    if first:
        raise DataError(f"{path}: the file is empty; give the assembly's FASTA")
