"""Errors as problem details (RFC 9457)."""

import logging

from fpan.serve.api.errors import PROBLEM_BASE, GatewayError

PROBLEM_JSON = "application/problem+json"
_log = logging.getLogger(__name__)


def members(status: int, slug: str, title: str, detail: str, identity: str) -> dict[str, object]:
    """Returns the members of a problem as a dictionary."""
    return {"type": PROBLEM_BASE + slug, "title": title, "status": status, "detail": detail, "request_id": identity}


def problem_of(error: GatewayError, identity: str) -> dict[str, object]:
    """Returns the members of the problem for ``error`` inside an answer.

    They include ``retry_after_s``, since such a problem has no header ``Retry-After`` of its own.

    Args:
        error: what went wrong.
        identity: id of the request.
    """
    told = members(error.status, error.slug, error.title, str(error), identity)
    return told if error.retry_after_s is None else {**told, "retry_after_s": error.retry_after_s}


def broken(error: Exception, identity: str) -> GatewayError:
    """Logs an unexpected error, and returns one for the caller that does not contain its message."""
    _log.error("request %s failed", identity, exc_info=error)
    return GatewayError("something broke here; the log has it under this request_id")
