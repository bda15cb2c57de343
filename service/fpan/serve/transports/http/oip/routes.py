"""`/v2`: the Open Inference Protocol for the models that ``V2_MODELS`` lists. Health, metadata and inference with
tensors inline; nothing else of it, and nothing of Triton's own extensions but binary tensors.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

import fpan
from fpan.contract import ModelCard
from fpan.contract.card import ANY, Tensor
from fpan.serve.api.deadline import Deadline
from fpan.serve.api.errors import NotFound
from fpan.serve.app import Gateway
from fpan.serve.transports.http.access import context_of
from fpan.serve.transports.http.body import read_body
from fpan.serve.transports.http.disconnect import while_connected
from fpan.serve.transports.http.oip.tensors import InferenceLimits, read_inference, write_inference
from fpan.serve.transports.http.problems import METHODS, PREFIX

HEADER_LENGTH = "Inference-Header-Content-Length"
_NAME = "mask-fpan-serve"
_PLATFORM = "onnx_onnxv1"


class Error(BaseModel):
    """What went wrong."""

    error: str


OIP_ERROR = {"application/json": {"schema": Error.model_json_schema()}}
"""Content of an answer that tells an error, in the OpenAPI document."""


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


_TENSORS: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string", "enum": ["UINT8", "FP32"]},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "array", "items": {}},
            "parameters": {"type": "object"},
        },
    },
}
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "The request is malformed, or does not fit the model."},
    404: {"model": Error, "description": "There is no such model or version here."},
    408: {"model": Error, "description": "The body did not arrive in time."},
    413: {"model": Error, "description": "Too many bytes, or too large a batch."},
    422: {"model": Error, "description": "An output has numbers that JSON cannot have."},
    429: {"model": Error, "description": "Over capacity; Retry-After says when to come again."},
    503: {"model": Error, "description": "The backend is down, or the server is shutting down."},
    504: {"model": Error, "description": "It took too long."},
}
_INFER: dict[str, Any] = {
    "summary": "Run a model on tensors",
    "tags": ["v2"],
    "responses": {
        200: {
            "description": f"The outputs: in JSON, or, those asked for in binary, behind the JSON whose length "
            f"{HEADER_LENGTH} tells.",
            "content": {
                "application/json": {"schema": {"type": "object", "properties": {"outputs": _TENSORS}}},
                "application/octet-stream": _BINARY,
            },
        },
        **_ERRORS,
    },
    "openapi_extra": {
        "parameters": [{"name": HEADER_LENGTH, "in": "header", "required": False, "schema": {"type": "integer"}}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["inputs"],
                        "properties": {"id": {"type": "string"}, "inputs": _TENSORS, "outputs": {"type": "array"}},
                    }
                },
                "application/octet-stream": _BINARY,
            },
        },
    },
}


def oip_routes(gateway: Gateway) -> APIRouter:
    """The routes of ``gateway``."""
    router = APIRouter(prefix=PREFIX)
    settings = gateway.settings
    limits = InferenceLimits(settings.max_batch, settings.v2_max_json_bytes)
    missing: dict[int | str, dict[str, Any]] = {404: _ERRORS[404]}

    def check_on() -> None:
        if not settings.v2_models:
            raise NotFound("the Open Inference Protocol is off here: V2_MODELS lists no model")

    def served(name: str) -> list[ModelCard]:
        """The versions of a model that answer, the one that does without being named first."""
        check_on()
        found = [each for each in gateway.rollout.served if each.card.name == name and name in settings.v2_models]
        if not found:
            raise NotFound(f"there is no model {name[:80]!r} at {PREFIX}; there are {', '.join(settings.v2_models)}")
        return [each.card for each in sorted(found, key=lambda each: not each.default)]

    def card_of(name: str, version: str | None) -> ModelCard:
        cards = served(name)
        for card in cards:
            if version is None or version == str(card.version):
                return card
        numbers = ", ".join(str(card.version) for card in cards)
        raise NotFound(f"version {str(version)[:20]!r} of {name} is not served; served are {numbers}")

    @router.get("", response_model=ServerMetadata, responses=missing, tags=["v2"])
    async def server_metadata() -> dict[str, Any]:
        """What serves, and which extensions of the protocol it knows."""
        check_on()
        return {"name": _NAME, "version": fpan.__version__, "extensions": ["binary_tensor_data"]}

    @router.get("/health/live", response_model=Live, responses=missing, tags=["v2"])
    async def live() -> dict[str, bool]:
        """Answers as long as the process turns."""
        check_on()
        return {"live": True}

    @router.get("/health/ready", response_model=Ready, responses={503: {"model": Ready}, **missing}, tags=["v2"])
    async def ready() -> JSONResponse:
        """200 when every model answers and the server is not being shut down, else 503."""
        check_on()
        is_ready = await gateway.ready()
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    async def model_metadata(name: str, version: str | None = None) -> dict[str, Any]:
        """A model's versions, inputs and outputs."""
        card = card_of(name, version)
        return {
            "name": name,
            "versions": sorted((str(each.version) for each in served(name)), key=int),
            "platform": _PLATFORM,
            "inputs": [_metadata(tensor) for tensor in card.inputs],
            "outputs": [_metadata(tensor) for tensor in card.outputs],
        }

    async def model_ready(name: str, version: str | None = None) -> JSONResponse:
        """200 when the model answers, else 503."""
        card = card_of(name, version)
        is_ready = not gateway.admission.draining and await gateway.backend.ready(card.name, card.version)
        return JSONResponse({"name": name, "ready": is_ready}, 200 if is_ready else 503)

    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        """Runs a version of a model, the champion where none is named, on tensors that the request holds."""
        card_of(name, version)  # before the body is read, and again after: versions come and go meanwhile
        body = await read_body(request, settings.max_body_bytes, settings.body_timeout_s)
        with gateway.rollout.model_router.using():  # what answers now is not unloaded before it has
            card = card_of(name, version)
            asked = await asyncio.to_thread(read_inference, body, request.headers.get(HEADER_LENGTH), card, limits)
            timeout_s = min(settings.infer_timeout_s, asked.timeout_s or settings.infer_timeout_s)
            trace = context_of(request, Deadline.never()).trace
            computing = gateway.backend.infer(
                card.name, card.version, asked.inputs, asked.computed(card), timeout_s, trace
            )
            arrays = await while_connected(request, computing)
        answer, length = await asyncio.to_thread(write_inference, card, asked, arrays)
        if length is None:
            return Response(answer, media_type="application/json")
        return Response(answer, headers={HEADER_LENGTH: str(length)}, media_type="application/octet-stream")

    for path in ("/models/{name}", "/models/{name}/versions/{version}"):
        router.add_api_route(path, model_metadata, response_model=ModelMetadata, responses=missing, tags=["v2"])
        router.add_api_route(
            f"{path}/ready",
            model_ready,
            response_model=Ready,
            responses={503: {"model": Ready}, **missing},
            tags=["v2"],
        )
        router.add_api_route(f"{path}/infer", infer, methods=["POST"], **_INFER)

    @router.api_route("/{path:path}", methods=[*METHODS], include_in_schema=False)
    async def nothing(request: Request, path: str) -> None:
        """Whatever else Triton has: model control, shared memory, statistics, trace and log settings."""
        check_on()
        raise NotFound(
            f"{request.method} {PREFIX}/{path[:80]} is not offered here: health, metadata and inference with tensors "
            "inline are"
        )

    return router


def _metadata(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.dtype, "shape": [ANY, *tensor.shape]}
