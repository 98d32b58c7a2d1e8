"""The gRPC form of the protocol, and gRPC's health check."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np

from epilstm.console import log
from epilstm.serving.protocol.dimensions import DIMENSIONS
from epilstm.serving.protocol.open_inference import (
    HEALTH_NOT_SERVING,
    HEALTH_SERVICE,
    HEALTH_SERVING,
    MESSAGES,
    SERVICE,
    parse_infer_request,
    parse_message,
)
from epilstm.serving.server.asgi import LAST_SECONDS, REQUEST_ID, HttpLimits
from epilstm.serving.server.budget import ByteBudget
from epilstm.serving.server.encoder import Encoder
from epilstm.serving.server.inference_request import InferenceRequest, InputTensor, OutputTensor, Protocol, read_request
from epilstm.serving.server.refusal import Refusal, Status, bad_request
from epilstm.serving.server.service import InferenceService
from epilstm.serving.server.tensors import DATATYPE, DTYPE, ModelSpec, Tensors, shown

#: gRPC's form needs none for binary data: tensors are raw or typed by the fields they come in.
GRPC = Protocol(request=frozenset({DIMENSIONS}))

#: Requests at the same time, those refused for others that wait included.
MAX_CONCURRENT = 256


class GrpcServer:
    """Answers gRPC requests.

    Parameters
    ----------
    limits : HttpLimits
        The REST form's, of which the sizes and times of bodies hold here too.
    """

    def __init__(self, service: InferenceService, limits: HttpLimits) -> None:
        self.service, self.limits = service, limits
        self.budget = ByteBudget(limits.body_budget, limits.max_body)
        self.in_flight = 0
        self._refusing = False
        self._numbers = itertools.count(1)
        self._prefix = os.urandom(6).hex()
        self._server = grpc.aio.server(
            options=[
                # By default a second server may take a share of the port's connections.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", limits.max_body),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", 16 << 10),
                # Windows that grow by themselves would let clients send more than the server receives.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.max_concurrent_streams", MAX_CONCURRENT),
                ("grpc.server_handshake_timeout_ms", 10_000),
                ("grpc.max_connection_idle_ms", 600_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
            maximum_concurrent_rpcs=MAX_CONCURRENT,
        )
        methods = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
        }
        open_methods = ("ServerLive", "ServerReady")
        self._server.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler(
                SERVICE, {name: self._handler(name, method, name in open_methods) for name, method in methods.items()}
            ),
            grpc.method_handlers_generic_handler(
                HEALTH_SERVICE, {"Check": self._handler("Check", self._health_check, True)}
            ),
        ))  # fmt: skip

    async def start(self, host: str, port: int) -> int:
        """Listen.

        Returns
        -------
        int
            The port.

        Raises
        ------
        OSError
            The address is taken or not one of this machine.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self.service.credentials.tls is None:
                found = self._server.add_insecure_port(address)
            else:
                found = self._server.add_secure_port(address, self.service.credentials.for_grpc())
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}") from error
        await self._server.start()
        return int(found)

    async def stop(self, linger: float, patience: float) -> None:
        """Stop without losing a request.

        For `linger` seconds requests are still taken. Then they are refused as UNAVAILABLE, which clients take
        elsewhere, and those that have begun are answered, for at most `patience` seconds. gRPC's own stop would
        cancel a request that has just arrived.
        """
        await asyncio.sleep(linger)
        self._refusing = True
        until = time.monotonic() + patience
        await asyncio.sleep(LAST_SECONDS)
        while self.in_flight and time.monotonic() < until:
            await asyncio.sleep(0.02)
        await self._server.stop(max(LAST_SECONDS, until - time.monotonic()))

    def _handler(self, name: str, method: Callable[[bytes, _Call], Awaitable[Any]], is_open: bool) -> Any:
        async def answer(messages: Any, context: Any) -> bytes:
            call = _Call(context, f"{self._prefix}-{next(self._numbers)}")
            started = time.perf_counter()
            code, sent, content, held, received = "OK", b"", b"", 0, 0
            self.in_flight += 1
            try:
                if self._refusing:
                    raise Refusal(Status.UNAVAILABLE, "the server is shutting down")
                if not is_open:
                    self.service.authorize(call.metadata.get("authorization", ""))
                await self.budget.reserve(self.limits.body_seconds)
                held = self.budget.message
                content = await self._receive(context)
                self.budget.give_back(held - len(content))
                received = held = len(content)
                sent = bytes((await method(content, call)).SerializeToString())
                context.set_trailing_metadata((("x-request-id", call.id),))
                return sent
            except Refusal as refusal:
                code = refusal.grpc_code
                # Tracebacks hold the message; gRPC keeps them a while.
                refusal.__traceback__ = refusal.__cause__ = refusal.__context__ = None
                content = b""
                await self._abort(context, call, refusal)
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except Exception as error:  # a bug: this request fails, the others are answered
                if isinstance(error, grpc.aio.AbortError):
                    raise
                log.error("a request failed", exc_info=error, extra={"fields": {"request_id": call.id}})
                message = f"internal error; the server's log has it under request id {call.id}"
                code = "INTERNAL"
                await self._abort(context, call, Refusal(Status.INTERNAL_ERROR, message))
            finally:
                self.budget.give_back(held)
                self.in_flight -= 1
                self.service.answered(
                    "grpc",
                    name,
                    "",
                    call.model,
                    code,
                    call.id,
                    received,
                    len(sent),
                    time.perf_counter() - started,
                )
            raise AssertionError  # abort has raised

        # Bytes in and out: malformed messages are refused here, and raw tensors are not copied. On the wire the one
        # message of a unary call and a stream of one are the same, but of a stream the server says when to receive.
        return grpc.stream_unary_rpc_method_handler(answer)

    async def _receive(self, context: Any) -> bytes:
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                content = await context.read()
        except TimeoutError:
            raise Refusal(Status.REQUEST_TIMEOUT, "the request did not arrive in time") from None
        if not isinstance(content, bytes):
            raise bad_request("the call has no message")
        return content

    @staticmethod
    async def _abort(context: Any, call: _Call, refusal: Refusal) -> None:
        metadata = [("x-request-id", call.id)]
        if refusal.retry_after is not None:
            metadata += [
                ("retry-after", str(refusal.retry_after)),
                ("grpc-retry-pushback-ms", str(1000 * refusal.retry_after)),
            ]
        await context.abort(getattr(grpc.StatusCode, refusal.grpc_code), refusal.message, tuple(metadata))

    async def _server_live(self, content: bytes, call: _Call) -> Any:
        return MESSAGES["ServerLiveResponse"](live=True)

    async def _server_ready(self, content: bytes, call: _Call) -> Any:
        return MESSAGES["ServerReadyResponse"](ready=self.service.ready)

    async def _model_ready(self, content: bytes, call: _Call) -> Any:
        request = _parsed("ModelReadyRequest", content)
        self._encoder(call, request.name, request.version)
        return MESSAGES["ModelReadyResponse"](ready=self.service.ready)

    async def _server_metadata(self, content: bytes, call: _Call) -> Any:
        return MESSAGES["ServerMetadataResponse"](**self.service.describe_server())

    async def _model_metadata(self, content: bytes, call: _Call) -> Any:
        request = _parsed("ModelMetadataRequest", content)
        spec = self._encoder(call, request.name, request.version).spec
        response = MESSAGES["ModelMetadataResponse"](
            name=spec.name, versions=[spec.version], platform="onnxruntime_onnx"
        )
        for field, tensors in ((response.inputs, spec.inputs), (response.outputs, spec.outputs)):
            for tensor in tensors:
                field.add(name=tensor.name, datatype=DATATYPE, shape=tensor.protocol_shape)
        response.properties.update(spec.properties)
        response.properties["tracks"] = ",".join(spec.tracks)
        response.properties["track_names"] = json.dumps(spec.tracks)  # a name may have a comma in it
        return response

    async def _model_infer(self, content: bytes, call: _Call) -> Any:
        try:
            message, raw = parse_infer_request(content)
        except ValueError as error:
            raise bad_request(f"the request is {error}") from error
        encoder = self._encoder(call, message.model_name, message.model_version)
        request = _read_request(message, raw, encoder.spec, self.service.limits.bins)
        remaining = call.context.time_remaining()
        outputs = await self.service.infer(encoder, request.inputs, remaining)
        return _response(encoder.spec, request, outputs)

    async def _health_check(self, content: bytes, call: _Call) -> Any:
        service = _parsed("HealthCheckRequest", content).service
        if service not in ("", SERVICE):
            raise Refusal(Status.NOT_FOUND, f"no service {shown(service)}; there is {SERVICE}")
        return MESSAGES["HealthCheckResponse"](status=HEALTH_SERVING if self.service.ready else HEALTH_NOT_SERVING)

    def _encoder(self, call: _Call, name: str, version: str) -> Encoder:
        encoder = self.service.repository.encoder(name, version)
        call.model = encoder.spec.name
        return encoder


