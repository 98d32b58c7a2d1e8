"""A running server takes over new credentials."""

from __future__ import annotations

import ssl

import pytest

from support.serve.server_process import binary_request, make_certificate
from support.watching import wait_until


@pytest.fixture
def files(tmp_path):
    (tmp_path / "token").write_text("first\n")
    return tmp_path / "token", make_certificate(tmp_path)


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
    wait_until(lambda: answers("new"))
    assert not answers("old")
    assert process.stop() == 0
