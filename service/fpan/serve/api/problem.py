"""Errors as RFC 9457 has them."""

import logging

from fpan.serve.api.errors import PROBLEM_BASE, GatewayError

PROBLEM_JSON = "application/problem+json"
_log = logging.getLogger(__name__)


def members(status: int, slug: str, title: str, detail: str, identity: str) -> dict[str, object]:
    """The members of a problem."""
    return {"type": PROBLEM_BASE + slug, "title": title, "status": status, "detail": detail, "request_id": identity}


def problem_of(error: GatewayError, identity: str) -> dict[str, object]:
    """The members of the problem that tells ``error`` within an answer, where it has no header ``Retry-After``.

    Args:
        error: what went wrong.
        identity: of the request.
    """
    told = members(error.status, error.slug, error.title, str(error), identity)
    return told if error.retry_after_s is None else {**told, "retry_after_s": error.retry_after_s}


def broken(error: Exception, identity: str) -> GatewayError:
    """Logs an error that nobody foresaw; what its caller is told: that there was one, but not its words."""
    _log.error("request %s failed", identity, exc_info=error)
    return GatewayError("something broke here; the log has it under this request_id")
