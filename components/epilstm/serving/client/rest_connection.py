"""The REST form of the protocol, tensors in binary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
import urllib3
from numpy.typing import NDArray

from epilstm.runtime.network import proxy_for, trusting
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

#: Overload, a restart, and what gateways say meanwhile.
LATER = (429, 502, 503, 504)

JSON_LENGTH = "inference-header-content-length"


class RestConnection(Connection):
    """A server over HTTP."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        timeout = urllib3.Timeout(connect=min(10.0, access.timeout), read=access.timeout)
        options: dict[str, Any] = {"maxsize": 64, "retries": False, "timeout": timeout}
        if access.address.encrypted:
            options["ssl_context"] = trusting(access.ca_file)
        proxy = proxy_for(str(access.address))
        self._pool: urllib3.PoolManager
        if proxy is None:
            self._pool = urllib3.PoolManager(**options)
        else:
            headers = urllib3.make_headers(proxy_basic_auth=proxy.credentials) if proxy.credentials else None
            self._pool = urllib3.ProxyManager(proxy.url, proxy_headers=headers, **options)

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()

    def _describe(self, model: str, request_id: str) -> ServedModel:
        metadata = self._json(self._request("GET", f"/v2/models/{quote(model)}", request_id).data)
        try:
            properties = dict(metadata.get("parameters") or {})
            tracks = tuple(map(str, properties.pop("tracks", ())))
            shapes = [
                {tensor["name"]: tuple(map(int, tensor["shape"])) for tensor in metadata[key]}
                for key in ("inputs", "outputs")
            ]
            version = str((metadata.get("versions") or [""])[-1])
            return ServedModel(model, version, tracks, _texts(properties), *shapes)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._strange(f"the metadata of {model}") from error

    def _infer(
        self, model: ServedModel, inputs: Tensors, parameters: Parameters, request_id: str
    ) -> dict[str, NDArray[np.float32]]:
        tensors = {name: np.ascontiguousarray(values, DTYPE) for name, values in inputs.items()}
        described = [
            {
                "name": name,
                "datatype": DATATYPE,
                "shape": values.shape,
                "parameters": {"binary_data_size": values.nbytes},
            }
            for name, values in tensors.items()
        ]
        head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True, **parameters}}).encode()
        body = b"".join([head, *(values.data.cast("B") for values in tensors.values())])
        headers = {JSON_LENGTH: str(len(head)), "content-type": "application/octet-stream"}
        version = f"/versions/{quote(model.version, safe='')}" if model.version else ""
        path = f"/v2/models/{quote(model.name)}{version}/infer"
        response = self._request("POST", path, request_id, body, headers)
        content = memoryview(response.data)
        try:
            length = int(response.headers.get(JSON_LENGTH, ""))
            answer, outputs, at = json.loads(bytes(content[:length])), {}, length
            for tensor in answer["outputs"]:
                size = int(tensor["parameters"]["binary_data_size"])
                outputs[tensor["name"]] = tensor_of(tensor["name"], tensor["shape"], content[at : at + size])
                at += size
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange(f"request {request_id}") from error
        return outputs

    def _request(
        self, method: str, path: str, request_id: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        address = self.access.address
        sent = {"x-request-id": request_id, **self.access.headers, **(headers or {})}
        if self.access.token is not None:
            sent["authorization"] = f"Bearer {self.access.token}"
        try:
            # Not redirected: the token is for this server.
            response = self._pool.request(method, f"{address}{path}", body=body, headers=sent, redirect=False)
        except urllib3.exceptions.SSLError as error:
            raise ServerRefused(f"{address}: no trust: {error}; give its certificate authority (--ca-file)") from error
        except (urllib3.exceptions.LocationValueError, UnicodeError) as error:
            raise ServerRefused(f"{address}: cannot be asked: {error}") from error
        except urllib3.exceptions.HTTPError as error:
            raise TryLater(f"cannot be reached ({error})") from error
        if response.status == 200:
            return response
        message = f"{response.status} {self._message(response.data)}".strip()
        if response.status in LATER:
            raise TryLater(f"answers {message}", seconds_of(response.headers.get("retry-after")))
        kind = NotFound if response.status == 404 else ServerRefused
        raise kind(f"{address}: answers {message} (request id {request_id})")

    def _json(self, content: bytes) -> dict[str, Any]:
        try:
            found = json.loads(content)
        except ValueError as error:
            raise self._strange("the metadata") from error
        if not isinstance(found, dict):
            raise self._strange("the metadata")
        return found

    def _message(self, content: bytes) -> str:
        try:
            message = json.loads(content)["error"]
        except (ValueError, KeyError, TypeError):
            message = content[:200].decode("utf-8", "replace")
        return " ".join(str(message).split())

    def _strange(self, what: str) -> ServerRefused:
        return ServerRefused(f"{self.access.address}: the answer to {what} is not the Open Inference Protocol's")


def _texts(properties: Mapping[str, Any]) -> dict[str, str]:
    """Properties as the other protocol has them: lists are JSON."""
    return {key: json.dumps(value) if isinstance(value, list) else str(value) for key, value in properties.items()}
