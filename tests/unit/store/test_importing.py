"""Tracks are brought in once, with where they came from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from epilstm.errors import DataError, TrackError
from epilstm.store.track_import import import_sheet, read_sources, refresh
from epilstm.tracks.samplesheet import read_samplesheet
from support.store.fixtures import Files


@pytest.fixture
def sheet(files: Files, tmp_path: Path) -> Path:
    files.content = {"/a.bigwig": b"signal of a", "/b.bigwig": b"signal of b"}
    path = tmp_path / "remote.csv"
    path.write_text(f"cell_type,assay,uri\nE1,DNase,{files.url}/a.bigwig\nE1,H3K4me3,{files.url}/b.bigwig\n")
    return path


def test_tracks_come_with_a_samplesheet_checksums_and_where_they_are_from(sheet: Path, files: Files, tmp_path: Path):
    done = import_sheet(sheet, tmp_path / "tracks", 0)
    assert (done.changed, done.unchanged) == (["E1-DNase", "E1-H3K4me3"], 0)
    assert (tmp_path / "tracks" / "E1-DNase.bigwig").read_bytes() == b"signal of a"
    rows = read_samplesheet(tmp_path / "tracks" / "samplesheet.csv")
    assert [row.sha256 for row in rows] == [hashlib.sha256(each).hexdigest() for each in files.content.values()]
    assert [row.uri for row in rows] == ["E1-DNase.bigwig", "E1-H3K4me3.bigwig"]
    source = read_sources(tmp_path / "tracks").tracks["E1-DNase"]
    assert (source.uri, source.bytes) == (f"{files.url}/a.bigwig", 11)
    assert source.version == f'"{hashlib.md5(b"signal of a").hexdigest()}"'


def test_what_has_not_changed_is_not_read_again_and_keeps_its_bytes(sheet: Path, files: Files, tmp_path: Path):
    import_sheet(sheet, tmp_path / "tracks", 0)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "tracks").iterdir()}
    files.downloads.clear()
    assert not import_sheet(sheet, tmp_path / "tracks", 0).anything
    assert not refresh(tmp_path / "tracks", 0).anything
    assert files.downloads == []
    after = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "tracks").iterdir()}
    assert after == before


def test_only_what_has_changed_at_its_source_is_read_again(sheet: Path, files: Files, tmp_path: Path):
    import_sheet(sheet, tmp_path / "tracks", 0)
    files.downloads.clear()
    files.content["/b.bigwig"] = b"SIGNAL of b"
    done = refresh(tmp_path / "tracks", 0)
    assert (done.changed, done.unchanged, files.downloads) == (["E1-H3K4me3"], 1, ["/b.bigwig"])
    assert (tmp_path / "tracks" / "E1-H3K4me3.bigwig").read_bytes() == b"SIGNAL of b"


def test_a_source_that_says_nothing_of_itself_is_read_again_unless_its_checksum_is_given(
    sheet: Path, files: Files, tmp_path: Path
):
    files.etags = False
    import_sheet(sheet, tmp_path / "tracks", 0)
    files.downloads.clear()
    assert not refresh(tmp_path / "tracks", 0).anything  # read, and found the same
    assert len(files.downloads) == 2
    digests = [hashlib.sha256(each).hexdigest() for each in files.content.values()]
    lines = sheet.read_text().splitlines()
    sheet.write_text("\n".join([f"{lines[0]},sha256", f"{lines[1]},{digests[0]}", f"{lines[2]},{digests[1]}"]))
    import_sheet(sheet, tmp_path / "checked", 0)
    files.downloads.clear()
    import_sheet(sheet, tmp_path / "checked", 0)
    assert files.downloads == []


def test_a_track_that_leaves_the_samplesheet_leaves_the_folder(sheet: Path, tmp_path: Path):
    import_sheet(sheet, tmp_path / "tracks", 0)
    sheet.write_text("\n".join(sheet.read_text().splitlines()[:2]))
    with pytest.raises(DataError, match=r"has 1 tracks that .* does not list \(E1-H3K4me3\), which would be removed"):
        import_sheet(sheet, tmp_path / "tracks", 0)
    assert len(list((tmp_path / "tracks").glob("*.bigwig"))) == 2
    assert import_sheet(sheet, tmp_path / "tracks", 0, overwrite=True).removed == ["E1-H3K4me3"]
    assert not (tmp_path / "tracks" / "E1-H3K4me3.bigwig").exists()


def test_another_order_of_the_same_tracks_is_taken_over(sheet: Path, files: Files, tmp_path: Path):
    import_sheet(sheet, tmp_path / "tracks", 0)
    files.downloads.clear()
    header, first, second = sheet.read_text().splitlines()
    sheet.write_text("\n".join([header, second, first]))
    import_sheet(sheet, tmp_path / "tracks", 0)
    assert files.downloads == []
    assert read_sources(tmp_path / "tracks").order == ["E1-H3K4me3", "E1-DNase"]
    assert [row.assay for row in read_samplesheet(tmp_path / "tracks" / "samplesheet.csv")] == ["H3K4me3", "DNase"]


def test_local_files_are_brought_in_too(tmp_path: Path):
    (tmp_path / "a.bigwig").write_bytes(b"local")
    (tmp_path / "sheet.csv").write_text("cell_type,assay,uri\nE1,DNase,a.bigwig\n")
    import_sheet(tmp_path / "sheet.csv", tmp_path / "tracks", 0)
    assert not refresh(tmp_path / "tracks", 0).anything
    (tmp_path / "a.bigwig").write_bytes(b"other")
    os.utime(tmp_path / "a.bigwig", ns=(1, 1))
    assert refresh(tmp_path / "tracks", 0).changed == ["E1-DNase"]


def test_a_wrong_checksum_keeps_what_was_there(sheet: Path, files: Files, tmp_path: Path):
    import_sheet(sheet, tmp_path / "tracks", 0)
    digest = hashlib.sha256(b"signal of a").hexdigest()
    header, first, _ = sheet.read_text().splitlines()
    sheet.write_text(f"{header},sha256\n{first},{digest}\n")
    files.content["/a.bigwig"] = b"tampered with"
    with pytest.raises(TrackError, match="wrong checksum"):
        import_sheet(sheet, tmp_path / "tracks", 0, overwrite=True)
    assert (tmp_path / "tracks" / "E1-DNase.bigwig").read_bytes() == b"signal of a"
    assert not list((tmp_path / "tracks").glob("*incoming*"))


def test_a_source_that_is_gone_is_reported(sheet: Path, files: Files, tmp_path: Path):
    del files.content["/b.bigwig"]
    with pytest.raises(TrackError, match=r"b.bigwig: the server answers 404"):
        import_sheet(sheet, tmp_path / "tracks", 0)
    assert not (tmp_path / "tracks" / "sources.json").exists()


def test_a_folder_with_other_content_is_left_alone(sheet: Path, tmp_path: Path):
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"tracks: has other content \(thesis.tex\)"):
        import_sheet(sheet, tmp_path / "tracks", 0)


def test_refreshing_what_was_never_imported_is_reported(tmp_path: Path):
    with pytest.raises(DataError, match=r"sources.json: no such file"):
        refresh(tmp_path, 0)