class _Call:
    """What is known of a request besides its message."""

    def __init__(self, context: Any, own_id: str) -> None:
        self.context = context
        self.metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        given = self.metadata.get("x-request-id", "")
        self.id = given if REQUEST_ID.fullmatch(given) else own_id
        self.model = ""


def _parsed(name: str, content: bytes) -> Any:
    try:
        return parse_message(name, content)
    except ValueError as error:
        raise bad_request(f"the request is {error}") from error


def _read_request(message: Any, raw: list[memoryview], model: ModelSpec, max_bins: int) -> InferenceRequest:
    """The request of a message.

    Raises
    ------
    Refusal
        It is not a request that the model can answer.
    """
    if not message.inputs:
        raise bad_request("the request has no inputs")
    if raw and len(raw) != len(message.inputs):
        raise bad_request(f"{len(raw)} raw_input_contents for {len(message.inputs)} inputs")
    inputs = []
    for number, tensor in enumerate(message.inputs):
        if raw and tensor.HasField("contents"):
            raise bad_request(f"input {shown(tensor.name)}: both contents and raw_input_contents; give one")
        contents = raw[number] if raw else _typed_contents(tensor)
        parameters = _parameters(tensor)
        inputs.append(InputTensor(tensor.name, tensor.datatype, list(tensor.shape), contents, parameters))
    outputs = [OutputTensor(output.name, bool(raw), _parameters(output)) for output in message.outputs]
    return read_request(
        model,
        GRPC,
        max_bins,
        inputs,
        outputs,
        parameters=_parameters(message),
        request_id=message.id,
        binary=bool(raw),
    )


