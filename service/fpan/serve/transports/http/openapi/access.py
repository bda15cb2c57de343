"""What the OpenAPI document says of who may call a route, made from the table of :mod:`.access`."""

from typing import Any

from fpan.serve.admission.admission import Access
from fpan.serve.transports.http.access import ACCESS, access_of
from fpan.serve.transports.http.openapi.components import PROBLEM, V2_ERROR, refusal
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
_NO_KEY = "There is no API key, or it is none of this server's."
_OVER = "Over capacity, or the caller's quota is used up; Retry-After says when to come again."
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
    for operations in document.get("webhooks", {}).values():
        for operation in operations.values():
            operation["security"] = []
            operation["responses"].pop("422", None)


def _describe(operation: dict[str, Any], method: str, path: str) -> None:
    access = access_of(method, path)
    if access.open:
        operation["security"] = []
    told = operation["responses"]
    if _NOT_OURS in str(told.get("422")):
        del told["422"]
    for status, response in _refusals(access, _content(path)).items():
        told.setdefault(str(status), response)
    operation["responses"] = dict(sorted(told.items()))


def _content(path: str) -> dict[str, Any]:
    return V2_ERROR if is_oip(path) else PROBLEM


def _refusals(access: Access, content: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """What admission answers on a route, of which the route itself knows nothing."""
    told = {}
    if not access.open:
        told[401] = refusal(401, _NO_KEY, content)
    if access.scope is not None:
        told[403] = refusal(403, f"The key has not the scope `{access.scope}`.", content)
    if access.limited:
        told[429] = refusal(429, _OVER, content)
    return told


ACCESS_RESPONSES: dict[str, dict[str, Any]] = {
    "Unauthenticated": refusal(401, _NO_KEY),
    "Overloaded": refusal(429, _OVER),
    "V2Unauthenticated": refusal(401, _NO_KEY, V2_ERROR),
    **{
        f"No{access.scope.capitalize()}Scope": _refusals(access, _content(route.rpartition(" ")[2]))[403]
        for route, access in ACCESS.items()
        if access.scope is not None
    },
}
"""Components: what callers are told who may not come in."""
