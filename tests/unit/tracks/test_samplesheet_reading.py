"""What a samplesheet may look like, and what is said when it does not."""

from __future__ import annotations

import gzip
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epilstm.errors import SamplesheetError
from epilstm.tracks.samplesheet import (
    Track,
    format_samplesheet,
    is_local,
    mixed_assays,
    read_samplesheet,
    resolve_uri,
    scan_samplesheet,
    write_samplesheet,
)
from epilstm.tracks.signal_transform import TRANSFORMS, UNCOVERED
from support.nonempty import nonempty

DIGEST = "0123456789abcdef" * 4


def sheet(folder: Path, content: str | bytes) -> Path:
    path = folder / "sheet.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def error(folder: Path, content: str | bytes) -> str:
    with pytest.raises(SamplesheetError) as caught:
        read_samplesheet(sheet(folder, content))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_rows_become_tracks_in_their_order(tmp_path):
    path = sheet(tmp_path, f"cell_type,assay,uri,sha256\nE116,H3K4me3,a.bw,{DIGEST}\nE003,DNase,s3://b/c.bw,\n")
    first, second = read_samplesheet(path)
    assert first == Track("E116", "H3K4me3", "a.bw", DIGEST)
    assert second == Track("E003", "DNase", "s3://b/c.bw", None)
    assert first.name == "E116-H3K4me3"


def test_columns_may_come_in_any_order_and_sha256_be_absent(tmp_path):
    assert read_samplesheet(sheet(tmp_path, "uri,assay,cell_type\na.bw,DNase,E1\n")) == [Track("E1", "DNase", "a.bw")]


def test_byte_order_mark_windows_line_ends_and_blank_lines_are_tolerated(tmp_path):
    content = b"\xef\xbb\xbfcell_type,assay,uri\r\n\r\nE1,DNase,a.bw\r\n\r\n"
    assert read_samplesheet(sheet(tmp_path, content)) == [Track("E1", "DNase", "a.bw")]


SHEETS = {
    "UTF-16": "cell_type,assay,uri\nK562,ATAC-seq,a.bw\n".encode("utf-16"),
    "semicolons": b"cell_type;assay;uri\r\nK562;ATAC-seq;a.bw\r\n",
    "tabs": b"cell_type\tassay\turi\nK562\tATAC-seq\ta.bw\n",
    "gzip": gzip.compress(b"cell_type,assay,uri\nK562,ATAC-seq,a.bw\n"),
    "Mac line ends": b"cell_type,assay,uri\rK562,ATAC-seq,a.bw\r",
    "empty columns of a spreadsheet": b"cell_type,assay,uri,,,\nK562,ATAC-seq,a.bw,,,\n,,,,,\n",
    "an empty column between": b"cell_type,assay,,uri\nK562,ATAC-seq,,a.bw\n",
    "blanks around column names": b"cell_type, assay, uri\nK562,ATAC-seq,a.bw\n",
    "an optional value left out": b"cell_type,assay,uri,sha256\nK562,ATAC-seq,a.bw\n",
}


@pytest.mark.parametrize("content", SHEETS.values(), ids=SHEETS.keys())
def test_a_samplesheet_is_read_as_spreadsheets_leave_it(tmp_path, content):
    assert read_samplesheet(sheet(tmp_path, content)) == [Track("K562", "ATAC-seq", "a.bw")]


def test_further_columns_are_carried_along(tmp_path):
    content = "cell_type,assay,uri,lab,donor age\nHeLa S3,DNase,a.bw,Stam,31\nE1,DNase,b.bw,,\n"
    first, second = read_samplesheet(sheet(tmp_path, content))
    assert (first.cell_type, first.metadata) == ("HeLa S3", {"lab": "Stam", "donor age": "31"})
    assert second.metadata == {"lab": "", "donor age": ""}
    assert format_samplesheet([first, second]) == content


def test_latin_1_is_read_with_a_warning(tmp_path, warnings_logged):
    (track,) = read_samplesheet(sheet(tmp_path, "cell_type,assay,uri\nMüller glia,DNase,a.bw\n".encode("latin-1")))
    assert track.cell_type == "Müller glia"
    assert "sheet.csv:2: not UTF-8" in warnings_logged[0]


def test_a_digest_in_upper_case_is_the_same_digest(tmp_path):
    (track,) = read_samplesheet(sheet(tmp_path, f"cell_type,assay,uri,sha256\nE1,DNase,a.bw,{DIGEST.upper()}\n"))
    assert track.sha256 == DIGEST


def test_a_quoted_uri_may_hold_a_comma(tmp_path):
    (track,) = read_samplesheet(sheet(tmp_path, 'cell_type,assay,uri\nE1,DNase,"a,b.bw"\n'))
    assert track.uri == "a,b.bw"


