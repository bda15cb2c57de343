"""What can go wrong for a caller of the client: one tree.

::

    FpanError
    |-- ServerUnreachable       no answer at all: refused, lost or too slow
    |-- UnexpectedAnswer        an answer that is none of this API: wrong address, or a newer server
    `-- ApiError                the server said no: status, slug, detail, request_id
        |-- TryAgain            429 or 503, after the client's own retries
        `-- DeadlinePassed      504
"""

from typing import ClassVar

OF_THE_CALLER = frozenset({401, 403})
"""Statuses that refuse whoever asks, whatever the picture: they say nothing of it."""


class FpanError(Exception):
    """Something went wrong. ``str()`` is a sentence for people."""


class ServerUnreachable(FpanError):
    """The server did not answer."""


class UnexpectedAnswer(FpanError):
    """The server's answer is not one of this API."""


class ApiError(FpanError):
    """The server refused, as an RFC 9457 problem."""

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
        """Names the request in the server's logs; None where the server told none."""
        self.retry_after_s = retry_after_s
        """After how many seconds it may be worth another try; None where the server told none."""

    def __reduce__(self) -> tuple[type["ApiError"], tuple[object, ...]]:
        """So that it survives process pools."""
        return type(self), (self.status, self.slug, self.detail, self.request_id, self.retry_after_s)


class TryAgain(ApiError):
    """Over capacity, or not there just now; later it may work."""

    statuses = frozenset({429, 503})


class DeadlinePassed(ApiError):
    """The answer was not ready in the time that was given."""

    statuses = frozenset({504})


def api_error(
    status: int, slug: str, detail: str, request_id: str | None, retry_after_s: float | None = None
) -> ApiError:
    """The error of the tree that fits a status."""
    kind = next((kind for kind in (TryAgain, DeadlinePassed) if status in kind.statuses), ApiError)
    return kind(status, slug, detail, request_id, retry_after_s)
