"""What a request is refused with."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Status(IntEnum):
    """HTTP status codes that the server answers with."""

    OK = 200
    BAD_REQUEST = 400
    UNAUTHORIZED = 401
    NOT_FOUND = 404
    METHOD_NOT_ALLOWED = 405
    NOT_ACCEPTABLE = 406
    REQUEST_TIMEOUT = 408
    CONTENT_TOO_LARGE = 413
    UNSUPPORTED_MEDIA_TYPE = 415
    TOO_MANY_REQUESTS = 429
    HEADERS_TOO_LARGE = 431
    INTERNAL_ERROR = 500
    NOT_IMPLEMENTED = 501
    UNAVAILABLE = 503
    TIMEOUT = 504


#: Name of the gRPC status code for each of them.
GRPC_CODES = {
    Status.OK: "OK",
    Status.BAD_REQUEST: "INVALID_ARGUMENT",
    Status.UNAUTHORIZED: "UNAUTHENTICATED",
    Status.NOT_FOUND: "NOT_FOUND",
    Status.METHOD_NOT_ALLOWED: "UNIMPLEMENTED",
    Status.NOT_ACCEPTABLE: "INVALID_ARGUMENT",
    Status.REQUEST_TIMEOUT: "DEADLINE_EXCEEDED",
    Status.CONTENT_TOO_LARGE: "RESOURCE_EXHAUSTED",
    Status.UNSUPPORTED_MEDIA_TYPE: "INVALID_ARGUMENT",
    Status.TOO_MANY_REQUESTS: "RESOURCE_EXHAUSTED",
    Status.HEADERS_TOO_LARGE: "RESOURCE_EXHAUSTED",
    Status.INTERNAL_ERROR: "INTERNAL",
    Status.NOT_IMPLEMENTED: "UNIMPLEMENTED",
    Status.UNAVAILABLE: "UNAVAILABLE",
    Status.TIMEOUT: "DEADLINE_EXCEEDED",
}


class Refusal(Exception):
    """A request is not answered as asked; the message says why in one line.

    Parameters
    ----------
    retry_after : int, optional
        Seconds after which the same request may be answered.
    headers : mapping of str to str
        Further headers of an HTTP response, such as ``allow``.
    """

    def __init__(
        self, status: Status, message: str, retry_after: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after, self.headers = status, message, retry_after, headers or {}

    @property
    def grpc_code(self) -> str:
        """Name of the gRPC status code."""
        return GRPC_CODES[self.status]


def bad_request(message: str) -> Refusal:
    """The client's own error."""
    return Refusal(Status.BAD_REQUEST, message)
