"""The OpenAPI document as a whole: what FastAPI makes of the routes, and what it cannot know."""

from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import models_json_schema

from fpan.serve.transports.http.openapi.access import ACCESS_RESPONSES, describe_access
from fpan.serve.transports.http.openapi.components import HEADERS, PARAMETERS, RESPONSES, ref
from fpan.serve.transports.http.openapi.oip import V2_PARAMETERS, V2_REQUEST_BODIES, V2_RESPONSES, V2_SCHEMAS, Error
from fpan.serve.transports.http.openapi.options import OPTION_PARAMETERS, OPTION_SCHEMAS
from fpan.serve.transports.http.openapi.parse import PARSE_SCHEMAS
from fpan.serve.transports.http.openapi.schema import Job, PictureResult, Problem
from fpan.serve.transports.http.openapi.several import EVENT_SCHEMAS, JOB_RESPONSES, SEVERAL_SCHEMAS

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
_RESPONSES = {**RESPONSES, **ACCESS_RESPONSES, **JOB_RESPONSES, **V2_RESPONSES}


def complete(document: dict[str, Any]) -> None:
    """Adds to the document of the routes its components, and who may call each route.

    An answer that a component says too becomes a reference to it.
    """
    components = document.setdefault("components", {})
    _, models = models_json_schema(
        [(model, "serialization") for model in (Problem, PictureResult, Job, Error)],
        ref_template="#/components/schemas/{model}",
    )
    for kind, named in {**_NAMED, "schemas": {**models["$defs"], **_NAMED["schemas"]}}.items():
        components[kind] = {**named, **components.get(kind, {})}
    describe_access(document)
    components["responses"] = _RESPONSES
    for operation in _operations(document):
        for status, response in operation["responses"].items():
            for name, named in _RESPONSES.items():
                if response == named:
                    operation["responses"][status] = ref("responses", name)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()
