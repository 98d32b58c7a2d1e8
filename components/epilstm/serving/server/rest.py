"""The REST form of the protocol, the metrics, and the look-up of regions."""

from __future__ import annotations

import asyncio
from typing import Any

from epilstm.serving.server.content_encoding import ENCODINGS
from epilstm.serving.server.encoder import Encoder
from epilstm.serving.server.http_message import HttpRequest, HttpResponse, json_length, json_response
from epilstm.serving.server.metrics import CONTENT_TYPE as METRICS_TYPE
from epilstm.serving.server.refusal import Refusal, Status, bad_request
from epilstm.serving.server.regions import RegionStore
from epilstm.serving.server.service import InferenceService
from epilstm.serving.server.tensors import shown
from epilstm.serving.server.v2_json import BINARY_TYPE, JSON_TYPE, describe_model, format_response, parse_request

#: JSON above this is parsed in another thread, so that health checks are answered meanwhile.
LARGE_JSON_BYTES = 256 << 10

#: Paths for monitoring; they need no token.
OPEN_PATHS = ("/v2/health/live", "/v2/health/ready", "/metrics")


class RestApplication:
    """Answers HTTP requests.

    Parameters
    ----------
    regions : RegionStore, optional
        Embeddings to look regions up in.
    """

    def __init__(self, service: InferenceService, regions: RegionStore | None = None) -> None:
        self.service, self.regions = service, regions

    def admit(self, request: HttpRequest) -> None:
        """Refuse what will not be answered, whatever its body says.

        Raises
        ------
        Refusal
            No token, no such path or method, or an encoding that is not supported.
        """
        if request.path not in OPEN_PATHS:
            self.service.authorize(request.headers.get("authorization", ""))
        parts = request.path.strip("/").split("/")
        inference = parts[:2] == ["v2", "models"] and parts[-1] == "infer"
        allowed = ("POST",) if inference else ("GET", "HEAD")
        if parts[0] not in ("v1", "v2", "metrics"):
            raise _no_such_path(request.path)
        if request.method not in allowed:
            raise Refusal(
                Status.METHOD_NOT_ALLOWED,
                f"{request.method} {shown(request.path)}: use {allowed[0]}",
                headers={"allow": ", ".join(allowed)},
            )
        if request.encoding not in ENCODINGS:
            raise Refusal(
                Status.UNSUPPORTED_MEDIA_TYPE,
                f"content encoding {shown(request.encoding)} is not supported; send {', '.join(ENCODINGS)}",
                headers={"accept-encoding": ", ".join(ENCODINGS)},
            )
        if inference:
            encoder, _ = self._model(parts)
            request.model = encoder.spec.name

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request.

        Raises
        ------
        Refusal
            It cannot be answered as asked.
        """
        parts = request.path.strip("/").split("/")
        match parts:
            case ["v2"]:
                return json_response(self.service.describe_server())
            case ["v2", "health", "live"]:
                return json_response({"live": True})
            case ["v2", "health", "ready"]:
                self._require_ready()
                return json_response({"ready": True})
            case ["v2", "models", *_]:
                return await self._answer_model(request, parts)
            case ["metrics"]:
                return HttpResponse(Status.OK, (self.service.metrics.text(),), METRICS_TYPE)
            case ["v1", "regions", region]:
                return await self._answer_region(request, region)
            case ["v1", "embeddings"]:
                return json_response(self._region_store().describe())
        raise _no_such_path(request.path)

    def answered(self, request: HttpRequest | None, response: HttpResponse, received: int, seconds: float) -> None:
        """Count and log an answer."""
        self.service.answered(
            "rest",
            request.method if request else "",
            request.path if request else "",
            request.model if request else "",
            str(int(response.status)),
            request.id if request else "",
            received,
            response.body_bytes if request is None or request.wants_body else 0,
            seconds,
        )

    async def _answer_model(self, request: HttpRequest, parts: list[str]) -> HttpResponse:
        encoder, action = self._model(parts)
        if request.query:
            raise bad_request(f"{shown(next(iter(request.query)))}: {shown(request.path)} has no options")
        if action == "infer":
            return await self._infer(request, encoder)
        if action == "ready":
            self._require_ready()
            return json_response({"name": encoder.spec.name, "ready": True})
        return json_response(describe_model(encoder.spec))

    def _model(self, parts: list[str]) -> tuple[Encoder, str]:
        """The model that a path names, and what is wanted of it.

        Raises
        ------
        Refusal
            There is no such model, version or action.
        """
        name, rest = (parts[2] if len(parts) > 2 else ""), parts[3:]
        version = ""
        if len(rest) >= 2 and rest[0] == "versions":
            version, rest = rest[1], rest[2:]
        encoder = self.service.repository.encoder(name, version)
        if rest not in ([], ["ready"], ["infer"]):
            raise _no_such_path("/" + "/".join(parts))
        return encoder, rest[0] if rest else ""

    async def _infer(self, request: HttpRequest, encoder: Encoder) -> HttpResponse:
        if not request.body:
            raise bad_request("the request has no body; send a JSON object with inputs")
        length = json_length(request)
        arguments = (request.body, length, encoder.spec, self.service.limits.bins)
        if (len(request.body) if length is None else length) > LARGE_JSON_BYTES:
            parsed = await asyncio.to_thread(parse_request, *arguments)
        else:
            parsed = parse_request(*arguments)
        outputs = await self.service.infer(encoder, parsed.inputs)
        parts, head_length = format_response(encoder.spec, parsed, outputs)
        if head_length is None:
            return HttpResponse(Status.OK, parts, JSON_TYPE)
        return HttpResponse(Status.OK, parts, BINARY_TYPE, {"inference-header-content-length": str(head_length)})

    def _require_ready(self) -> None:
        if not self.service.ready:
            raise Refusal(Status.UNAVAILABLE, "not ready: the server is starting or shutting down", 1)

    def _region_store(self) -> RegionStore:
        if self.regions is None:
            raise Refusal(Status.NOT_FOUND, "no embeddings are served; start the server with --embeddings")
        return self.regions

    async def _answer_region(self, request: HttpRequest, region: str) -> HttpResponse:
        store = self._region_store()
        arguments: tuple[Any, ...] = (region, request.query, request.headers.get("accept", ""))
        return await asyncio.to_thread(store.answer, *arguments)


def _no_such_path(path: str) -> Refusal:
    return Refusal(Status.NOT_FOUND, f"no such path: {shown(path)}")
