"""Whether the files that a samplesheet names are there and are what it says."""

from __future__ import annotations

import struct
from pathlib import Path

from epilstm.errors import SamplesheetError
from epilstm.files.outputs import sha256_file
from epilstm.tracks.samplesheet import Track, is_local, resolve_uri

#: First four bytes of a bigWig and of a bigBed file (Kent et al. 2010, Bioinformatics 26, 2204, supplement, table 5).
BIGWIG_MAGIC = 0x888FFC26
BIGBED_MAGIC = 0x8789F2EB

#: The fixed header: magic, version, zoom levels, then the offsets of chromosome tree, data and index.
HEADER = "IHHQQQ"


def bigwig_problem(path: Path) -> str | None:
    """What keeps a file from being a whole bigWig, by its header alone.

    Parameters
    ----------
    path : Path
        A local file.

    Returns
    -------
    str or None
        One line naming the file and what to do; None if nothing is wrong with the header.
    """
    if not path.exists():
        return f"{path}: no such file; local paths are relative to the samplesheet"
    if not path.is_file():
        return f"{path}: not a file; give the path of a bigWig"
    try:
        with open(path, "rb") as stream:
            header = stream.read(struct.calcsize("<" + HEADER))
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    for order in "<>":
        magic = struct.unpack_from(f"{order}I", header.ljust(4, b"\0"))[0]
        if magic == BIGBED_MAGIC:
            return f"{path}: a bigBed, not a bigWig; give the signal track"
        if magic == BIGWIG_MAGIC:
            return _truncation(path, order, header)
    return f"{path}: not a bigWig (its first bytes are {header[:8]!r}); convert it with bedGraphToBigWig or wigToBigWig"


def _truncation(path: Path, order: str, header: bytes) -> str | None:
    size = path.stat().st_size
    if len(header) == struct.calcsize("<" + HEADER):
        *_, index_offset = struct.unpack(order + HEADER, header)
        if index_offset < size:
            return None
    return f"{path}: truncated, {size} bytes; copy or download it again"


def track_problem(track: Track, sheet: Path, *, checksums: bool) -> str | None:
    """What is wrong with a track's file, if anything; remote files are taken on trust.

    Parameters
    ----------
    track : Track
        A row of the samplesheet.
    sheet : Path
        The samplesheet, which local paths are relative to.
    checksums : bool
        Read the whole file and compare its SHA-256 where the samplesheet gives one.
    """
    if not is_local(track.uri):
        return None
    try:
        path = Path(resolve_uri(track.uri, sheet))
    except SamplesheetError as error:
        return str(error)
    problem = bigwig_problem(path)
    if problem is None and checksums and track.sha256 and (found := sha256_file(path)) != track.sha256:
        return f"{path}: its sha256 is {found}, not {track.sha256}; get the file again or correct the samplesheet"
    return problem