HEADER = "cell_type,assay,uri\n"
BAD_FILES = {
    "empty file": ("", "empty"),
    "blank file": ("\n \n", "empty"),
    "header only": (HEADER, "no tracks"),
    "missing column": ("cell_type,uri\nE1,a.bw\n", ":1: column assay missing"),
    "misspelt column": ("cell_type,assay,uri,transfrom\nE1,DNase,a.bw,none\n", ":1: column 'transfrom' looks like 'tr"),
    "column in capitals": ("cell_type,assay,uri,SHA256\nE1,DNase,a.bw,\n", ":1: column 'SHA256' looks like 'sha256'"),
    "value without a column": ("cell_type,assay,,uri\nE1,DNase,x,a.bw\n", ":2: 'x' is in a column without a name"),
    "blank in a URL": (HEADER + "E1,DNase,a.bw\nE2,DNase,https://h/a b.bw\n", ":3: uri 'https://h/a b.bw' holds ' '"),
    "letter in a URL": (HEADER + "E1,DNase,https://h/é.bw\n", ":2: uri 'https://h/é.bw' holds 'é'"),
    "unknown scheme": (HEADER + "E1,DNase,htps://h/a.bw\n", ":2: uri 'htps://h/a.bw' is of an unknown kind"),
    "URL without a host": (HEADER + "E1,DNase,https:///a.bw\n", ":2: uri 'https:///a.bw' names no host"),
    "column twice": ("cell_type,assay,uri,uri\nE1,DNase,a.bw,b.bw\n", "uri is there twice"),
    "not text": (b"\x26\xfc\x8f\x88\x04\x00", "it is a bigWig"),
    "open quote": (HEADER + 'E1,DNase,"a.bw\n', ":2: cannot be read as a samplesheet (CSV)"),
    "too few values": (HEADER + "E1,DNase\n", ":2: uri is empty"),
    "too many values": (HEADER + "E1,DNase,a,b.bw\n", ":2: 4 values for 3 columns"),
    "empty cell type": (HEADER + ",DNase,a.bw\n", ":2: cell_type is empty"),
    "empty assay": (HEADER + "E1,,a.bw\n", ":2: assay is empty"),
    "blank uri": (HEADER + "E1,DNase, \n", ":2: uri is empty"),
    "blank before cell type": (HEADER + " E1,DNase,a.bw\n", ":2: cell_type ' E1' has blanks around it"),
    "tab in assay": (HEADER + "E1,H3K4\tme3,a.bw\n", ":2: assay 'H3K4\\tme3' has characters that cannot be printed"),
    "NUL in replicate": (
        "cell_type,assay,replicate,uri\nE1,DNase,\0,a.bw\n",
        "line 2 holds a zero byte",
    ),
    "blank before uri": (HEADER + "E1,DNase, a.bw\n", ":2: uri ' a.bw'"),
    "NUL in uri": (HEADER + "E1,DNase,a\0.bw\n", "line 2 holds a zero byte"),
    "short sha256": ("cell_type,assay,uri,sha256\nE1,DNase,a.bw,abc\n", ":2: sha256 'abc' is not 64"),
    "sha256 of other digits": (f"cell_type,assay,uri,sha256\nE1,DNase,a.bw,{'g' * 64}\n", ":2: sha256"),
    "unknown transform": (
        "cell_type,assay,uri,transform\nE1,DNase,a.bw,log2\n",
        ":2: transform 'log2' is none of arcsinh, log1p, none",
    ),
    "unknown uncovered": (
        "cell_type,assay,uri,uncovered\nE1,DNase,a.bw,NA\n",
        ":2: uncovered 'NA' is none of zero, gap, missing",
    ),
    "duplicate": (HEADER + "E1,DNase,a.bw\nE2,DNase,b.bw\nE1,DNase,c.bw\n", ":4: E1 DNase is on line 2 already"),
    "duplicate replicate": (
        "cell_type,assay,replicate,uri\nE1,DNase,1,a.bw\nE1,DNase,2,b.bw\nE1,DNase,1,c.bw\n",
        ":4: E1 DNase 1 is on line 2 already",
    ),
}