def _typed_contents(tensor: Any) -> memoryview:
    """The numbers of a tensor's typed contents, as bytes.

    Raises
    ------
    Refusal
        They are in the field of another datatype.
    """
    for field, _ in tensor.contents.ListFields():
        if field.name != "fp32_contents":
            raise bad_request(f"input {shown(tensor.name)}: has {field.name}; send fp32_contents or raw_input_contents")
    return np.array(tensor.contents.fp32_contents, DTYPE).data.cast("B")


def _parameters(described: Any) -> dict[str, Any]:
    """Parameters of a request, an input or an output; None for one without a value."""
    found = {}
    for name, parameter in described.parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        found[name] = None if kind is None else getattr(parameter, kind)
    return found


def _response(model: ModelSpec, request: InferenceRequest, outputs: Tensors) -> Any:
    """Raw contents for raw contents, typed ones for typed ones."""
    response = MESSAGES["ModelInferResponse"](model_name=model.name, model_version=model.version, id=request.id)
    for name, values in request.wanted(outputs).items():
        tensor = response.outputs.add(name=name, datatype=DATATYPE, shape=values.shape)
        if name in request.binary:
            response.raw_output_contents.append(values.tobytes())
        else:
            tensor.contents.fp32_contents.extend(values.ravel().tolist())
    return response
