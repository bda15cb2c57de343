"""Errors as RFC 9457 problems; below ``/v2`` as the Open Inference Protocol has them."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.status import HTTP_405_METHOD_NOT_ALLOWED

from fpan.serve.api.errors import (
    BadRequest,
    GatewayError,
    NotFound,
    RateLimited,
    RequestTimeout,
    Unauthenticated,
)
from fpan.serve.api.problem import PROBLEM_JSON, broken, members
from fpan.serve.transports.http.access import ALLOWANCE, request_id

PREFIX = "/v2"
"""Of the Open Inference Protocol."""


def is_oip(path: str) -> bool:
    """Whether a path belongs to the protocol: its errors look otherwise."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Of HTTP; TRACE is nowhere."""


def problem(request: Request, error: GatewayError) -> JSONResponse:
    """The answer that tells ``error``."""
    if isinstance(error, RateLimited):
        request.scope[ALLOWANCE] = error.allowance
    answer = _answer(request, error.status, error.slug, error.title, str(error), error.retry_after_s)
    if isinstance(error, RequestTimeout):
        answer.headers["Connection"] = "close"  # what is still to come is not awaited (RFC 9110, 15.5.9)
    if isinstance(error, Unauthenticated):
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def unknown(request: Request, error: Exception) -> JSONResponse:
    """Logs an error that nobody foresaw and tells that there was one, but not its words."""
    return problem(request, broken(error, request_id(request)))


def install(app: FastAPI) -> None:
    """Makes every error that is known a problem; the middleware sees to the others."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, GatewayError)
        return problem(request, error)

    async def plain(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if error.status_code == NotFound.status:
            return problem(
                request, NotFound(f"there is nothing at {request.url.path}: see /openapi.json for what there is")
            )
        title = str(error.detail)
        slug = title.lower().replace(" ", "-")
        answer = _answer(request, error.status_code, slug, title, f"{request.method} {request.url.path}: {title}", None)
        answer.headers.update(error.headers or {})
        if error.status_code == HTTP_405_METHOD_NOT_ALLOWED:  # a route knows its own method alone
            answer.headers["Allow"] = ", ".join(_methods(request))
        return answer

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return problem(request, BadRequest(f"{'.'.join(str(p) for p in first['loc'])}: {first['msg']}"))

    app.add_exception_handler(GatewayError, known)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(RequestValidationError, invalid)


def _methods(request: Request) -> list[str]:
    """What can be done at the path of a request."""

    def fits(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in METHODS if fits(method)]


def _answer(
    request: Request, status: int, slug: str, title: str, detail: str, retry_after_s: float | None
) -> JSONResponse:
    headers = {"Retry-After": str(max(1, round(retry_after_s)))} if retry_after_s is not None else None
    if is_oip(request.url.path):
        return JSONResponse({"error": detail}, status, headers)
    body = members(status, slug, title, detail, request_id(request))
    return JSONResponse(body, status, headers, PROBLEM_JSON)
