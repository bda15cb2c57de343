"""The HTTP application: routes, errors and what goes around them."""

from fastapi import FastAPI

import fpan
from fpan.serve.gateway import Gateway
from fpan.serve.http import problems
from fpan.serve.http.batch import BATCH_PATH, batch_routes
from fpan.serve.http.info import info_routes
from fpan.serve.http.jobs import job_routes
from fpan.serve.http.middleware import Around
from fpan.serve.http.page import page_router
from fpan.serve.http.parse import PARSE_PATHS, parse_routes
from fpan.serve.jobs.record import JOBS_PATH

_DESCRIPTION = "A photo in; for every face in it a label map out, in the pixels of the picture that was sent."


def create_app(gateway: Gateway) -> FastAPI:
    """The application over an open gateway."""
    # No documentation pages: FastAPI's load their scripts from elsewhere, and this works offline.
    app = FastAPI(
        title="Mask-FPAN Serve", version=fpan.__version__, description=_DESCRIPTION, docs_url=None, redoc_url=None
    )
    problems.install(app)
    app.include_router(parse_routes(gateway))
    app.include_router(batch_routes(gateway))
    app.include_router(job_routes(gateway))
    app.include_router(info_routes(gateway))
    app.include_router(page_router())
    app.add_middleware(
        Around,
        metrics=gateway.metrics,
        limit=gateway.settings.max_concurrency,
        limited=(*PARSE_PATHS, BATCH_PATH, JOBS_PATH),
    )
    return app
