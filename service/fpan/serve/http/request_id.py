"""The id of a request, as HTTP's middleware has put it down."""

from starlette.requests import HTTPConnection


def request_id(request: HTTPConnection) -> str:
    """The id of a request that has passed the middleware."""
    return str(request.scope.get("fpan.request_id", ""))
