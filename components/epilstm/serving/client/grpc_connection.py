"""The gRPC form of the protocol, tensors as raw contents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from epilstm.errors import ParamsError
from epilstm.runtime.network import proxy_for
from epilstm.serving.client.connection import (
    DATATYPE,
    DTYPE,
    Access,
    Connection,
    NotFound,
    Parameters,
    ServedModel,
    ServerRefused,
    Tensors,
    TryLater,
    seconds_of,
    tensor_of,
)
from epilstm.serving.protocol.open_inference import MESSAGES, SERVICE

#: No limits of gRPC's own: requests are as long as the chunks asked for.
OPTIONS: list[tuple[str, Any]] = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

LATER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class GrpcConnection(Connection):
    """A server over gRPC."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        options = [*OPTIONS, *_proxy_options(access)]
        if "host" in access.headers:
            options.append(("grpc.default_authority", access.headers["host"]))
        if access.address.encrypted:
            credentials = grpc.ssl_channel_credentials(_certificates(access.ca_file))
            self._channel = grpc.secure_channel(access.address.netloc, credentials, options=options)
        else:
            self._channel = grpc.insecure_channel(access.address.netloc, options=options)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _describe(self, model: str, request_id: str) -> ServedModel:
        metadata = self._call("ModelMetadata", MESSAGES["ModelMetadataRequest"](name=model), request_id)
        properties = dict(metadata.properties)
        joined, names = properties.pop("tracks", ""), properties.pop("track_names", None)
        tracks = tuple(joined.split(",") if joined else ()) if names is None else tuple(map(str, json.loads(names)))
        shapes = [
            {tensor.name: tuple(tensor.shape) for tensor in tensors} for tensors in (metadata.inputs, metadata.outputs)
        ]
        return ServedModel(model, metadata.versions[-1] if metadata.versions else "", tracks, properties, *shapes)

    def _infer(
        self, model: ServedModel, inputs: Tensors, parameters: Parameters, request_id: str
    ) -> dict[str, NDArray[np.float32]]:
        message = MESSAGES["ModelInferRequest"](model_name=model.name, model_version=model.version, id=request_id)
        for name, value in parameters.items():
            message.parameters[name].string_param = value
        for name, values in inputs.items():
            message.inputs.add(name=name, datatype=DATATYPE, shape=values.shape)
            message.raw_input_contents.append(np.ascontiguousarray(values, DTYPE).tobytes())
        answer = self._call("ModelInfer", message, request_id)
        if len(answer.raw_output_contents) != len(answer.outputs):
            raise ServerRefused(f"{self.access.address}: the answer to request {request_id} has no raw contents")
        return {
            tensor.name: tensor_of(tensor.name, list(tensor.shape), contents)
            for tensor, contents in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }

    def _call(self, method: str, message: Any, request_id: str) -> Any:
        call = self._channel.unary_unary(f"/{SERVICE}/{method}")  # bytes in and out
        metadata = [("x-request-id", request_id)]
        metadata += [
            (name, value) for name, value in self.access.headers.items() if name not in ("host", "x-request-id")
        ]
        if self.access.token is not None:
            metadata.append(("authorization", f"Bearer {self.access.token}"))
        try:
            content = call(message.SerializeToString(), timeout=self.access.timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise self._refused(error, request_id) from error
        try:
            return MESSAGES[f"{method}Response"].FromString(content)
        except DecodeError as error:
            raise ServerRefused(
                f"{self.access.address}: the answer to {method} is not the Open Inference Protocol's"
            ) from error

    def _refused(self, error: Any, request_id: str) -> Exception:
        code, message = error.code(), " ".join(str(error.details()).split())
        after = seconds_of(
            next((value for key, value in error.trailing_metadata() or () if key == "retry-after"), None)
        )
        if code in LATER or (code == grpc.StatusCode.RESOURCE_EXHAUSTED and after is not None):
            return TryLater(f"answers {code.name} {message}", after)
        kind = NotFound if code == grpc.StatusCode.NOT_FOUND else ServerRefused
        return kind(f"{self.access.address}: answers {code.name} {message} (request id {request_id})")


def _proxy_options(access: Access) -> list[tuple[str, Any]]:
    """The proxy as options of a channel; gRPC by itself reads only some of the variables."""
    proxy = proxy_for(str(access.address))
    if proxy is None:
        return [("grpc.enable_http_proxy", 0)]
    if proxy.url.startswith("https:"):
        raise ParamsError(f"gRPC cannot use the proxy {proxy.url}; give one of http://, or --url https://")
    if proxy.credentials is None:
        return [("grpc.http_proxy", proxy.url)]
    user, password = quote(proxy.user or "", safe=""), quote(proxy.password or "", safe="")
    return [("grpc.http_proxy", f"http://{user}:{password}@{proxy.url.removeprefix('http://')}")]


def _certificates(path: Path | None) -> bytes | None:
    """Certificates to trust, in one piece; None for gRPC's own."""
    if path is None:
        return None
    if path.is_file():
        return path.read_bytes()
    found = {each.resolve() for each in path.iterdir() if each.is_file()}
    return b"\n".join(each.read_bytes() for each in sorted(found))