@pytest.mark.parametrize(("content", "expected"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_an_unusable_samplesheet_is_one_line_that_names_file_and_row(tmp_path, content, expected):
    message = error(tmp_path, content)
    assert message.startswith(str(tmp_path / "sheet.csv"))
    assert expected in message


def test_a_missing_file_and_a_folder_are_reported(tmp_path):
    with pytest.raises(SamplesheetError, match="no such file"):
        read_samplesheet(tmp_path / "none.csv")
    with pytest.raises(SamplesheetError, match="cannot be read"):
        read_samplesheet(tmp_path)


def test_a_password_in_a_uri_is_refused_and_not_repeated(tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text("cell_type,assay,uri\nE1,DNase,https://me:hush@tracks.example.org/a.bw\n")
    with pytest.raises(SamplesheetError, match="holds a user name or password") as caught:
        read_samplesheet(path)
    assert "hush" not in str(caught.value)


def test_the_number_of_further_problems_is_reported(tmp_path):
    assert "(and 2 more" in error(tmp_path, HEADER + ",DNase,a.bw\n,,b.bw\n")


def test_a_scan_gives_the_usable_rows_and_every_problem(tmp_path):
    path = sheet(tmp_path, HEADER + "E1,DNase,a.bw\n,DNase,b.bw\nE2,DNase,c.bw\nE1,DNase,d.bw\n")
    rows, problems = scan_samplesheet(path)
    assert [(row.number, row.track.uri) for row in rows] == [(2, "a.bw"), (4, "c.bw")]
    assert [problem.split(": ")[0] for problem in problems] == [f"{path}:3", f"{path}:5"]


names = st.text(max_size=12).filter(lambda text: text.isprintable() and text.strip() and text == text.strip())
uris = st.text(string.ascii_letters + string.digits + "/:.,\"'-é", min_size=1, max_size=20).filter(is_local)
digests = st.none() | st.text("0123456789abcdef", min_size=64, max_size=64)
treatments = st.sampled_from(TRANSFORMS), st.sampled_from(UNCOVERED)
tracks = st.lists(
    st.builds(Track, names, names, uris, digests, *treatments, st.none() | names),
    min_size=1,
    max_size=6,
    unique_by=lambda track: track.identity,
)


@given(tracks=tracks)
def test_what_is_written_is_read_back(tracks):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new folder" / "sheet.csv"
        write_samplesheet(path, tracks)
        assert read_samplesheet(path) == tracks
        assert [file.name for file in path.parent.iterdir()] == ["sheet.csv"]


def test_sha256_is_a_column_only_if_some_track_has_one():
    assert format_samplesheet([Track("E1", "DNase", "a.bw")]) == "cell_type,assay,uri\nE1,DNase,a.bw\n"
    assert format_samplesheet([Track("E1", "DNase", "a.bw", DIGEST)]).startswith("cell_type,assay,uri,sha256\n")


def test_without_a_transform_the_signal_is_arcsinhs_and_uncovered_bases_are_0(tmp_path):
    for content in (HEADER + "E1,DNase,a.bw\n", "cell_type,assay,uri,transform,uncovered\nE1,DNase,a.bw,,\n"):
        (track,) = read_samplesheet(sheet(tmp_path, content))
        assert (track.transform, track.uncovered) == ("arcsinh", "zero")


def test_uncovered_bases_follow_the_transform_unless_the_row_says_otherwise(tmp_path):
    path = sheet(
        tmp_path,
        "transform,cell_type,assay,uri,uncovered\nlog1p,E1,ATAC,a.bw,\nnone,E1,WGBS,b.bw,\nnone,E1,logFC,c.bw,zero\n",
    )
    treated = [(track.transform, track.uncovered) for track in read_samplesheet(path)]
    assert treated == [("log1p", "zero"), ("none", "missing"), ("none", "zero")]


def test_transform_is_a_column_only_if_some_track_is_not_arcsinhs():
    found = format_samplesheet([Track("E1", "DNase", "a.bw"), Track("E1", "WGBS", "b.bw", None, "none", "missing")])
    assert found == "cell_type,assay,uri,transform\nE1,DNase,a.bw,arcsinh\nE1,WGBS,b.bw,none\n"


def test_an_assay_whose_tracks_are_treated_differently_is_named():
    tracks = [
        Track("E1", "ATAC", "a.bw", None, "log1p"),
        Track("E2", "ATAC", "b.bw"),
        Track("E3", "ATAC", "c.bw"),
        Track("E1", "DNase", "d.bw"),
    ]
    assert mixed_assays(tracks) == [
        "assay ATAC is treated in 2 ways: transform log1p and uncovered zero in E1, "
        "transform arcsinh and uncovered zero in E2"
    ]
    assert mixed_assays(tracks[1:]) == []


def test_a_samplesheet_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SamplesheetError, match="cannot be written"):
        write_samplesheet(tmp_path / "file" / "sheet.csv", [Track("E1", "DNase", "a.bw")])


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("bigwig/a.bw", "/data/set/bigwig/a.bw"),
        ("../a.bw", "/data/set/../a.bw"),
        ("/abs/a.bw", "/abs/a.bw"),
        ("file:///abs/a%20b.bw", "/abs/a b.bw"),
        ("file://localhost/abs/a.bw", "/abs/a.bw"),
        ("https://host/a.bw?x=1#y", "https://host/a.bw?x=1#y"),
        ("s3://bucket/a.bw", "s3://bucket/a.bw"),
        ("simplecache::s3://bucket/a.bw", "simplecache::s3://bucket/a.bw"),
    ],
)
def test_local_paths_are_relative_to_the_sheet_and_remote_ones_unchanged(uri, expected):
    assert resolve_uri(uri, Path("/data/set/sheet.csv")) == expected
    assert is_local(uri) == expected.startswith("/")


def test_a_tilde_is_the_home_folder():
    assert resolve_uri("~/a.bw", Path("/data/sheet.csv")) == str(Path.home() / "a.bw")


def test_a_file_uri_with_a_host_is_refused():
    with pytest.raises(SamplesheetError, match="three slashes"):
        resolve_uri("file://data/a.bw", Path("/data/sheet.csv"))


@pytest.mark.real_data
def test_the_samplesheet_of_the_pilot_data_is_read(pilot):
    tracks = read_samplesheet(pilot / "samplesheet.csv")
    assert len(tracks) == 25
    assert all(Path(resolve_uri(track.uri, pilot / "samplesheet.csv")).is_file() for track in nonempty(tracks))
