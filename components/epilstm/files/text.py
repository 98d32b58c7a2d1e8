"""Text files that a user gives, in whatever form editors, spreadsheets and browsers leave them.

Every reader of a user's text goes through this module, so that all of them accept the same: UTF-8 and UTF-16 with a
byte order mark, UTF-8 without, Latin-1 with a warning; line ends of Unix, Windows and old Macs; gzip by content,
whatever the file is called. A file that cannot be read so is one error that names file, line and cause.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import chain, zip_longest
from pathlib import Path

from epilstm.console import log
from epilstm.errors import DataError, EpilstmError

#: Bytes, and then characters, that are read at once.
READ_SIZE = 1 << 18

_GZIP = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

#: First bytes of what is often given in place of text, and what to do about it.
_OTHER_KINDS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV",
    b"BZh": "compressed with bzip2; unpack it, or compress it with gzip",
    b"\xfd7zXZ": "compressed with xz; unpack it, or compress it with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it, or compress it with gzip",
    b"\x26\xfc\x8f\x88": "a bigWig",
    b"\x88\x8f\xfc\x26": "a bigWig",
    b"\xeb\xf2\x89\x87": "a bigBed; convert it with bigBedToBed",
    b"\x87\x89\xf2\xeb": "a bigBed; convert it with bigBedToBed",
    b"BAM\x01": "a BAM file",
    b"%PDF": "a PDF",
    b"<!DOCTYPE": "a web page; download the file itself",
    b"<!doctype": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
}

_SURROGATE = re.compile("[\udc80-\udcff]")

_WHOLE = re.compile(r"\+?[0-9]{1,18}(\.[0-9]{0,18})?([eE][+-]?[0-9]{1,2})?")

#: Largest number taken for a position: what fits 64 bits, which is more than any chromosome has bases.
_LARGEST = 2**63 - 1


def text_lines(path: Path, what: str, error: type[EpilstmError] = DataError) -> Iterator[tuple[int, str]]:
    """Lines of a text file with their numbers, read as they are asked for.

    Parameters
    ----------
    what : str
        What the file should be (``BED``), for messages.
    error : type
        Class of the errors.

    Yields
    ------
    (int, str)
        Number of the line, from 1, and its text without line end and byte order mark.

    Raises
    ------
    EpilstmError
        Of class `error`: the file is missing, damaged, truncated or not text.
    """
    number, rest, warned = 1, "", False
    with _reading(path, what, error):
        for block in _text_blocks(path):
            # Splitting and numbering a whole block is several times as fast as a call for each line.
            rest += block
            if "\n" not in block:
                continue
            plain = rest.isascii()
            *lines, rest = rest.split("\n")
            if not plain:
                warned = _replace_undecoded(lines, path, number, warned)
            yield from enumerate(lines, number)
            number += len(lines)
        if rest:
            last = [rest]
            _replace_undecoded(last, path, number, warned)
            yield number, last[0]


def read_text(path: Path, what: str, error: type[EpilstmError] = DataError) -> str:
    r"""Text of a file, with ``\n`` for every line end and without byte order mark.

    Parameters and errors are those of `text_lines`.
    """
    with _reading(path, what, error):
        lines = "".join(_text_blocks(path)).split("\n")
    _replace_undecoded(lines, path, 1, False)
    return "\n".join(lines)


def byte_blocks(path: Path, what: str, error: type[EpilstmError] = DataError, size: int = 4 << 20) -> Iterator[bytes]:
    """Content of a large text file in blocks of bytes, unpacked, without byte order mark; not UTF-16 but UTF-8.

    Parameters and errors are those of `text_lines`; `size` is the number of bytes of a block, about.
    """
    with _reading(path, what, error):
        blocks = _unpacked_blocks(path, size)
        first = next(blocks, b"")
        if first[:2] in _UTF16:
            for text in _decoded_blocks(first, blocks, "utf-16"):
                yield text.encode()
            return
        _refuse_other_kinds(first)
        if first := first.removeprefix(codecs.BOM_UTF8):
            yield first
        yield from blocks


def table_lines(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Fields of the data lines of a BED-like table; blank, comment, ``track`` and ``browser`` lines are left out.

    Parameters
    ----------
    lines : iterable of (int, str)
        As `text_lines` yields them.

    Yields
    ------
    (int, list of str)
        Number of the line and its fields without blanks around them: separated by tabs, or by any blanks where the
        first is not followed by a tab. Empty fields at the end are left out, since spreadsheets add them.
    """
    for number, line in lines:
        line = line.rstrip()
        if not line or line.lstrip()[0] == "#":
            continue
        fields = [field.strip() for field in line.split("\t")]
        if " " in fields[0] or len(fields) == 1:
            fields = line.split()
        if fields[0].startswith(("track", "browser")) and fields[0].split()[0] in ("track", "browser"):
            continue
        yield number, fields


