"""`/v2`: the Open Inference Protocol for the models that ``V2_MODELS`` lists. Health, metadata and inference with
tensors inline; nothing else of it, and nothing of Triton's own extensions but binary tensors.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

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
from fpan.serve.transports.http.openapi.oip import (
    HEADER_LENGTH,
    INFER,
    Live,
    ModelMetadata,
    Ready,
    ServerMetadata,
    v2_errors,
)
from fpan.serve.transports.http.problems import METHODS, PREFIX

_NAME = "mask-fpan-serve"
_PLATFORM = "onnx_onnxv1"


def oip_routes(gateway: Gateway) -> APIRouter:
    """The routes of ``gateway``."""
    router = APIRouter(prefix=PREFIX, tags=["v2"])
    settings = gateway.settings
    limits = InferenceLimits(settings.max_batch, settings.v2_max_json_bytes)
    missing: dict[int | str, dict[str, Any]] = v2_errors(404)
    not_ready: dict[int | str, dict[str, Any]] = {503: {"model": Ready, "description": "It does not."}, **missing}

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

    @router.get(
        "",
        response_model=ServerMetadata,
        responses=missing,
        operation_id="getServerMetadata",
        summary="What serves",
        response_description="Name, version and extensions.",
    )
    async def server_metadata() -> dict[str, Any]:
        """What serves, and which extensions of the protocol it knows."""
        check_on()
        return {"name": _NAME, "version": fpan.__version__, "extensions": ["binary_tensor_data"]}

    @router.get(
        "/health/live",
        response_model=Live,
        responses=missing,
        operation_id="isServerLive",
        summary="Whether the process is alive",
        response_description="It is.",
    )
    async def live() -> dict[str, bool]:
        """Answers as long as the process turns."""
        check_on()
        return {"live": True}

    @router.get(
        "/health/ready",
        response_model=Ready,
        responses=not_ready,
        operation_id="isServerReady",
        summary="Whether every model answers",
        response_description="Every model answers.",
    )
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

    async def version_metadata(name: str, version: str) -> dict[str, Any]:
        """A model's versions, and the inputs and outputs of one of them."""
        return await model_metadata(name, version)

    async def version_ready(name: str, version: str) -> JSONResponse:
        """200 when the version answers, else 503."""
        return await model_ready(name, version)

    async def infer_version(request: Request, name: str, version: str) -> Response:
        """Runs one version of a model on tensors that the request holds."""
        return await infer(request, name, version)

    # Functions of their own: what stands in a path is never left out, and documents would say that it may be.
    of_model = ("/models/{name}", "Model", "a model", model_metadata, model_ready, infer)
    of_version = (
        "/models/{name}/versions/{version}",
        "ModelVersion",
        "a version of a model",
        version_metadata,
        version_ready,
        infer_version,
    )
    for path, of, what, metadata, ready_, run in (of_model, of_version):
        router.add_api_route(
            path,
            metadata,
            response_model=ModelMetadata,
            responses=missing,
            operation_id=f"get{of}Metadata",
            summary=f"Inputs and outputs of {what}",
            response_description="Versions, inputs and outputs.",
        )
        router.add_api_route(
            f"{path}/ready",
            ready_,
            response_model=Ready,
            responses=not_ready,
            operation_id=f"is{of}Ready",
            summary=f"Whether {what} answers",
            response_description="It answers.",
        )
        router.add_api_route(
            f"{path}/infer",
            run,
            methods=["POST"],
            operation_id=f"infer{of}",
            summary=f"Run {what} on tensors",
            **INFER,
        )

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
