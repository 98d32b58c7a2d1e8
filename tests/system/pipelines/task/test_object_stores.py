"""Object stores that take less than Amazon's S3, and what a secret gives pods."""

from __future__ import annotations

import os

import pytest

from epilstm.pipelines.task import storage
from epilstm.pipelines.task.secret_variables import set_variables

NEWER_CHECKSUMS = ("x-amz-checksum-", "x-amz-sdk-checksum-algorithm", "x-amz-trailer")


def wants_md5(names: set[str], query: str) -> tuple[str, str] | None:
    """As stores of before the newer checksums answer to bulk deletion."""
    return ("400 Bad Request", "MissingContentMD5") if query == "delete" and "content-md5" not in names else None


def takes_no_checksum(names: set[str], query: str) -> tuple[str, str] | None:
    newer = any(name.startswith(NEWER_CHECKSUMS) for name in names)
    return ("501 Not Implemented", "NotImplemented") if newer else None


@pytest.mark.parametrize("store", [None, wants_md5, takes_no_checksum], ids=["as it is", "MD5", "no checksums"])
def test_files_are_written_read_and_deleted_whatever_checksums_a_store_takes(bucket, tmp_path, store):
    if store is not None:
        bucket.server.refuse_headers = store
    names = ["a", "b/c", "b/d e+%"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    uri = f"{bucket.uri}/work"
    storage.upload(tmp_path, names, uri)
    assert storage.read(f"{uri}/b/d e+%") == b"b/d e+%"
    storage.remove(uri, names[:2])
    assert storage.sizes(uri) == {"b/d e+%": 7}


def test_deletion_that_is_denied_is_one_line(bucket, tmp_path):
    (tmp_path / "a").write_text("a")
    storage.upload(tmp_path, ["a"], bucket.uri)
    bucket.server.refuse = lambda method, path: ("403 Forbidden", "AccessDenied") if method != "GET" else None
    with pytest.raises(storage.DataError, match="access denied"):
        storage.remove(bucket.uri, ["a"])


def test_checksums_are_as_the_environment_says(bucket, tmp_path, monkeypatch):
    seen: set[str] = set()

    def keep(names: set[str], query: str) -> None:
        seen.update(name for name in names if name.startswith(NEWER_CHECKSUMS))

    bucket.server.refuse_headers = keep
    (tmp_path / "a").write_text("a")
    storage.upload(tmp_path, ["a"], bucket.uri)
    assert seen == set()
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    storage.upload(tmp_path, ["a"], bucket.uri)
    assert seen


def test_every_aws_variable_of_the_secret_is_set_and_nothing_else(tmp_path, monkeypatch):
    before = dict(os.environ)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ["AWS_REGION"] = "set before"
    keys = {
        "AWS_ENDPOINT_URL_S3": "http://a\n",
        "AWS_REGION": "eu",
        "AWS_NEW_OPTION": "x",
        "PATH": "/evil",
        "aws_x": "y",
    }
    for name, value in keys.items():
        (tmp_path / name).write_text(value)
    (tmp_path / "AWS_FOLDER").mkdir()
    set_variables(tmp_path)
    changed = {name: value for name, value in os.environ.items() if before.get(name) != value}
    assert changed == {"AWS_ENDPOINT_URL_S3": "http://a", "AWS_REGION": "set before", "AWS_NEW_OPTION": "x"}


def test_without_a_secret_nothing_is_set(tmp_path):
    before = dict(os.environ)
    set_variables(tmp_path / "none")
    assert dict(os.environ) == before
