"""What the OpenAPI document says of who may call a route, made from the table of :mod:`.access`."""

from typing import Any

from fpan.serve.admission.admission import Access
from fpan.serve.transports.http.access import access_of
from fpan.serve.transports.http.oip.routes import OIP_ERROR
from fpan.serve.transports.http.openapi.parse import problems
from fpan.serve.transports.http.problems import is_oip

SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key; not every server wants one."},
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key in a header of its own.",
    },
}
_ANY_OR_NONE: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"key": []}]
_NOT_OURS = "#/components/schemas/HTTPValidationError"
"""What FastAPI says of its own of every route with a parameter: a status and a body that this server never answers."""


def describe_access(document: dict[str, Any]) -> None:
    """Adds to a document who may call each route, and what callers are told who may not."""
    document["security"] = _ANY_OR_NONE
    components = document.setdefault("components", {})
    components["securitySchemes"] = SECURITY_SCHEMES
    for kind in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(kind, None)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _describe(operation, method.upper(), path)


def _describe(operation: dict[str, Any], method: str, path: str) -> None:
    access = access_of(method, path)
    if access.open:
        operation["security"] = []
    told = operation["responses"]
    if _NOT_OURS in str(told.get("422")):
        del told["422"]
    for status, response in _refusals(access).items():
        told.setdefault(str(status), {**response, "content": OIP_ERROR} if is_oip(path) else response)
    operation["responses"] = dict(sorted(told.items()))


def _refusals(access: Access) -> dict[int | str, dict[str, Any]]:
    """What admission answers on a route, of which the route itself knows nothing."""
    words = {} if access.open else {"s401": "There is no API key, or it is none of this server's."}
    if access.scope is not None:
        words["s403"] = f"The key has not the scope `{access.scope}`."
    if access.limited:
        words["s429"] = "Over capacity, or the caller's quota is used up; Retry-After says when to come again."
    return problems(**words)
