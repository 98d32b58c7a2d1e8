"""Object stores as fsspec opens them: with time-outs, attempts, and no more of S3 than every store of that kind has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

#: Seconds to connect, and to wait for the next byte; attempts at one request.
S3_CONFIG = {"connect_timeout": 10, "read_timeout": 60, "retries": {"mode": "standard", "max_attempts": 4}}

#: Checksums of newer S3 clients, by the option of botocore and the variable that sets it. Many stores refuse them.
S3_CHECKSUMS = {
    "request_checksum_calculation": "AWS_REQUEST_CHECKSUM_CALCULATION",
    "response_checksum_validation": "AWS_RESPONSE_CHECKSUM_VALIDATION",
}


def open_store(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI or path, and the path in it.

    Raises
    ------
    ImportError, ValueError
        No driver for the scheme, or not a URI.
    """
    import fsspec

    options = s3_options() if uri.startswith(("s3://", "s3a://")) else {}
    file_system, path = fsspec.core.url_to_fs(uri, **options)
    return file_system, path


def s3_options() -> dict[str, Any]:
    """Options of s3fs; checksums only where the protocol requires them, unless the environment says otherwise."""
    checksums = {option: os.environ.get(name, "when_required") for option, name in S3_CHECKSUMS.items()}
    return {"config_kwargs": {**S3_CONFIG, **checksums}, "use_listings_cache": False}


def delete(file_system: Any, paths: Sequence[str]) -> None:
    """Delete files: all at once, or one by one where the store refuses that.

    Bulk deletion needs a checksum, and stores differ in which: Content-MD5, a newer one, or none.

    Raises
    ------
    Exception
        What the driver raises, as it likes, for a file that cannot be deleted.
    """
    try:
        file_system.rm(list(paths))
    except Exception:  # whatever it is: the same request file by file succeeds, or says what is wrong
        for path in paths:
            if file_system.exists(path):
                file_system.rm_file(path)