def csv_rows(path: Path, what: str, error: type[EpilstmError] = DataError) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file, its header among them, with the numbers of their (last) lines.

    Columns are separated by what separates those of the first line: commas, tabs or semicolons. Blank rows, and empty
    fields at the end of rows, are left out: spreadsheets add them.

    Parameters and errors are those of `text_lines`.
    """
    numbered = text_lines(path, what, error)
    number, first = next(((number, line) for number, line in numbered if line.strip(" \t,;")), (1, ""))
    separator = max(",\t;", key=re.sub('"[^"]*"', "", first).count)
    skipped = number - 1
    lines = (f"{line}\n" for line in chain([first], (line for _, line in numbered)))
    rows = csv.reader(lines, delimiter=separator, strict=True)
    try:
        for fields in rows:
            while fields and not fields[-1].strip():
                fields.pop()
            if fields:
                yield rows.line_num + skipped, fields
    except csv.Error as cause:
        raise error(f"{path}:{rows.line_num + skipped}: cannot be read as {what}: {cause}; check its quotes") from None


def csv_records(
    path: Path, what: str, columns: Collection[str], error: type[EpilstmError] = DataError
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file below its header, by column; what a short row lacks is empty.

    Parameters and errors are those of `text_lines`; a file without one of `columns` is an error, too.
    """
    rows = csv_rows(path, what, error)
    header = [column.strip() for column in next(rows, (1, []))[1]]
    missing = [column for column in columns if column not in header]
    if missing:
        raise error(f"{path}: no column {missing[0]!r}; give {what}")
    for number, fields in rows:
        yield number, dict(zip_longest(header, fields[: len(header)], fillvalue=""))


def whole_number(text: str) -> int | None:
    """A number of bases or counts, such as ``1000``, ``100.0`` or ``1e+03``; None for any other text."""
    if text.isdecimal() and text.isascii() and len(text) <= 18:
        return int(text)
    if _WHOLE.fullmatch(text) is None:
        return None
    number = Decimal(text)
    whole = int(number)
    return whole if whole == number and whole <= _LARGEST else None


def _unpacked_blocks(path: Path, size: int) -> Iterator[bytes]:
    """Content of a file, unpacked if it is gzip; the first block has at least its first bytes, if there are any."""
    with open(path, "rb") as file:
        # Looked at without seeking back, which a pipe (a shell's process substitution) cannot.
        packed = file.peek(2)[:2] == _GZIP
        stream: io.BufferedReader | gzip.GzipFile = gzip.GzipFile(fileobj=file) if packed else file
        while block := stream.read(size):
            yield block


def _text_blocks(path: Path) -> Iterator[str]:
    r"""Content of a text file with ``\n`` for every line end; bytes that are not UTF-8 are surrogates in it."""
    blocks = _unpacked_blocks(path, READ_SIZE)
    first = next(blocks, b"")
    if first[:2] in _UTF16:
        return _decoded_blocks(first, blocks, "utf-16")
    _refuse_other_kinds(first)
    return _decoded_blocks(first, blocks, "utf-8-sig")


def _decoded_blocks(first: bytes, blocks: Iterable[bytes], encoding: str) -> Iterator[str]:
    errors = "strict" if encoding == "utf-16" else "surrogateescape"
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(errors), translate=True)
    yield decoder.decode(first)
    for block in blocks:
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def _refuse_other_kinds(first: bytes) -> None:
    for magic, kind in _OTHER_KINDS.items():
        if first.startswith(magic):
            raise _NotTextError(f"it is {kind}")
    zero = first.find(b"\0")
    if zero >= 0:
        line = first.count(b"\n", 0, zero) + 1
        raise _NotTextError(
            f"line {line} holds a zero byte: it is binary (or UTF-16 without a byte order mark); save it as UTF-8 text"
        )


def _replace_undecoded(lines: list[str], path: Path, number: int, warned: bool) -> bool:
    """Take bytes that are not UTF-8 for Latin-1, with a warning for the first line; returns whether there was one."""
    for place, line in enumerate(lines):
        if line.isascii():
            continue
        lines[place] = clean = _SURROGATE.sub(lambda found: chr(ord(found[0]) - 0xDC00), line)
        if clean != line and not warned:
            log.warning(
                f"{path}:{number + place}: not UTF-8; such characters are read as Latin-1 (ISO 8859-1): save the file "
                "as UTF-8 to be sure of them"
            )
            warned = True
        lines[place] = clean.replace("\ufeff", "")  # within a file that was joined from several
    return warned


class _NotTextError(Exception):
    """Another kind of file than text."""


@contextmanager
def _reading(path: Path, what: str, error: type[EpilstmError]) -> Iterator[None]:
    """Turn what can go wrong with a file into one line."""
    cannot = f"{path}: cannot be read as {what}"
    try:
        yield
    except FileNotFoundError:
        raise error(f"{path}: no such file; give the path of a file ({what})") from None
    except IsADirectoryError:
        raise error(f"{cannot}: it is a folder; give the path of a file") from None
    except EOFError:
        raise error(f"{cannot}: the gzip file is truncated; copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as cause:
        raise error(f"{cannot}: the gzip file is damaged ({cause}); copy or download it again") from cause
    except _NotTextError as cause:
        raise error(f"{cannot}: {cause}") from None
    except UnicodeDecodeError as cause:
        raise error(f"{cannot}: its first bytes say UTF-16, but it is not; save it as UTF-8") from cause
    except OSError as cause:
        raise error(f"{cannot}: {cause.strerror or cause}") from cause
