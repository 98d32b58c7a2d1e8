"""Fetching files from a server that breaks off, changes them, or knows no ranges."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from epilstm.errors import TrackError
from epilstm.tracks import fetching
from epilstm.tracks.fetching import SourceState, download, source_state
from support.ingest.range_server import Files, serve

CONTENT = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FIRST_WAIT", 0.0)


@pytest.fixture
def files() -> Files:
    return Files({"/a": CONTENT})


@pytest.fixture
def url(files: Files) -> Iterator[str]:
    with serve(files) as base:
        yield f"{base}/a"


def test_a_file_arrives_whole_and_alone(url: str, tmp_path: Path) -> None:
    state = download(url, tmp_path / "a", retries=0)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert state == source_state(url) == SourceState(len(CONTENT), '"1"')


def test_a_broken_connection_resumes_where_it_broke(files: Files, url: str, tmp_path: Path) -> None:
    files.break_after = [30_000, 40_000]
    download(url, tmp_path / "a", retries=1)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert files.gets == [None, "bytes=30000-", "bytes=70000-"]


def test_every_further_attempt_is_reported(files: Files, url: str, tmp_path: Path) -> None:
    files.break_after = [30_000, 40_000]
    retries: list[str] = []
    download(url, tmp_path / "a", retries=1, on_retry=lambda: retries.append("again"))
    assert retries == ["again", "again"]


def test_a_later_run_resumes_where_an_earlier_one_ended(files: Files, url: str, tmp_path: Path) -> None:
    files.break_after = [30_000]
    with pytest.raises(TrackError, match="after 1 attempts"):
        download(url, tmp_path / "a", retries=0)
    assert not (tmp_path / "a").exists()
    download(url, tmp_path / "a", retries=0)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert files.gets[-1] == "bytes=30000-"


def test_a_part_that_is_all_of_it_is_taken_as_it_is(files: Files, url: str, tmp_path: Path) -> None:
    download(url, tmp_path / "a", retries=0)
    (tmp_path / "a").rename(tmp_path / "b.part")
    (tmp_path / "b.part.json").write_text('{"version": "\\"1\\""}')
    download(url, tmp_path / "b", retries=0)
    assert (tmp_path / "b").read_bytes() == CONTENT


@pytest.mark.parametrize("longer", [True, False])
def test_a_file_that_changed_in_between_is_fetched_anew(files: Files, url: str, tmp_path: Path, longer: bool) -> None:
    files.break_after = [30_000]
    with pytest.raises(TrackError):
        download(url, tmp_path / "a", retries=0)
    files.content["/a"] = b"new" * 40_000 if longer else b"new"
    files.etag = '"2"'
    download(url, tmp_path / "a", retries=1)
    assert (tmp_path / "a").read_bytes() == files.content["/a"]


def test_a_server_without_ranges_is_asked_for_all_again(files: Files, url: str, tmp_path: Path) -> None:
    files.ranges, files.break_after = False, [30_000]
    download(url, tmp_path / "a", retries=1)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_without_a_version_a_part_is_not_trusted(files: Files, url: str, tmp_path: Path) -> None:
    files.etag, files.break_after = None, [30_000]
    assert download(url, tmp_path / "a", retries=1) is None
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert files.gets == [None, None]


def test_a_server_that_is_overloaded_is_asked_again(files: Files, url: str, tmp_path: Path) -> None:
    files.statuses = [503, 429]
    download(url, tmp_path / "a", retries=2)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_attempts_without_progress_come_to_an_end(files: Files, url: str, tmp_path: Path) -> None:
    files.statuses = [500] * 10
    with pytest.raises(TrackError, match="cannot be read after 3 attempts: the server answers 500"):
        download(url, tmp_path / "a", retries=2)
    assert len(files.gets) == 3


@pytest.mark.parametrize("status", [403, 404])
def test_what_is_refused_is_not_asked_for_again(files: Files, url: str, tmp_path: Path, status: int) -> None:
    files.statuses = [status]
    with pytest.raises(TrackError, match=f"the server answers {status}") as caught:
        download(url, tmp_path / "a", retries=3)
    assert url in str(caught.value)
    assert len(files.gets) == 1


@pytest.mark.parametrize(
    ("location", "cause"),
    [
        ("/a", "the server redirects in a circle, or to where it may not (302"),
        ("file:///etc/hosts", "the server redirects in a circle, or to where it may not (302"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_one_line_and_not_asked_for_again(
    files: Files, url: str, tmp_path: Path, location: str, cause: str
) -> None:
    files.redirects = {"/a": location}
    with pytest.raises(TrackError) as caught:
        download(url, tmp_path / "a", retries=3)
    assert cause in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(files.gets) < 15  # urllib follows up to ten redirects


@pytest.mark.parametrize(
    ("uri", "cause"),
    [
        ("http://127.0.0.1:9/a b.bw", "holds ' ', which a URL cannot; write it as %20"),
        ("http://127.0.0.1:9/é.bw", "holds 'é', which a URL cannot; write it as %C3%A9"),
        ("http:///a.bw", "names no host"),
        ("https://:443/a.bw", "names no host"),
        ("http://127.0.0.1:port/a.bw", "is no valid URL"),
        ("htps://127.0.0.1/a.bw", "is of an unknown kind, htps://; did you mean https://?"),
        ("s3:///a.bw", "names no host or bucket"),
    ],
)
def test_an_invalid_url_is_the_users_error_and_never_tried(tmp_path: Path, uri: str, cause: str) -> None:
    with pytest.raises(TrackError) as caught:
        download(uri, tmp_path / "a", retries=3)
    assert f"{uri}: {cause}" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(TrackError, match="after 2 attempts"):
        download(f"http://127.0.0.1:{port}/a", tmp_path / "a", retries=1)
    assert source_state(f"http://127.0.0.1:{port}/a") is None


def test_other_file_systems_are_read_by_fsspec_and_gone_on_with(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/a", CONTENT)
    uri = "memory://bucket/a"
    state = download(uri, tmp_path / "a", retries=0)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert state == source_state(uri)
    assert state is not None
    (tmp_path / "b.part").write_bytes(b"?" + CONTENT[1:1000])  # a mark that shows that it is not fetched again
    (tmp_path / "b.part.json").write_text(f'{{"version": "{state.version}"}}')
    download(uri, tmp_path / "b", retries=0)
    assert (tmp_path / "b").read_bytes() == b"?" + CONTENT[1:]
    memory.pipe("/bucket/a", b"other")
    assert source_state(uri) != state


def test_a_missing_object_and_an_unknown_scheme_are_errors(tmp_path: Path) -> None:
    with pytest.raises(TrackError, match="no such file"):
        download("memory://bucket/none", tmp_path / "a", retries=3)
    with pytest.raises(TrackError, match="nosuchscheme"):
        download("nosuchscheme://bucket/a", tmp_path / "a", retries=3)


def test_a_local_file_is_known_by_size_and_modification_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    before = source_state(str(path))
    path.write_bytes(b"12")
    assert source_state(str(path)) != before
    with pytest.raises(TrackError, match="no such file"):
        source_state(str(tmp_path / "none"))
    with pytest.raises(TrackError, match="not a file"):
        source_state(str(tmp_path))
