"""The exceptions of the client, in one class tree.

::

    FpanError
    |-- ServerUnreachable       no response: connection refused, lost or too slow
    |-- UnexpectedAnswer        the response is not one of this API: wrong address, or a newer server
    `-- ApiError                the server refused: status, slug, detail, request_id
        |-- TryAgain            429 or 503, after the client's own retries
        `-- DeadlinePassed      504
"""

from typing import ClassVar

OF_THE_CALLER = frozenset({401, 403})
"""Statuses that refuse the caller, not the picture."""


class FpanError(Exception):
    """Base class of all errors of the client. ``str()`` is a sentence for people."""


class ServerUnreachable(FpanError):
    """The server did not answer."""


class UnexpectedAnswer(FpanError):
    """The server's response is not one of this API."""


class ApiError(FpanError):
    """The server refused the request, with an RFC 9457 problem."""

    statuses: ClassVar[frozenset[int]] = frozenset()

    def __init__(
        self, status: int, slug: str, detail: str, request_id: str | None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        """HTTP status."""
        self.slug = slug
        """Stable name of the problem, e.g. ``unsupported-image``."""
        self.detail = detail
        """What is wrong, for people."""
        self.request_id = request_id
        """Identifies the request in the server's logs; None if the response has no id."""
        self.retry_after_s = retry_after_s
        """Seconds to wait before another attempt; None if the server did not say."""

    def __reduce__(self) -> tuple[type["ApiError"], tuple[object, ...]]:
        """Makes the error picklable, so that process pools can return it."""
        return type(self), (self.status, self.slug, self.detail, self.request_id, self.retry_after_s)


class TryAgain(ApiError):
    """The server is over capacity or temporarily unavailable; a later attempt may succeed."""

    statuses = frozenset({429, 503})


class DeadlinePassed(ApiError):
    """The answer was not ready before the deadline."""

    statuses = frozenset({504})


def api_error(
    status: int, slug: str, detail: str, request_id: str | None, retry_after_s: float | None = None
) -> ApiError:
    """The error class that fits an HTTP status, as an instance."""
    kind = next((kind for kind in (TryAgain, DeadlinePassed) if status in kind.statuses), ApiError)
    return kind(status, slug, detail, request_id, retry_after_s)
