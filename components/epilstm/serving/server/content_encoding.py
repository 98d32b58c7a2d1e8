"""Bodies of requests that come compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from epilstm.serving.server.refusal import bad_request

#: Content encodings of requests that are read.
ENCODINGS = ("identity", "gzip", "deflate")

#: Bytes that are decompressed at a time, so that other requests are answered in between.
STEP_BYTES = 1 << 20

#: What zlib calls the forms: gzip, the zlib form that HTTP means by deflate, and the bare one that some clients send.
_GZIP, _ZLIB, _BARE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


def decompressed(body: memoryview, encoding: str) -> Iterator[bytes]:
    """A compressed body, piece by piece, so that its reader can stop where it grows too large.

    Parameters
    ----------
    encoding : str
        ``gzip`` or ``deflate``.

    Raises
    ------
    Refusal
        It is not compressed so, or not whole.
    """
    form = _GZIP if encoding == "gzip" else _deflate_form(body)
    rest: bytes | memoryview = body
    while True:
        reader = zlib.decompressobj(form)
        while not reader.eof:
            try:
                piece = reader.decompress(rest, STEP_BYTES)
            except zlib.error as error:
                raise bad_request(f"the body is not {encoding}: {error}") from None
            rest = reader.unconsumed_tail
            if not piece and not rest and not reader.eof:
                raise bad_request(f"the body is not {encoding}: it ends too early")
            if piece:
                yield piece
        rest = reader.unused_data
        if not rest:
            return
        if encoding != "gzip":  # gzip may come in members, one after the other
            raise bad_request(f"the body is not {encoding}: {len(rest):,} bytes follow its end")


def _deflate_form(body: memoryview) -> int:
    header = int.from_bytes(body[:2], "big")
    return _ZLIB if len(body) >= 2 and body[0] & 0x0F == zlib.DEFLATED and header % 31 == 0 else _BARE
