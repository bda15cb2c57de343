"""What the OpenAPI document says of what this server sends by itself."""

from typing import Annotated

from fastapi import APIRouter, Header

from fpan.serve.transports.http.openapi.schema import JobEnded


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
