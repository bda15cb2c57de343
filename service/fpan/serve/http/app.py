"""The HTTP application: routes, errors and what goes around them."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import fpan
from fpan.serve.gateway import Gateway
from fpan.serve.http import problems
from fpan.serve.http.info import info_routes
from fpan.serve.http.middleware import Around
from fpan.serve.http.oip import oip_routes
from fpan.serve.http.page import page_router
from fpan.serve.http.parse import PARSE_PATHS, parse_routes

_DESCRIPTION = "A photo in; for every face in it a label map out, in the pixels of the picture that was sent."
_CORS_METHODS = ("GET", "POST", "DELETE")
_CORS_HEADERS = ("X-Request-ID", "Face-Count", "Server-Timing", "Retry-After", "Location", "ETag")
"""Of answers, what pages of other origins may read beside the body."""


def create_app(gateway: Gateway) -> FastAPI:
    """The application over an open gateway."""
    # No documentation pages: FastAPI's load their scripts from elsewhere, and this works offline.
    app = FastAPI(
        title="Mask-FPAN Serve", version=fpan.__version__, description=_DESCRIPTION, docs_url=None, redoc_url=None
    )
    problems.install(app)
    app.include_router(parse_routes(gateway))
    app.include_router(info_routes(gateway))
    app.include_router(oip_routes(gateway))
    app.include_router(page_router())
    settings = gateway.settings
    app.add_middleware(
        Around,
        metrics=gateway.metrics,
        limit=settings.max_concurrency,
        limited=PARSE_PATHS,
        limiter=gateway.limiter,
        per_minute=settings.rate_limit_per_minute,
    )
    if settings.cors_origins:
        # Around all else, so that a page can read refusals too. Without credentials: a key is a header of the page's.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=_CORS_METHODS,
            allow_headers=["*"],
            expose_headers=_CORS_HEADERS,
        )
    return app
