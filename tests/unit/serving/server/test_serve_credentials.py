"""Token and certificate change under a running server."""

from __future__ import annotations

import ssl

import pytest

from epilstm.errors import ParamsError
from epilstm.serving.server.credentials import Credentials
from support.serve.server_process import make_certificate


@pytest.fixture
def files(tmp_path):
    (tmp_path / "token").write_text("first\n")
    return tmp_path / "token", make_certificate(tmp_path)


def test_a_token_that_changes_is_the_one_asked_for(files):
    token, tls = files
    credentials = Credentials(token, tls)
    assert credentials.authorization == b"Bearer first"
    token.write_text("second\n")
    credentials.refresh()
    assert credentials.authorization == b"Bearer second"


def test_what_cannot_be_used_leaves_the_old_in_force(files, tmp_path):
    token, (certificate, key) = files
    credentials = Credentials(token, (certificate, key))
    token.write_text("two words")
    credentials.refresh()
    assert credentials.authorization == b"Bearer first"
    key.write_text(make_certificate(tmp_path.parent)[1].read_text())  # not this certificate's
    credentials.refresh()
    client = ssl.create_default_context(cafile=certificate)
    assert hands_shake(client, credentials.context)


def test_what_cannot_be_used_at_the_start_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="--token-file"):
        Credentials(tmp_path / "none")
    with pytest.raises(ParamsError, match="--tls-cert"):
        Credentials(None, (tmp_path / "none", tmp_path / "none"))


def hands_shake(client: ssl.SSLContext, server: ssl.SSLContext) -> bool:
    """Whether two ends come to terms, in memory."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname="localhost"),
        server.wrap_bio(there, back, server_side=True),
    ]
    done = set()
    for _ in range(10):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                done.add(number)
            except ssl.SSLWantReadError:
                pass
    return done == {0, 1}
