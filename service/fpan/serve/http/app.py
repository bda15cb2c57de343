"""The HTTP application: routes, errors and what goes around them."""

from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import fpan
from fpan.serve.caller import API_KEY, CLIENT_ID
from fpan.serve.gateway import Gateway
from fpan.serve.http import problems
from fpan.serve.http.access import access_of
from fpan.serve.http.batch import batch_routes
from fpan.serve.http.describe import PROBLEM
from fpan.serve.http.info import info_routes
from fpan.serve.http.jobs import job_routes
from fpan.serve.http.middleware import Around
from fpan.serve.http.oip import OIP_ERROR, oip_routes
from fpan.serve.http.oip_paths import is_oip
from fpan.serve.http.page import page_router
from fpan.serve.http.parse import parse_routes
from fpan.serve.http.request_id import HEADER

_DESCRIPTION = "A photo in; for every face in it a label map out, in the pixels of the picture that was sent."

CORS_ALLOWED = ("Authorization", API_KEY, CLIENT_ID, HEADER, "Content-Type", "Idempotency-Key", "traceparent")
"""Headers that pages of other origins may send."""
CORS_EXPOSED = (
    HEADER,
    "Cache-Status",
    "ETag",
    "Face-Count",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "WWW-Authenticate",
)
"""Headers of answers that they may read."""
_CORS_MAX_AGE_S = 600
_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key; not every server wants one."},
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key in a header of its own.",
    },
}


_NEVER_TOLD = ("HTTPValidationError", "ValidationError")
"""What FastAPI would say of parameters that are wrong, with 422; here it is a problem, with 400."""


class _Application(FastAPI):
    """With what stands before every route in its document."""

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            told = super().openapi()
            components = told.setdefault("components", {})
            components["securitySchemes"] = _SECURITY_SCHEMES
            for name in _NEVER_TOLD:
                components.get("schemas", {}).pop(name, None)
            told["security"] = [{}, *({name: []} for name in _SECURITY_SCHEMES)]
            for path, operations in told["paths"].items():
                for method, operation in operations.items():
                    operation["responses"] = _responses(path, method.upper(), operation["responses"])
        return super().openapi()


def _responses(path: str, method: str, told: dict[str, Any]) -> dict[str, Any]:
    """The answers of a route, and those that what stands before it gives."""
    own = {status: answer for status, answer in told.items() if _NEVER_TOLD[0] not in str(answer.get("content"))}
    access = access_of(method, path)
    if access.open:
        return own
    refusals = {"401": "There is no API key, or it is none of this server's."}
    if access.scope is not None:
        refusals["403"] = f"The key has not the scope `{access.scope}`."
    content = OIP_ERROR if is_oip(path) else PROBLEM
    return {**{status: {"description": words, "content": content} for status, words in refusals.items()}, **own}


def create_app(gateway: Gateway) -> FastAPI:
    """The application over an open gateway."""
    # No documentation pages: FastAPI's load their scripts from elsewhere, and this works offline.
    app = _Application(
        title="Mask-FPAN Serve", version=fpan.__version__, description=_DESCRIPTION, docs_url=None, redoc_url=None
    )
    problems.install(app)
    app.include_router(parse_routes(gateway))
    app.include_router(batch_routes(gateway))
    app.include_router(job_routes(gateway))
    app.include_router(info_routes(gateway))
    app.include_router(oip_routes(gateway))
    app.include_router(page_router())
    app.add_middleware(Around, metrics=gateway.metrics, admission=gateway.admission)
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
