"""What the OpenAPI document says of `/v2`, the Open Inference Protocol."""

from typing import Any

from pydantic import BaseModel

from fpan.serve.transports.http.openapi.components import BINARY, BY_STATUS, V2_ERROR, ref, refusal

HEADER_LENGTH = "Inference-Header-Content-Length"


class Error(BaseModel):
    """What went wrong."""

    error: str


class Live(BaseModel):
    """Whether the service runs."""

    live: bool


class Ready(BaseModel):
    """Whether it answers."""

    name: str | None = None
    ready: bool


class ServerMetadata(BaseModel):
    """What serves."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """An input or output."""

    name: str
    datatype: str
    shape: list[int]
    """The batch first; -1 is any size."""


class ModelMetadata(BaseModel):
    """A model."""

    name: str
    versions: list[str]
    """Those that are served."""
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


_PARAMETERS = {"type": "object", "additionalProperties": True}

V2_SCHEMAS: dict[str, dict[str, Any]] = {
    "TensorType": {"type": "string", "enum": ["UINT8", "FP32"], "description": "Type of a tensor's elements."},
    "InferenceTensor": {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"type": "string"},
            "datatype": ref("schemas", "TensorType"),
            "shape": {"type": "array", "items": {"type": "integer"}, "description": "The batch first."},
            "data": {
                "type": "array",
                "items": {},
                "description": "The elements in row-major order, flat or nested; left out where they are in binary.",
            },
            "parameters": {
                **_PARAMETERS,
                "description": "`binary_data_size`: bytes of the tensor behind the JSON.",
            },
        },
        "description": "A tensor.",
    },
    "RequestedOutput": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "parameters": {**_PARAMETERS, "description": "`binary_data`: whether it is answered in binary."},
        },
        "description": "An output that is wanted.",
    },
    "InferenceRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": ref("schemas", "InferenceTensor")},
            "outputs": {
                "type": "array",
                "items": ref("schemas", "RequestedOutput"),
                "description": "All that the model has, where this is left out.",
            },
            "parameters": {
                **_PARAMETERS,
                "description": "`binary_data_output`: whether all outputs are answered in binary. `timeout`: how long "
                "it may take, in microseconds.",
            },
        },
        "description": "Tensors for a model.",
    },
    "InferenceAnswer": {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string", "description": "That of the request, where it had one."},
            "outputs": {"type": "array", "items": ref("schemas", "InferenceTensor")},
        },
        "description": "What a model makes of them.",
    },
}
"""Components: the bodies of inference."""

V2_REQUEST_BODIES: dict[str, dict[str, Any]] = {
    "Inference": {
        "required": True,
        "description": f"JSON; or JSON, whose length {HEADER_LENGTH} tells, and the tensors in binary behind it.",
        "content": {
            "application/json": {"schema": ref("schemas", "InferenceRequest")},
            "application/octet-stream": {"schema": BINARY},
        },
    }
}
"""Components: what an inference is sent."""

V2_PARAMETERS: dict[str, dict[str, Any]] = {
    "InferenceHeaderContentLength": {
        "name": HEADER_LENGTH,
        "in": "header",
        "required": False,
        "schema": {"type": "integer"},
        "description": "Bytes of the JSON, where tensors follow it in binary.",
    }
}
"""Components: headers of an inference."""


_ERRORS: dict[int, str] = {
    400: "The request is malformed, or does not fit the model.",
    404: "There is no such model or version here.",
    408: "The body did not arrive in time.",
    413: "Too many bytes, or too large a batch.",
    422: "An output has numbers that JSON cannot have.",
    429: "Over capacity; Retry-After says when to come again.",
    503: "The backend is down, or the server is shutting down.",
    504: "It took too long.",
}


def v2_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route below ``/v2``."""
    return {status: refusal(status, _ERRORS[status], V2_ERROR) for status in statuses}


V2_RESPONSES: dict[str, dict[str, Any]] = {
    f"V2{BY_STATUS[status].__name__}": refusal(status, text, V2_ERROR) for status, text in _ERRORS.items()
}
"""Components: answers below ``/v2`` that tell an error."""

INFER: dict[str, Any] = {
    "responses": {
        200: {
            "description": f"The outputs: in JSON, or, those asked for in binary, behind the JSON whose length "
            f"{HEADER_LENGTH} tells.",
            "content": {
                "application/json": {"schema": ref("schemas", "InferenceAnswer")},
                "application/octet-stream": {"schema": BINARY},
            },
        },
        **v2_errors(*_ERRORS),
    },
    "openapi_extra": {
        "parameters": [ref("parameters", "InferenceHeaderContentLength")],
        "requestBody": ref("requestBodies", "Inference"),
    },
}
"""Arguments of the routes of an inference."""
