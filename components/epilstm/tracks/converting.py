"""Whatever form a track's file has, as a bigWig: bigWig as it is, unpacked where it is gzipped, written from text."""

from __future__ import annotations

import gzip
import shutil
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from epilstm.errors import TrackError
from epilstm.tracks.bigwig import BIGBED_MAGIC, BIGWIG_MAGIC, SAMPLESHEET_URI
from epilstm.tracks.bigwig_writing import BigWigWriter
from epilstm.tracks.text_signal import text_signal

#: Bytes that a file is known by.
LOOKED_AT = 4_096

_GZIP = b"\x1f\x8b"


def needs_converting(path: Path, name: str, given_as: str = SAMPLESHEET_URI) -> bool:
    """Whether a file is not read as it is; what is neither, `BigWig` says what is wrong with.

    Raises
    ------
    TrackError
        It cannot be read.
    """
    first = _first_bytes(path, name, given_as)
    return first.startswith(_GZIP) or _is_text(first)


def as_bigwig(path: Path, name: str, sizes: Mapping[str, int], folder: Path, given_as: str = SAMPLESHEET_URI) -> Path:
    """Path of a track's file as a bigWig; what the file is follows from its content, whatever it is called.

    Parameters
    ----------
    path : Path
        bigWig, bedGraph or wiggle, plain or gzipped.
    name : str
        What messages call it.
    sizes : mapping of str to int
        Chromosome sizes of the assembly (bp), which text does not have.
    folder : Path
        Exists; a converted file is written there.
    given_as : str, optional
        What the user gave the path as, which messages advise to check.

    Raises
    ------
    TrackError
        Names file, line and cause.
    """
    if not needs_converting(path, name, given_as):
        return path
    first = _first_bytes(path, name, given_as)
    converted = folder / "converted.bigwig"
    if first.startswith(_GZIP):
        try:
            with gzip.open(path) as packed:
                inside = packed.read(LOOKED_AT)
                if not _is_text(inside):
                    if not _has_magic(inside, BIGWIG_MAGIC) and not _has_magic(inside, BIGBED_MAGIC):
                        raise TrackError(
                            f"{name}: gzipped, but neither bigWig nor bedGraph nor wiggle; check {given_as}"
                        )
                    with open(converted, "wb") as unpacked:
                        unpacked.write(inside)
                        shutil.copyfileobj(packed, unpacked, 1 << 20)
                    return converted
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise TrackError(f"{name}: the gzip file is cut short or damaged; copy or download it again") from error
    with BigWigWriter(converted, sizes) as writer:
        for signal in text_signal(path, name, sizes):
            writer.add(*signal[:4])
    return converted


def _first_bytes(path: Path, name: str, given_as: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(LOOKED_AT)
    except FileNotFoundError:
        raise TrackError(f"{name}: no such file; check {given_as}") from None
    except OSError as error:
        raise TrackError(f"{name}: cannot be opened: {error.strerror}") from error


def _has_magic(first: bytes, magic: int) -> bool:
    return first[:4] in (struct.pack("<I", magic), struct.pack(">I", magic))


def _is_text(first: bytes) -> bool:
    """Whether these are bytes of text that may be signal, and not of a web page or a server's message."""
    utf16 = first[:2] in (b"\xff\xfe", b"\xfe\xff")
    return bool(first.strip()) and (utf16 or b"\0" not in first) and not first.lstrip().startswith((b"<", b"{"))
