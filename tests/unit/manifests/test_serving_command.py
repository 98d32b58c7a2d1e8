"""What the manifests start is a command line of the server, and what they grant it is what that line needs."""

from __future__ import annotations

import pytest

from epilstm.serving.server.command import serve
from support.manifests.rendered_manifests import OVERLAYS, Document, one, rendered
from support.nonempty import nonempty

OWN_SERVER = [overlay for overlay in OVERLAYS if overlay.startswith("serving/") and not overlay.endswith("/triton")]

#: Resident memory without requests, bytes.
AT_REST = 130 << 20


def options(container: Document) -> dict[str, object]:
    command, *words = container["args"]
    assert command == "serve"
    return serve.make_context("serve", list(words)).params


def predictors(overlay: str) -> list[Document]:
    spec = one(rendered(overlay), "InferenceService")["spec"]
    return [spec["predictor"], *(canary["predictor"] for canary in spec.get("canary", []))]


@pytest.mark.parametrize("overlay", OWN_SERVER)
def test_the_server_listens_where_the_manifests_say(overlay):
    for predictor in nonempty(predictors(overlay)):
        [container] = predictor["containers"]
        given = options(container)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert given["host"] == "0.0.0.0"
        assert (given["http_port"], given["grpc_port"]) == (ports["http1"], ports["h2c"])
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] == given["http_port"]


@pytest.mark.parametrize("overlay", OWN_SERVER)
def test_it_has_the_time_to_answer_what_it_has_accepted(overlay):
    predictor = predictors(overlay)[0]
    given = options(predictor["containers"][0])
    assert given["linger_s"] + given["timeout_s"] < predictor["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("overlay", OWN_SERVER)
def test_the_bodies_that_it_takes_fit_into_its_memory(overlay):
    for predictor in nonempty(predictors(overlay)):
        [container] = predictor["containers"]
        limit = container["resources"]["limits"]["memory"]
        assert limit.endswith("Gi")
        bodies = options(container)["max_pending_mb"] << 20
        assert AT_REST + 3 * bodies < int(limit.removesuffix("Gi")) << 30  # REST, and gRPC, which holds a copy
