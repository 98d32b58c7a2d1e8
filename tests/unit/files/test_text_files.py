"""Text as editors, spreadsheets and browsers leave it is read alike; what cannot be read is one line with its cause."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from epilstm.errors import LabelsError
from epilstm.files import text as text_files
from epilstm.files.text import byte_blocks, csv_rows, read_text, table_lines, text_lines, whole_number

TEXT = "one\n\ntwo é\n"
LINES = [(1, "one"), (2, ""), (3, "two é")]


def given(folder: Path, content: bytes) -> Path:
    path = folder / "given.txt"
    path.write_bytes(content)
    return path


FORMS = {
    "UTF-8": TEXT.encode(),
    "byte order mark": TEXT.encode("utf-8-sig"),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 big-endian": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "Latin-1": TEXT.encode("latin-1"),
    "Windows line ends": TEXT.replace("\n", "\r\n").encode(),
    "Mac line ends": TEXT.replace("\n", "\r").encode(),
    "no line end at the end": TEXT.rstrip().encode(),
    "gzip": gzip.compress(TEXT.encode()),
    "gzip of UTF-16": gzip.compress(TEXT.encode("utf-16")),
    "gzip of several members": gzip.compress(b"one\n\n") + gzip.compress("two é\n".encode()),
    "byte order mark within": b"\xef\xbb\xbfone\n\n\xef\xbb\xbftwo \xc3\xa9\n",
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_a_text_is_the_same_lines(tmp_path: Path, content: bytes) -> None:
    path = given(tmp_path, content)
    assert list(text_lines(path, "BED")) == LINES
    assert read_text(path, "BED").rstrip("\n") == TEXT.rstrip("\n")


@pytest.mark.parametrize("content", [FORMS[name] for name in FORMS if "Latin" not in name and "ends" not in name][:4])
def test_blocks_of_bytes_are_utf_8_without_a_mark(tmp_path: Path, content: bytes) -> None:
    assert b"".join(byte_blocks(given(tmp_path, content), "FASTA", size=3)).decode() == TEXT


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_lines_do_not_depend_on_the_size_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(text_files, "READ_SIZE", size)
    letters = random.Random(size)
    text = "".join(letters.choice("ab\té€\U0001f9ec\r\n\n") for _ in range(300))
    path = given(tmp_path, text.encode())
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    assert read_text(path, "BED") == plain
    assert [line for _, line in text_lines(path, "BED")] == plain.removesuffix("\n").split("\n")


def test_latin_1_is_one_warning_with_its_line(tmp_path: Path, warnings_logged: list[str]) -> None:
    path = given(tmp_path, b"plain\nM\xfcller\nM\xfcller\n")
    assert [line for _, line in text_lines(path, "BED")] == ["plain", "Müller", "Müller"]
    assert read_text(path, "BED") == "plain\nMüller\nMüller\n"
    assert len(warnings_logged) == 2
    assert all(f"{path}:2: not UTF-8" in warning for warning in warnings_logged)


UNREADABLE = {
    "truncated gzip": (gzip.compress(random.Random(1).randbytes(99).hex().encode())[:-12], "gzip file is truncated"),
    "damaged gzip": (gzip.compress(b"chr1\n" * 99)[:12] + b"\xff\xff\xff" + bytes(20), "gzip file is damaged"),
    "workbook": (b"PK\x03\x04rest", "an Excel workbook"),
    "bigWig": (b"\x26\xfc\x8f\x88\4\0", "it is a bigWig"),
    "web page": (b"<!DOCTYPE html><p>", "web page"),
    "binary": (b"chr1\nchr2\0\0", "line 2 holds a zero byte: it is binary"),
    "not UTF-16 after all": (b"\xff\xfe\0", "its first bytes say UTF-16"),
}


@pytest.mark.parametrize(("content", "cause"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_not_text_is_one_line_with_the_cause(tmp_path: Path, content: bytes, cause: str) -> None:
    path = given(tmp_path, content)
    for read in (lambda: list(text_lines(path, "BED", LabelsError)), lambda: read_text(path, "BED", LabelsError)):
        with pytest.raises(LabelsError) as caught:
            read()
        assert str(caught.value).startswith(f"{path}: cannot be read as BED: ")
        assert cause in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"none\.bed: no such file; give the path of a file \(BED\)"):
        read_text(tmp_path / "none.bed", "BED", LabelsError)
    with pytest.raises(LabelsError, match="cannot be read as BED: it is a folder"):
        list(text_lines(tmp_path, "BED", LabelsError))


def test_tables_leave_out_what_is_no_data(tmp_path: Path) -> None:
    text = "browser position chr1\ntrack name=x\n# note\n"
    text += "\nchr1\t0\t9\t\t\n \t \nchr2 1  5\ntrack1\t0\t3\nchr3 \t 1\t2 \nchr4 1 2\tname\n"
    assert list(table_lines(text_lines(given(tmp_path, text.encode()), "BED"))) == [
        (5, ["chr1", "0", "9"]),
        (7, ["chr2", "1", "5"]),
        (8, ["track1", "0", "3"]),
        (9, ["chr3", "1", "2"]),
        (10, ["chr4", "1", "2", "name"]),
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("1000", 1000),
        ("100.0", 100),
        ("1e+03", 1000),
        ("1E6", 1_000_000),
        ("1.5e3", 1500),
        ("+7", 7),
        ("2.4895642e+08", 248_956_420),
        *[(text, None) for text in ("", "-1", "1.5", "1e-3", "1e99", "²", "٣", "1_000", "0x1", "nan", "inf", "9" * 19)],
    ],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_csv_is_separated_as_its_header_is(tmp_path: Path, separator: str) -> None:
    text = 'a|b|"c,d;e\tf"||\n1|"2,3"|||\n||||\n\n4|"5\n6"|7||\n'.replace("|", separator)
    assert list(csv_rows(given(tmp_path, ("\n" + text).encode()), "CSV")) == [
        (2, ["a", "b", "c,d;e\tf"]),
        (3, ["1", "2,3"]),
        (7, ["4", "5\n6", "7"]),
    ]


def test_an_open_quote_is_an_error_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"given.txt:2: cannot be read as CSV: .*; check its quotes"):
        list(csv_rows(given(tmp_path, b'a,b\n1,"2\n'), "CSV", LabelsError))
