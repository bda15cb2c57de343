"""Everything that can go wrong for a caller: one tree of exceptions, each with its HTTP and gRPC code.

::

    GatewayError
    |-- BadRequest              400  INVALID_ARGUMENT     malformed: missing picture, unknown option, unknown class
    |-- Unauthenticated         401  UNAUTHENTICATED      no API key, or one that is not known here
    |-- Forbidden               403  PERMISSION_DENIED    the key may not do it, or the URL may not be asked
    |-- NotFound                404  NOT_FOUND            no such route, model or version
    |-- NotAcceptable           406  INVALID_ARGUMENT     no answer of that media type
    |-- RequestTimeout          408  DEADLINE_EXCEEDED    the request's body did not arrive in time
    |-- Conflict                409  FAILED_PRECONDITION  it contradicts what is there
    |-- TooLarge                413  RESOURCE_EXHAUSTED   too many bytes or pixels
    |-- UnsupportedImage        415  INVALID_ARGUMENT     not an image that is read here
    |-- Misdirected             421  INVALID_ARGUMENT     the server is called by a name that is not its own
    |-- Impossible              422  INVALID_ARGUMENT     well-formed but impossible: truncated image, box outside
    |-- Overloaded              429  RESOURCE_EXHAUSTED   over capacity; try again
    |-- RateLimited             429  RESOURCE_EXHAUSTED   the caller's own quota is used up; try again
    |-- Unavailable             503  UNAVAILABLE          backend down, draining, or no place in time; try again
    `-- DeadlineExceeded        504  DEADLINE_EXCEEDED    the caller's deadline passed while it was computed
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from fpan.serve.api.allowance import Allowance

PROBLEM_BASE = "urn:mask-fpan:problem:"
"""Prefix of the stable ``type`` of RFC 9457 problems."""


class GatewayError(Exception):
    """A request failed for a reason that its caller is told. ``str()`` is the sentence for people."""

    status: ClassVar[int] = 500
    grpc_code: ClassVar[str] = "INTERNAL"
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    retry_after_s: float | None = None

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class BadRequest(GatewayError):
    """The request is malformed."""

    status, grpc_code, slug, title = 400, "INVALID_ARGUMENT", "bad-request", "Malformed request"


class Unauthenticated(GatewayError):
    """The request has no API key, or one that is not known here."""

    status, grpc_code, slug, title = 401, "UNAUTHENTICATED", "unauthenticated", "An API key is needed"


class Forbidden(GatewayError):
    """The caller is known and may not do this."""

    status, grpc_code, slug, title = 403, "PERMISSION_DENIED", "forbidden", "Not allowed"


class NotFound(GatewayError):
    """There is no such thing."""

    status, grpc_code, slug, title = 404, "NOT_FOUND", "not-found", "Not found"


class NotAcceptable(GatewayError):
    """No answer of the media type that was asked for."""

    status, grpc_code, slug, title = 406, "INVALID_ARGUMENT", "not-acceptable", "Not acceptable"


class RequestTimeout(GatewayError):
    """The request's body did not arrive in time."""

    status, grpc_code, slug, title = 408, "DEADLINE_EXCEEDED", "request-timeout", "Request took too long to arrive"


class Conflict(GatewayError):
    """It contradicts what is there: another request under the same key, a result that is not there yet."""

    status, grpc_code, slug, title = 409, "FAILED_PRECONDITION", "conflict", "Conflict"


class TooLarge(GatewayError):
    """Too many bytes or pixels."""

    status, grpc_code, slug, title = 413, "RESOURCE_EXHAUSTED", "too-large", "Too large"


class UnsupportedImage(GatewayError):
    """The bytes are no image of a format that is read here."""

    status, grpc_code, slug, title = 415, "INVALID_ARGUMENT", "unsupported-image", "Not an image that is read here"


class Misdirected(GatewayError):
    """The server is called by a name that is not its own."""

    status, grpc_code, slug, title = 421, "INVALID_ARGUMENT", "misdirected", "Not a name of this server"


class Impossible(GatewayError):
    """Well-formed, but it cannot be done."""

    status, grpc_code, slug, title = 422, "INVALID_ARGUMENT", "impossible", "Cannot be processed"


class Overloaded(GatewayError):
    """Over capacity; the caller may try again."""

    status, grpc_code, slug, title = 429, "RESOURCE_EXHAUSTED", "overloaded", "Over capacity"
    retry_after_s = 1.0


class RateLimited(GatewayError):
    """The caller has used up its quota; a part of it comes back after ``retry_after_s``."""

    status, grpc_code, slug, title = 429, "RESOURCE_EXHAUSTED", "rate-limited", "Too many requests"
    retry_after_s = 1.0

    def __init__(self, detail: str, allowance: "Allowance | None" = None) -> None:
        super().__init__(detail, retry_after_s=math.ceil(allowance.reset_s) if allowance else None)
        self.allowance = allowance


class Unavailable(GatewayError):
    """The backend is down, the gateway is draining, or no place became free in time; the caller may try again."""

    status, grpc_code, slug, title = 503, "UNAVAILABLE", "unavailable", "Unavailable"
    retry_after_s = 1.0


class DeadlineExceeded(GatewayError):
    """The caller's deadline passed before the answer was ready."""

    status, grpc_code, slug, title = 504, "DEADLINE_EXCEEDED", "deadline-exceeded", "Deadline exceeded"


def every_error(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """The tree of errors from ``kind`` on, each before those below it."""
    yield kind
    for each in kind.__subclasses__():
        yield from every_error(each)


class StartError(Exception):
    """The service cannot start; the message says why and what to do."""
