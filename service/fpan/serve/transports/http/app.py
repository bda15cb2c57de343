"""The HTTP application: routes, errors and what goes around them."""

from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import fpan
from fpan.serve.admission.caller import API_KEY, CLIENT_ID
from fpan.serve.api.context import PRIORITY, REQUEST_ID
from fpan.serve.app import Gateway
from fpan.serve.telemetry.traces import TRACEPARENT, TRACESTATE
from fpan.serve.transports.http import problems
from fpan.serve.transports.http.batch import batch_routes
from fpan.serve.transports.http.body_room import BodyRoom
from fpan.serve.transports.http.info import info_routes
from fpan.serve.transports.http.jobs import IDEMPOTENCY_KEY, LAST_EVENT_ID, job_routes
from fpan.serve.transports.http.middleware import RequestMiddleware
from fpan.serve.transports.http.oip.routes import oip_routes
from fpan.serve.transports.http.openapi.document import LICENCE, SERVERS, TAGS, complete
from fpan.serve.transports.http.openapi.oip import HEADER_LENGTH
from fpan.serve.transports.http.openapi.several import webhook_routes
from fpan.serve.transports.http.page import page_router
from fpan.serve.transports.http.parse import parse_routes

_DESCRIPTION = "A photo in; for every face in it a label map out, in the pixels of the picture that was sent."

CORS_ALLOWED = (
    "Authorization",
    API_KEY,
    CLIENT_ID,
    REQUEST_ID,
    PRIORITY,
    LAST_EVENT_ID,
    HEADER_LENGTH,
    IDEMPOTENCY_KEY,
    "Content-Type",
    TRACEPARENT,
    TRACESTATE,
)
"""Headers that pages of other origins may send."""
CORS_EXPOSED = (
    REQUEST_ID,
    HEADER_LENGTH,
    "Cache-Status",
    "ETag",
    "Face-Count",
    "Idempotent-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "WWW-Authenticate",
)
"""Headers of answers that they may read."""
_CORS_MAX_AGE_S = 600


class _Application(FastAPI):
    """With the whole of its document."""

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            complete(super().openapi())
        return super().openapi()


def create_app(gateway: Gateway) -> FastAPI:
    """The application over an open gateway."""
    # Not FastAPI's documentation pages: they load their scripts from elsewhere, and this works offline.
    app = _Application(
        title="Mask-FPAN Serve",
        version=fpan.__version__,
        description=_DESCRIPTION,
        servers=SERVERS,
        openapi_tags=TAGS,
        license_info=LICENCE,
        webhooks=webhook_routes(),
        separate_input_output_schemas=False,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would lead to whatever host the request has named
    )
    problems.install(app)
    app.include_router(parse_routes(gateway))
    app.include_router(batch_routes(gateway))
    app.include_router(job_routes(gateway))
    app.include_router(info_routes(gateway))
    app.include_router(oip_routes(gateway))
    app.include_router(page_router())
    app.add_middleware(
        RequestMiddleware,
        metrics=gateway.metrics,
        admission=gateway.admission,
        send_timeout_s=gateway.settings.send_timeout_s,
        room=BodyRoom(gateway.settings.max_bodies_bytes),
    )
    if origins := gateway.settings.cors_origins:  # outermost: a browser asks beforehand without a key
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=CORS_ALLOWED,
            expose_headers=CORS_EXPOSED,
            max_age=_CORS_MAX_AGE_S,
        )
    return app
