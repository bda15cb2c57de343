"""What the OpenAPI document says of a parse: options, bodies, answers, with real examples."""

import json
from importlib import resources
from typing import Any

from fpan.serve.admission.caller import CLIENT_ID
from fpan.serve.api.context import BACKGROUND, PRIORITY
from fpan.serve.api.options import DIRECT_OUTPUTS, MAX_TOLERANCE, OUTPUTS, REDACT_STYLES
from fpan.serve.fetch.guard import MAX_URL
from fpan.serve.transports.http.openapi.schema import ParseAnswer, Problem

_EXAMPLE = json.loads(
    resources.files("fpan.serve.transports.http.openapi").joinpath("examples/astronaut.json").read_text()
)
PROBLEM = {"application/problem+json": {"schema": Problem.model_json_schema()}}
"""Content of an answer that tells an error."""
BINARY = {"schema": {"type": "string", "format": "binary"}}
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
OPTIONS: tuple[tuple[str, dict[str, Any], str], ...] = (
    (
        "faces",
        {"type": "string", "default": "auto", "examples": ["auto", "full", "[[180, 70, 290, 210]]"]},
        "`auto` finds the faces; `full` takes the whole picture as one aligned face (letterboxed); "
        "boxes are JSON, `[[x0, y0, x1, y1], ...]`, in pixels.",
    ),
    ("max_faces", {"type": "integer", "minimum": 1}, "Most faces to parse, the largest first."),
    ("classes", {"type": "string", "examples": ["hair,skin"]}, "Classes to keep; all others become background."),
    ("groups", {"type": "string", "examples": ["lips,eyes"]}, "Groups of classes to keep, beside `classes`."),
    (
        "output",
        {"type": "string", "examples": ["rle,confidence"]},
        f"Of {', '.join(OUTPUTS)}: any of them, with commas, in JSON (default rle); one of "
        f"{', '.join(DIRECT_OUTPUTS)} for image/png; npz, alpha for application/x-npz.",
    ),
    (
        "tolerance",
        {"type": "number", "minimum": 0, "maximum": MAX_TOLERANCE},
        "How far outlines of `polygons` may run from the true border, in pixels; 0 is exact.",
    ),
    (
        "redact",
        {"type": "string", "enum": [*REDACT_STYLES], "default": "blur"},
        "How `output=redact` covers the faces, or the parts that `classes` and `groups` name.",
    ),
    (
        "abstain",
        {"type": "number", "minimum": 0, "maximum": 1},
        "Least confidence of a labelled pixel; those below it become 255, `unknown`.",
    ),
    (
        "frame",
        {"type": "string", "enum": ["image", "crop"], "default": "image"},
        "Whose pixels masks and parts are in: the picture's, or those of each face's aligned crop.",
    ),
    (
        "taxonomy",
        {"type": "string", "examples": ["bisenet"]},
        "Tell classes by the ids of another order, one of the `remaps` of `/v1/labels`.",
    ),
    (
        "orientation",
        {"type": "string", "enum": ["exif", "raw"], "default": "exif"},
        "Turn the picture upright as its EXIF data says, or take its pixels as they lie.",
    ),
    ("model", {"type": "string", "examples": ["segm"]}, "`NAME`, `NAME:VERSION` or `NAME@ALIAS`."),
    ("deadline_ms", {"type": "integer", "minimum": 1}, "Time the answer may take, in milliseconds."),
)

CLIENT_ID_HEADER = {
    "name": CLIENT_ID,
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Who asks, in words of the caller's own. While a new version is tried out, the same caller always "
    "gets the same version; without this header, callers are told apart by their address. It is not kept.",
}

PRIORITY_HEADER = {
    "name": PRIORITY,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "examples": [BACKGROUND]},
    "description": "RFC 9218. With an urgency of more than 3, the default, the work waits until there is no other.",
}


_HEADERS = {
    "Face-Count": {"schema": {"type": "integer"}, "description": "How many faces were parsed."},
    "ETag": {
        "schema": {"type": "string"},
        "description": "The same for the same answer; weak for JSON, whose id and timing differ each time.",
    },
    "Cache-Status": {
        "schema": {"type": "string", "examples": ["fpan; hit"]},
        "description": "What the server's cache did (RFC 9211), where it has one.",
    },
    "Server-Timing": {"schema": {"type": "string"}, "description": "Milliseconds by stage."},
    "RateLimit-Policy": {
        "schema": {"type": "string", "examples": ['"default";q=600;w=60']},
        "description": "The caller's quota, and the seconds that it is for, where there is one.",
    },
    "RateLimit": {
        "schema": {"type": "string", "examples": ['"default";r=599;t=60']},
        "description": "What remains of it, and the seconds until there is more.",
    },
}


def _json_body() -> dict[str, Any]:
    members: dict[str, Any] = {
        "image": {"type": "string", "contentEncoding": "base64", "description": "The picture."},
        "url": {
            "type": "string",
            "format": "uri",
            "maxLength": MAX_URL,
            "description": "Where the picture is, in the place of `image`, at a host that this server allows.",
        },
    }
    members |= {name: {**schema, "description": text} for name, schema, text in OPTIONS}
    one = [{"required": [name]} for name in ("image", "url")]
    return {"schema": {"type": "object", "oneOf": one, "properties": members}}


def problems(*statuses: int, **told: str) -> dict[int | str, dict[str, Any]]:
    """The errors of a route; ``told`` says of some what they mean there, as ``s409="..."``. Those of everybody who may
    not come in are none of the route's: :mod:`.describe_access` adds them.
    """
    words = {**{status: _PROBLEMS[status] for status in statuses}, **{int(s[1:]): text for s, text in told.items()}}
    return {status: {"description": words[status], "content": PROBLEM} for status in sorted(words)}


def query_parameters() -> list[dict[str, Any]]:
    """The options of a parse."""
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
        for name, schema, text in OPTIONS
    ]


PARSE: dict[str, Any] = {
    "summary": "Parse every face of a picture",
    "responses": {
        200: {
            "description": "Every face, its parts, and their masks in the pixels of the picture; with "
            "`Accept: image/png` one picture, with `application/x-npz` arrays for numpy instead.",
            "headers": _HEADERS,
            "model": ParseAnswer,
            "content": {"application/json": {"example": _EXAMPLE}, "image/png": BINARY, "application/x-npz": BINARY},
        },
        **problems(*_PROBLEMS, s403="The key has not the scope `parse`, or the picture's `url` may not be asked."),
    },
    "openapi_extra": {
        "parameters": [*query_parameters(), CLIENT_ID_HEADER, PRIORITY_HEADER],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["image"],
                        "properties": {"image": {"type": "string", "format": "binary"}},
                    }
                },
                "image/*": BINARY,
                "application/octet-stream": BINARY,
                "application/json": _json_body(),
            },
        },
    },
}
"""Arguments of the route."""
