"""The OpenAPI document: what FastAPI makes of the routes, who may call each, and what several of them share."""

from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import models_json_schema

from fpan.serve.admission.admission import Access
from fpan.serve.transports.http.access import ACCESS, access_of
from fpan.serve.transports.http.openapi.components import (
    HEADERS,
    PARAMETERS,
    PROBLEM,
    RESPONSES,
    V2_ERROR,
    ref,
    refusal,
)
from fpan.serve.transports.http.openapi.oip import V2_PARAMETERS, V2_REQUEST_BODIES, V2_RESPONSES, V2_SCHEMAS, Error
from fpan.serve.transports.http.openapi.options import OPTION_PARAMETERS, OPTION_SCHEMAS
from fpan.serve.transports.http.openapi.parse import PARSE_SCHEMAS
from fpan.serve.transports.http.openapi.schema import Job, PictureResult, Problem
from fpan.serve.transports.http.openapi.several import EVENT_SCHEMAS, JOB_RESPONSES, SEVERAL_SCHEMAS
from fpan.serve.transports.http.problems import is_oip

LICENCE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
SERVERS = [{"url": "/", "description": "This server, by whatever name it is called."}]
TAGS = [
    {"name": "parse", "description": "Pictures in, the parts of every face out."},
    {"name": "jobs", "description": "Pictures that are parsed when nobody else waits."},
    {"name": "models", "description": "What is served, and how the faces of today differ from its reference."},
    {"name": "health", "description": "For orchestrators and Prometheus."},
    {"name": "v2", "description": "The Open Inference Protocol: tensors in, tensors out."},
]
_NAMED: dict[str, dict[str, dict[str, Any]]] = {
    "schemas": {**OPTION_SCHEMAS, **PARSE_SCHEMAS, **SEVERAL_SCHEMAS, **EVENT_SCHEMAS, **V2_SCHEMAS},
    "parameters": {**OPTION_PARAMETERS, **PARAMETERS, **V2_PARAMETERS},
    "headers": HEADERS,
    "requestBodies": V2_REQUEST_BODIES,
}
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


def complete(document: dict[str, Any]) -> None:
    """Adds to the document of the routes its components, and who may call each route.

    An answer that is a component becomes a reference to it.
    """
    document["security"] = _ANY_OR_NONE
    components = document.setdefault("components", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    _, models = models_json_schema(
        [(model, "serialization") for model in (Problem, PictureResult, Job, Error)],
        ref_template="#/components/schemas/{model}",
    )
    for kind, named in {**_NAMED, "schemas": {**models["$defs"], **_NAMED["schemas"]}}.items():
        components[kind] = {**named, **components.get(kind, {})}
    components |= {"responses": _RESPONSES, "securitySchemes": SECURITY_SCHEMES}
    for method, path, operation in _operations(document["paths"]):
        _describe_access(operation, access_of(method, path), _error(path))
        for status, answer in operation["responses"].items():
            operation["responses"][status] = next(
                (ref("responses", name) for name, response in _RESPONSES.items() if response == answer), answer
            )
    for _, _, operation in _operations(document.get("webhooks", {})):
        operation["security"] = []
        operation["responses"].pop("422", None)


def _operations(paths: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _describe_access(operation: dict[str, Any], access: Access, error: dict[str, Any]) -> None:
    if access.open:
        operation["security"] = []
    told = operation["responses"]
    if _NOT_OURS in str(told.get("422")):
        del told["422"]
    for status, response in _refusals(access, error).items():
        told.setdefault(str(status), response)
    operation["responses"] = dict(sorted(told.items()))


def _error(path: str) -> dict[str, Any]:
    """Content of an answer that tells an error there."""
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


_ACCESS_RESPONSES: dict[str, dict[str, Any]] = {
    "Unauthenticated": refusal(401, _NO_KEY),
    "Overloaded": refusal(429, _OVER),
    "V2Unauthenticated": refusal(401, _NO_KEY, V2_ERROR),
    **{
        f"No{access.scope.capitalize()}Scope": _refusals(access, _error(route.rpartition(" ")[2]))[403]
        for route, access in ACCESS.items()
        if access.scope is not None
    },
}
"""Components: what callers are told who may not come in."""
_RESPONSES = {**RESPONSES, **_ACCESS_RESPONSES, **JOB_RESPONSES, **V2_RESPONSES}
