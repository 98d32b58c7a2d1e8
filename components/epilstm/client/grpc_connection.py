"""The gRPC form of the protocol, tensors as raw contents."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from epilstm.client.connection import (
    DATATYPE,
    DTYPE,
    Access,
    Connection,
    NotFound,
    ServedModel,
    ServerRefused,
    Tensors,
    TryLater,
    seconds_of,
    tensor_of,
)
from epilstm.serve.open_inference import MESSAGES, SERVICE

#: No limits of gRPC's own: requests are as long as the chunks asked for.
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

LATER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class GrpcConnection(Connection):
    """A server over gRPC."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        if access.address.encrypted:
            trusted = access.ca_file.read_bytes() if access.ca_file else None
            credentials = grpc.ssl_channel_credentials(trusted)
            self._channel = grpc.secure_channel(access.address.netloc, credentials, options=OPTIONS)
        else:
            self._channel = grpc.insecure_channel(access.address.netloc, options=OPTIONS)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _describe(self, model: str, request_id: str) -> ServedModel:
        told = self._call("ModelMetadata", MESSAGES["ModelMetadataRequest"](name=model), request_id)
        properties = dict(told.properties)
        tracks = tuple(properties.pop("tracks", "").split(",")) if properties.get("tracks") else ()
        shapes = [{tensor.name: tuple(tensor.shape) for tensor in tensors} for tensors in (told.inputs, told.outputs)]
        return ServedModel(model, told.versions[-1] if told.versions else "", tracks, properties, *shapes)

    def _infer(self, model: ServedModel, inputs: Tensors, request_id: str) -> dict[str, NDArray[np.float32]]:
        message = MESSAGES["ModelInferRequest"](model_name=model.name, model_version=model.version, id=request_id)
        for name, values in inputs.items():
            message.inputs.add(name=name, datatype=DATATYPE, shape=values.shape)
            message.raw_input_contents.append(np.ascontiguousarray(values, DTYPE).tobytes())
        told = self._call("ModelInfer", message, request_id)
        if len(told.raw_output_contents) != len(told.outputs):
            raise ServerRefused(f"{self.access.address}: the answer to request {request_id} has no raw contents")
        return {
            tensor.name: tensor_of(tensor.name, list(tensor.shape), contents)
            for tensor, contents in zip(told.outputs, told.raw_output_contents, strict=True)
        }

    def _call(self, method: str, message: Any, request_id: str) -> Any:
        call = self._channel.unary_unary(f"/{SERVICE}/{method}")  # bytes in and out
        metadata = [("x-request-id", request_id)]
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
