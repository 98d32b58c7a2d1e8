"""Token and certificate change under a running server."""

from __future__ import annotations

import ssl

import pytest

from epilstm.errors import ParamsError
from epilstm.serving.server.credentials import Credentials
from serve.server_process import binary_request, make_certificate
from watching import wait_until


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


@pytest.mark.integration
def test_both_ports_take_over_a_new_certificate_and_token_without_a_restart(start, tmp_path, signal):
    import tritonclient.grpc as triton_grpc

    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        make_certificate(tmp_path / name)
        (tmp_path / name / "token").write_text(f"{name}\n")
    live = tmp_path / "live"
    live.symlink_to(tmp_path / "old")
    files = [f"--tls-cert={live}/cert.pem", f"--tls-key={live}/key.pem", f"--token-file={live}/token"]
    process = start(*files)

    def answers(name: str) -> bool:
        import http.client
        import urllib.error
        import urllib.request

        body, headers = binary_request(signal)
        headers["authorization"] = f"Bearer {name}"
        url = f"https://localhost:{process.http_port}/v2/models/encoder/infer"
        context = ssl.create_default_context(cafile=tmp_path / name / "cert.pem")
        try:
            request = urllib.request.Request(url, body, headers, method="POST")
            with urllib.request.urlopen(request, context=context):
                pass
            channel = triton_grpc.InferenceServerClient(
                f"localhost:{process.grpc_port}", ssl=True, root_certificates=str(tmp_path / name / "cert.pem")
            )
            with channel:
                channel.get_model_metadata("encoder", headers={"authorization": f"Bearer {name}"})
        except (urllib.error.URLError, http.client.HTTPException, triton_grpc.InferenceServerException):
            return False
        return True

    assert answers("old")
    staged = tmp_path / "staged"
    staged.symlink_to(tmp_path / "new")
    staged.replace(live)
    wait_until(lambda: answers("new"), 60)
    assert not answers("old")
    assert process.stop() == 0
