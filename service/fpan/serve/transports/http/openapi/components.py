"""What several operations of the OpenAPI document share, by name: headers, parameters, refusals."""

from collections.abc import Mapping
from typing import Any

from fpan.serve.admission.caller import CLIENT_ID
from fpan.serve.api.context import BACKGROUND, PRIORITY
from fpan.serve.api.errors import GatewayError, every_error


def ref(kind: str, name: str) -> dict[str, Any]:
    """A reference to a component.

    Args:
        kind: of component: ``schemas``, ``parameters``, ``headers``, ``responses``, ``requestBodies``.
        name: of the component.
    """
    return {"$ref": f"#/components/{kind}/{name}"}


BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
"""Schema of a file as it is."""
PROBLEM: dict[str, Any] = {"application/problem+json": {"schema": ref("schemas", "Problem")}}
"""Content of an answer that tells an error."""
V2_ERROR: dict[str, Any] = {"application/json": {"schema": ref("schemas", "Error")}}
"""The same below ``/v2``."""

PARAMETERS: dict[str, dict[str, Any]] = {
    "ClientId": {
        "name": CLIENT_ID,
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "Who asks, in words of the caller's own. While a new version is tried out, the same caller "
        "always gets the same version; without this header, callers are told apart by their address. It is not kept.",
    },
    "Priority": {
        "name": PRIORITY,
        "in": "header",
        "required": False,
        "schema": {"type": "string", "examples": [BACKGROUND]},
        "description": "RFC 9218. With an urgency of more than 3, the default, the work waits until there is no other.",
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "maxLength": 255},
        "description": "The same request with the same key is the same job, however often it is sent.",
    },
}
"""Headers of requests."""

HEADERS: dict[str, dict[str, Any]] = {
    "FaceCount": {"schema": {"type": "integer"}, "description": "How many faces were parsed."},
    "ETag": {
        "schema": {"type": "string"},
        "description": "The same for the same answer; weak for JSON, whose id and timing differ each time.",
    },
    "CacheStatus": {
        "schema": {"type": "string", "examples": ["fpan; hit"]},
        "description": "What the server's cache did (RFC 9211), where it has one.",
    },
    "ServerTiming": {"schema": {"type": "string"}, "description": "Milliseconds by stage."},
    "RateLimitPolicy": {
        "schema": {"type": "string", "examples": ['"default";q=600;w=60']},
        "description": "The caller's quota, and the seconds that it is for, where there is one.",
    },
    "RateLimit": {
        "schema": {"type": "string", "examples": ['"default";r=599;t=60']},
        "description": "What remains of it, and the seconds until there is more.",
    },
    "RetryAfter": {"schema": {"type": "integer"}, "description": "When to try again, in seconds."},
}
"""Headers of answers."""

_PROBLEMS = {
    400: "The request is malformed: an unknown option or class, no picture, broken multipart.",
    404: "There is no such model.",
    406: "There is no answer of the media type that Accept asks for.",
    408: "The body did not arrive in time.",
    413: "Too many bytes, or more pixels than are read here.",
    415: "Not an image of a format that is read here.",
    422: "It cannot be done: a truncated picture, a `url` that does not answer, a box outside the picture, more faces "
    "than redact may cover.",
    503: "The backend is down, the server is shutting down, or no place became free before the deadline; Retry-After "
    "says when to come again.",
    504: "The deadline passed while the answer was made.",
}


BY_STATUS: Mapping[int, type[GatewayError]] = {error.status: error for error in reversed([*every_error()])}
"""By status its error; of two with the same, the first of the tree."""


def refusal(status: int, text: str, content: dict[str, Any] = PROBLEM) -> dict[str, Any]:
    """An answer that tells an error.

    Args:
        status: of HTTP.
        text: what it means.
        content: of the answer.
    """
    told: dict[str, Any] = {"description": text, "content": content}
    if BY_STATUS[status].retry_after_s is not None:
        told["headers"] = {"Retry-After": ref("headers", "RetryAfter")}
    return told


def problems(*statuses: int, **told: str) -> dict[int | str, dict[str, Any]]:
    """The errors of a route; ``told`` says of some what they mean there, as ``s409="..."``. Those of everybody who may
    not come in are none of the route's: :mod:`.document` adds them.
    """
    words = {**{status: _PROBLEMS[status] for status in statuses}, **{int(s[1:]): text for s, text in told.items()}}
    return {status: refusal(status, words[status]) for status in sorted(words)}


RESPONSES: dict[str, dict[str, Any]] = {
    BY_STATUS[status].__name__: refusal(status, text) for status, text in _PROBLEMS.items()
}
"""Answers that tell an error and mean the same on several routes, by the name of their exception."""
