"""What each route asks of its callers: the one table, looked at before a request's body is read."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from fpan.serve.admission.admission import ANY_KEY, OPEN, Access, Admission
from fpan.serve.admission.caller import API_KEY, AUTHORIZATION, CLIENT_ID, Caller, Credentials
from fpan.serve.api.context import PRIORITY, RequestContext, is_background
from fpan.serve.api.deadline import Deadline
from fpan.serve.telemetry.traces import TRACEPARENT, TRACESTATE, read_trace

METRICS_PATH = "/metrics"
CALLER, ALLOWANCE = "fpan.caller", "fpan.allowance"
"""Where a request's scope keeps who asks, and what is left of its quota: the latest, which the answer tells."""
HELD = "fpan.held"
"""Where it keeps what is given back once it has been answered."""
_ROOT = "/"
"""Stands for itself alone: all else is below it."""

ACCESS: Mapping[str, Access] = {
    _ROOT: OPEN,
    "/web": OPEN,
    "/openapi.json": OPEN,
    "/docs": OPEN,
    "/v1/health": OPEN,
    "/v1/labels": ANY_KEY,
    "/v1/models": ANY_KEY,
    "/v1/drift": Access("metrics"),
    METRICS_PATH: Access("metrics"),
    "POST /v1/parse": Access("parse", limited=True),
    "POST /parse": Access("parse", limited=True),
    "/v1/jobs": Access("jobs"),
    "POST /v1/jobs": Access("jobs", limited=True, pool="uploads"),
    "/v2": Access("inference"),
    "/v2/health": OPEN,
    "POST /v2": Access("inference", limited=True),
}
"""By path, which stands for all below it, or by method and path, which goes before."""
_DEPTH = max(path.count("/") for path in ACCESS)


def access_of(method: str, path: str) -> Access:
    """The row of a request. What has none needs a key: a route that was forgotten here is not open."""
    if path == _ROOT:
        return ACCESS[_ROOT]
    parts = path.split("/", _DEPTH + 1)[: _DEPTH + 1]  # no longer path costs more
    while len(parts) > 1 and parts != ["", ""]:
        known = "/".join(parts)
        for row in (f"{method} {known}", known):
            if row in ACCESS:
                return ACCESS[row]
        parts.pop()
    return ANY_KEY


def credentials_of(scope: Scope) -> Credentials:
    """What a request says of its caller."""
    headers = Headers(scope=scope)
    client = scope.get("client")
    return Credentials(
        headers.get(AUTHORIZATION), headers.get(API_KEY), headers.get(CLIENT_ID), client[0] if client else ""
    )


def admitted(request: HTTPConnection) -> Caller:
    """Who sends a request that has passed the middleware."""
    caller: Caller = request.scope[CALLER]
    return caller


def context_of(request: HTTPConnection, deadline: Deadline, group: object | None = None) -> RequestContext:
    """What a request that has passed the middleware carries.

    Args:
        request: it.
        deadline: until when its answer is of use.
        group: see :class:`~fpan.serve.api.context.RequestContext`.
    """
    caller, headers = admitted(request), request.headers
    return RequestContext(
        request_id=request_id(request),
        deadline=deadline,
        caller=caller.identity,
        account=caller.account,
        background=is_background(headers.getlist(PRIORITY)),
        group=group,
        trace=read_trace(headers.getlist(TRACEPARENT), headers.getlist(TRACESTATE)),
    )


def hold(request: HTTPConnection, held: AbstractContextManager[None]) -> None:
    """Enters a block that ends when the request has been answered, streams to their end.

    Raises:
        GatewayError: what entering raises.
    """
    stack: ExitStack = request.scope[HELD]
    stack.enter_context(held)


async def charge(request: HTTPConnection, admission: Admission, pictures: int) -> None:
    """Counts a request with several pictures as so many; its answer tells what is left.

    Raises:
        GatewayError: as :meth:`Admission.spend`.
    """
    allowance = await admission.spend(admitted(request), pictures)
    if allowance is not None:
        request.scope[ALLOWANCE] = allowance


def request_id(request: HTTPConnection) -> str:
    """The id of a request that has passed the middleware."""
    return str(request.scope.get("fpan.request_id", ""))
