"""What the OpenAPI document says of batches and jobs."""

from typing import Any

from fpan.serve.transports.http.openapi.parse import (
    BINARY,
    CLIENT_ID_HEADER,
    OPTIONS,
    PRIORITY_HEADER,
    problems,
    query_parameters,
)
from fpan.serve.transports.http.openapi.schema import BatchAnswer, Job, PictureResult


def pictures_body(**members: dict[str, Any]) -> dict[str, Any]:
    """A request body with several pictures; ``members`` are further ones of its JSON."""
    options = {name: {**schema, "description": text} for name, schema, text in OPTIONS}
    picture = {"type": "string", "contentEncoding": "base64"}
    own = {"type": "object", "required": ["image"], "properties": {"image": picture, **options}}
    images = {
        "type": "array",
        "items": {"anyOf": [picture, own]},
        "minItems": 1,
        "description": "The pictures in base64; as objects they have options of their own, which go before all.",
    }
    files = {"type": "array", "items": BINARY["schema"], "description": "The pictures."}
    form = {"type": "object", "required": ["image"], "properties": {"image": files}}
    whole = {"type": "object", "required": ["images"], "properties": {"images": images, **options, **members}}
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": form}, "application/json": {"schema": whole}},
    }


_RESULTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What became of each picture, in their order: its answer as `/v1/parse` gives it, or its "
        "problem. With `Accept: application/x-ndjson` a line each, as soon as it is there.",
        "model": BatchAnswer,
        "content": {"application/x-ndjson": {"schema": PictureResult.model_json_schema()}},
    }
}

BATCH: dict[str, Any] = {
    "summary": "Parse every face of several pictures",
    "responses": {
        **_RESULTS,
        **problems(400, 406, 408, 413, 415, 503),
    },
    "openapi_extra": {
        "parameters": [*query_parameters(), CLIENT_ID_HEADER, PRIORITY_HEADER],
        "requestBody": pictures_body(),
    },
}
"""Arguments of the route. Options in the query count for each picture; a deadline from when its turn comes."""

_NO_JOB = "There is no such job, or jobs are switched off on this server."
_AWAY = "The store of jobs is away, or the server is shutting down; Retry-After says when to come again."
_JOB_PROBLEMS = problems(s404=_NO_JOB, s503=_AWAY)
_WEBHOOK = {"type": "string", "format": "uri", "description": "Where the job's end is told, if the server allows it."}

JOBS: dict[str, Any] = {
    "summary": "Hand in pictures to be parsed when nobody else waits",
    "status_code": 202,
    "responses": {
        202: {
            "description": "The job waits. `Location` is where to ask after it.",
            "model": Job,
            "headers": {
                "Location": {"schema": {"type": "string"}},
                "Idempotent-Replayed": {
                    "schema": {"type": "string"},
                    "description": "`true` where this is the job of an earlier request with the same Idempotency-Key.",
                },
            },
        },
        **problems(
            400,
            408,
            413,
            415,
            s404="Jobs are switched off on this server.",
            s409="Another job was handed in under the same Idempotency-Key.",
            s429="Too many jobs wait, or their store is full; Retry-After says when to come again.",
            s503=_AWAY,
        ),
    },
    "openapi_extra": {
        "parameters": [
            *query_parameters(),
            {"name": "webhook", "in": "query", "required": False, "schema": _WEBHOOK},
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "maxLength": 255},
                "description": "The same request with the same key is the same job, however often it is sent.",
            },
            CLIENT_ID_HEADER,
        ],
        "requestBody": pictures_body(webhook=_WEBHOOK),
    },
}
"""Arguments of the route that takes a job."""

JOB: dict[str, Any] = {
    "summary": "How far a job is",
    "responses": {200: {"description": "Its state.", "model": Job}, **_JOB_PROBLEMS},
}
"""Arguments of the route that tells a job's state."""

JOB_END: dict[str, Any] = {
    "summary": "Cancel a job, or delete one that has ended",
    "responses": {
        200: {"description": "It is cancelled, and its pictures are deleted.", "model": Job},
        204: {"description": "It had ended; its result is deleted, and it is forgotten."},
        **_JOB_PROBLEMS,
    },
}
"""Arguments of the route that ends a job."""

JOB_RESULT: dict[str, Any] = {
    "summary": "The result of a job",
    "responses": {
        **_RESULTS,
        **problems(
            406,
            s404=f"{_NO_JOB} Or its result was kept long enough.",
            s409="The job has no result, or none yet.",
            s503=_AWAY,
        ),
    },
}
"""Arguments of the route that gives a job's result."""

_EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "description": "The state."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Job"},
        },
        "retry": {"type": "integer", "description": "When to come again, in milliseconds, where it is cut."},
    },
}
"""As OpenAPI 3.2 has it, which readers of 3.1 pass over."""

EVENTS: dict[str, Any] = {
    "summary": "The changes of a job as they happen",
    "responses": {
        200: {
            "description": "Server-sent events: the state as in `GET /v1/jobs/{job}`, and again after each change, the "
            "last when the job ends. `event` is the state, `id` a number for `Last-Event-ID`.",
            "content": {"text/event-stream": {"itemSchema": _EVENT}},
        },
        204: {"description": "The job has ended, and `Last-Event-ID` is that of its end."},
        **problems(s404=_NO_JOB, s429="This caller has as many such streams open as it may.", s503=_AWAY),
    },
    "openapi_extra": {
        "parameters": [
            {"name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "string"}},
        ]
    },
}
"""Arguments of the route that follows a job."""
