"""What the OpenAPI document says of batches, jobs and the webhook of a job."""

from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from fpan.serve.transports.http.openapi.components import BINARY, problems, ref
from fpan.serve.transports.http.openapi.options import option_parameters
from fpan.serve.transports.http.openapi.schema import BatchAnswer, Job, JobEnded

_WEBHOOK = {
    "type": "string",
    "format": "uri",
    "description": "Where the job's end is told, if the server allows it; see the webhook `jobEnded`.",
}


def _images_request(description: str, **members: dict[str, Any]) -> dict[str, Any]:
    """A JSON body with several pictures and options; ``members`` are further ones."""
    images = {
        "type": "array",
        "items": {"anyOf": [ref("schemas", "EncodedImage"), ref("schemas", "ParseImageRequest")]},
        "minItems": 1,
        "description": "The pictures in base64; as objects they have options of their own, which go before all.",
    }
    own = {"type": "object", "required": ["images"], "properties": {"images": images, **members}}
    return {"allOf": [ref("schemas", "ParseOptions"), own], "description": description}


SEVERAL_SCHEMAS: dict[str, dict[str, Any]] = {
    "ImagesForm": {
        "type": "object",
        "required": ["image"],
        "properties": {"image": {"type": "array", "items": BINARY, "description": "The pictures, a file each."}},
        "description": "Pictures as files of a form, all of them named `image`. Options are in the query.",
    },
    "BatchRequest": _images_request("Pictures within JSON, and options for all of them."),
    "JobRequest": _images_request("Pictures of a job within JSON, and options for all of them.", webhook=_WEBHOOK),
}
"""Components: the bodies of batches and jobs."""


def _images_body(request: str) -> dict[str, Any]:
    return {
        "required": True,
        "description": "The pictures: files of a form, or base64 in JSON.",
        "content": {
            "multipart/form-data": {"schema": ref("schemas", "ImagesForm")},
            "application/json": {"schema": ref("schemas", request)},
        },
    }


_RESULTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What became of each picture, in their order: its answer as `/v1/parse` gives it, or its "
        "problem. With `Accept: application/x-ndjson` a line each, as soon as it is there.",
        "model": BatchAnswer,
        "content": {"application/x-ndjson": {"schema": ref("schemas", "PictureResult")}},
    }
}

BATCH: dict[str, Any] = {
    "operation_id": "parseBatch",
    "summary": "Parse every face of several pictures",
    "responses": {
        **_RESULTS,
        **problems(400, 406, 408, 413, 415, 503),
    },
    "openapi_extra": {
        "parameters": [*option_parameters(), ref("parameters", "ClientId"), ref("parameters", "Priority")],
        "requestBody": _images_body("BatchRequest"),
    },
}
"""Arguments of the route. Options in the query count for each picture; a deadline from when its turn comes."""

_NO_JOB = "There is no such job, or jobs are switched off on this server."
_AWAY = "The store of jobs is away, or the server is shutting down; Retry-After says when to come again."
_JOB_PROBLEMS = problems(s404=_NO_JOB, s503=_AWAY)
JOB_RESPONSES: dict[str, dict[str, Any]] = {"NoSuchJob": _JOB_PROBLEMS[404], "JobsUnavailable": _JOB_PROBLEMS[503]}
"""Components: answers of jobs that tell an error."""

JOBS: dict[str, Any] = {
    "operation_id": "submitJob",
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
            *option_parameters(),
            {
                "name": "webhook",
                "in": "query",
                "required": False,
                "schema": {"type": "string", "format": "uri"},
                "description": _WEBHOOK["description"],
            },
            ref("parameters", "IdempotencyKey"),
            ref("parameters", "ClientId"),
        ],
        "requestBody": _images_body("JobRequest"),
    },
}
"""Arguments of the route that takes a job."""

JOB: dict[str, Any] = {
    "operation_id": "getJob",
    "summary": "How far a job is",
    "responses": {200: {"description": "Its state.", "model": Job}, **_JOB_PROBLEMS},
}
"""Arguments of the route that tells a job's state."""

JOB_END: dict[str, Any] = {
    "operation_id": "endJob",
    "summary": "Cancel a job, or delete one that has ended",
    "responses": {
        200: {"description": "It is cancelled, and its pictures are deleted.", "model": Job},
        204: {"description": "It had ended; its result is deleted, and it is forgotten."},
        **_JOB_PROBLEMS,
    },
}
"""Arguments of the route that ends a job."""

JOB_RESULT: dict[str, Any] = {
    "operation_id": "getJobResult",
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

EVENT_SCHEMAS: dict[str, dict[str, Any]] = {
    "JobEvent": {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "A number for `Last-Event-ID`."},
            "event": ref("schemas", "JobState"),
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": ref("schemas", "Job"),
            },
            "retry": {"type": "integer", "description": "When to come again, in milliseconds, where it is cut."},
        },
        "description": "A server-sent event of a job.",
    }
}
"""Components: what a stream of events is made of."""

EVENTS: dict[str, Any] = {
    "operation_id": "followJob",
    "response_class": StreamingResponse,  # else the document would say that it may be JSON
    "summary": "Follow the changes of a job as they happen",
    "responses": {
        200: {
            "description": "Server-sent events: the state as in `GET /v1/jobs/{job}`, and again after each change, the "
            "last when the job ends. `event` is the state, `id` a number for `Last-Event-ID`.",
            # Readers of OpenAPI 3.1 know streams as text alone; ``itemSchema`` is a word of 3.2.
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "x-itemSchema": ref("schemas", "JobEvent"),
                }
            },
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


def webhook_routes() -> APIRouter:
    """The webhooks, for the document alone: nobody calls these functions."""
    router = APIRouter()

    @router.post(
        "jobEnded",
        operation_id="jobEnded",
        summary="A job has ended",
        tags=["jobs"],
        status_code=204,
        response_description="It has been heard. Any status of 200 to 299 says so; after any other it is told again.",
    )
    async def job_ended(
        event: JobEnded,
        message: Annotated[
            str, Header(alias="webhook-id", description="The same each time that one end is told, as it may be twice.")
        ],
        timestamp: Annotated[str, Header(alias="webhook-timestamp", description="Seconds since 1970.")],
        signature: Annotated[
            str,
            Header(
                alias="webhook-signature",
                description="`v1,` and the base64 of an HMAC-SHA-256 over id, timestamp and body, with dots between.",
            ),
        ],
    ) -> None:
        """Sent to the `webhook` of a job, as Standard Webhooks (www.standardwebhooks.com) has it."""

    return router
