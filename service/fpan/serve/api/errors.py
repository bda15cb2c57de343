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

The text of each class has two parts, what the error means and what its caller can do: `docs/reference/problems.md` is
made of them (`python -m tools.problems_page`).
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from fpan.serve.api.allowance import Allowance

PROBLEM_BASE = "urn:mask-fpan:problem:"
"""Prefix of the stable ``type`` of RFC 9457 problems."""


class GatewayError(Exception):
    """The server failed in a way that nobody foresaw.

    Report it to whoever runs the server, with the `request_id`: the server's log has the cause under it. Sent again,
    the same request may work.

    It is the base of all errors, those whose cause is known. ``str()`` of one is the sentence that its caller is told
    as `detail`.
    """

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
    """The request is malformed: it has no picture, an option that is unknown or has a wrong value, or a body that is
    not what its type says.

    Change the request as `detail` says. Sent again as it is, it is refused again.
    """

    status, grpc_code, slug, title = 400, "INVALID_ARGUMENT", "bad-request", "Malformed request"


class Unauthenticated(GatewayError):
    """This server wants an API key, and the request has none, or one that is unknown, expired or revoked here.

    Send a valid key, as `Authorization: Bearer KEY` or `X-API-Key: KEY` (in gRPC as metadata of these names).
    """

    status, grpc_code, slug, title = 401, "UNAUTHENTICATED", "unauthenticated", "An API key is needed"


class Forbidden(GatewayError):
    """The caller is known and may not do this: the key lacks a scope, or the picture's `url` is at a host that this
    server does not connect to.

    Use a key that has the scope that `detail` names, or send the picture itself instead of its address.
    """

    status, grpc_code, slug, title = 403, "PERMISSION_DENIED", "forbidden", "Not allowed"


class NotFound(GatewayError):
    """There is no such address, model, version or job, its result was deleted, or the feature is switched off.

    Check the name: `detail` says what there is. A result that has been deleted does not come back.
    """

    status, grpc_code, slug, title = 404, "NOT_FOUND", "not-found", "Not found"


class NotAcceptable(GatewayError):
    """This address answers with none of the media types in the header `Accept`.

    Ask for one of those that `detail` lists, or leave `Accept` out.
    """

    status, grpc_code, slug, title = 406, "INVALID_ARGUMENT", "not-acceptable", "Not acceptable"


class RequestTimeout(GatewayError):
    """The body of the request did not arrive in time, or no more of it came for too long. The connection is closed.

    Send it again over a better connection, or send a smaller picture.
    """

    status, grpc_code, slug, title = 408, "DEADLINE_EXCEEDED", "request-timeout", "Request took too long to arrive"


class Conflict(GatewayError):
    """The request contradicts what is there: a job has no result, or none yet, or another job was handed in under the
    same `Idempotency-Key`.

    Wait until the job has succeeded before asking for its result; use a new `Idempotency-Key` for another job.
    """

    status, grpc_code, slug, title = 409, "FAILED_PRECONDITION", "conflict", "Conflict"


class TooLarge(GatewayError):
    """The body has too many bytes, a picture too many pixels, or the request too many pictures.

    Make the picture smaller, or send fewer pictures at once: `detail` says what the limit is.
    """

    status, grpc_code, slug, title = 413, "RESOURCE_EXHAUSTED", "too-large", "Too large"


class UnsupportedImage(GatewayError):
    """The bytes are no picture of a format that is read here, or the type of the body holds no picture.

    Send JPEG, PNG, WebP, AVIF, HEIC, GIF or TIFF, in one of the ways that `detail` lists.
    """

    status, grpc_code, slug, title = 415, "INVALID_ARGUMENT", "unsupported-image", "Not an image that is read here"


class Misdirected(GatewayError):
    """The request names a host, in the header `Host`, that is not one of this server's names.

    Call the server by a name that it knows, or have it added to `ALLOWED_HOSTS`.
    """

    status, grpc_code, slug, title = 421, "INVALID_ARGUMENT", "misdirected", "Not a name of this server"


class Impossible(GatewayError):
    """The request is well-formed, but it cannot be done: the picture is truncated or damaged, a box lies outside it,
    its `url` does not answer, or there are more faces than `redact` may cover.

    Change the picture or the option that `detail` names. Sent again as it is, it is refused again, unless a `url`
    answers by then.
    """

    status, grpc_code, slug, title = 422, "INVALID_ARGUMENT", "impossible", "Cannot be processed"


class Overloaded(GatewayError):
    """The server has more to do than it can hold: too many requests, faces or jobs wait already.

    Send the request again after the time that `Retry-After` names, and wait longer each time that it is refused.
    """

    status, grpc_code, slug, title = 429, "RESOURCE_EXHAUSTED", "overloaded", "Over capacity"
    retry_after_s = 1.0


class RateLimited(GatewayError):
    """The caller has used up its quota of requests, though the server may have room.

    Wait as long as `Retry-After` says, when a part of the quota comes back; `RateLimit` tells what is left of it.
    """

    status, grpc_code, slug, title = 429, "RESOURCE_EXHAUSTED", "rate-limited", "Too many requests"
    retry_after_s = 1.0

    def __init__(self, detail: str, allowance: "Allowance | None" = None) -> None:
        super().__init__(detail, retry_after_s=math.ceil(allowance.reset_s) if allowance else None)
        self.allowance = allowance


class Unavailable(GatewayError):
    """The server cannot answer now: its inference server or its store of jobs is away, it is shutting down, or no place
    became free before the deadline.

    Send the request again after the time that `Retry-After` names; nothing is wrong with it.
    """

    status, grpc_code, slug, title = 503, "UNAVAILABLE", "unavailable", "Unavailable"
    retry_after_s = 1.0


class DeadlineExceeded(GatewayError):
    """The deadline of the request passed while its answer was made.

    Allow more time with `deadline_ms`, or ask for less: a smaller picture, fewer faces, fewer outputs.
    """

    status, grpc_code, slug, title = 504, "DEADLINE_EXCEEDED", "deadline-exceeded", "Deadline exceeded"


def every_error(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """The tree of errors from ``kind`` on, each before those below it."""
    yield kind
    for each in kind.__subclasses__():
        yield from every_error(each)


class StartError(Exception):
    """The service cannot start; the message says why and what to do."""
