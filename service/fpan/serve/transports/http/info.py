"""What is served: labels, models, drift, health, metrics."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from fpan.contract import ModelCard, Taxonomy
from fpan.serve.api.errors import NotFound
from fpan.serve.app import Gateway
from fpan.serve.rollout.controller import RolloutController
from fpan.serve.rollout.served import ServedVersion
from fpan.serve.telemetry.metrics import CONTENT_TYPE, DriftWindow, Metrics
from fpan.serve.transports.http.access import METRICS_PATH
from fpan.serve.transports.http.openapi.components import problems
from fpan.serve.transports.http.openapi.schema import Drift, Health, Labels, ServedModel, ServedModels

_NO_MODEL = problems(404)
_SIDES = "l_ and r_ are the person's own left and right; l_eye is to the right in an unmirrored picture"


def info_routes(gateway: Gateway) -> APIRouter:
    """The routes of ``gateway``."""
    router = APIRouter()

    @router.get(
        "/v1/labels",
        response_model=Labels,
        responses=_NO_MODEL,
        tags=["models"],
        operation_id="getLabels",
        summary="The classes of a model",
        response_description="The taxonomy.",
    )
    async def labels(model: str = "") -> dict[str, Any]:
        """The taxonomy: ids, names, colours, left-right partners, groups, and tables to other orders in use."""
        segmenter = gateway.rollout.model_router.now.segmenter(model)
        return labels_of(segmenter.card, segmenter.taxonomy)

    # As they are: cards were checked when they were read.
    @router.get(
        "/v1/models",
        responses={200: {"model": ServedModels, "description": "The cards."}},
        tags=["models"],
        operation_id="listModels",
        summary="The models that are served",
    )
    async def models() -> Response:
        """The cards of all versions that are served, their aliases, and what the registry asks for in vain."""
        rollout = gateway.rollout
        refused = [{"name": r.card.name, "version": r.card.version, "reason": r.reason} for r in rollout.refused]
        return JSONResponse({"models": [_told(served, rollout) for served in rollout.served], "refused": refused})

    @router.get(
        "/v1/models/{name}",
        responses={200: {"model": ServedModel, "description": "The card."}, **_NO_MODEL},
        tags=["models"],
        operation_id="getModel",
        summary="The card of a model",
    )
    async def model_card(name: str) -> Response:
        """The card of `NAME`, `NAME:VERSION` or `NAME@ALIAS`: taxonomy, metrics, data, licences, sha256, aliases."""
        named = {known: served for served in gateway.rollout.served for known in served.names}
        if name not in named:
            raise NotFound(f"there is no model {name[:80]!r}; served are {', '.join(sorted(named))}")
        return JSONResponse(_told(named[name], gateway.rollout))

    @router.get(
        "/v1/drift",
        response_model=Drift,
        tags=["models"],
        operation_id="getDrift",
        summary="How the newest faces differ from the reference",
        response_description="Counts and indices of every version.",
    )
    async def drift() -> dict[str, Any]:
        """How the newest faces differ from the reference in each version's card: counts, and an index by quantity."""
        return {"versions": [_drift_of(window) for window in gateway.metrics.drift.windows]}

    @router.get(
        "/v1/health/live",
        response_model=Health,
        tags=["health"],
        operation_id="isLive",
        summary="Whether the process is alive",
        response_description="It is.",
    )
    async def live() -> dict[str, str]:
        """Answers as long as the process turns."""
        return {"status": "live"}

    @router.get(
        "/v1/health/ready",
        response_model=Health,
        responses={503: {"model": Health, "description": "A model does not answer, or the server is shutting down."}},
        tags=["health"],
        operation_id="isReady",
        summary="Whether the service is ready",
        response_description="Every model answers.",
    )
    async def ready() -> JSONResponse:
        """200 when every model answers and the server is not being shut down, else 503."""
        is_ready = await gateway.ready()
        return JSONResponse({"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503)

    if gateway.settings.loopback:  # elsewhere the public has no business with them

        @router.get(
            METRICS_PATH,
            response_class=Response,
            responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics."}},
            tags=["health"],
            operation_id="getMetrics",
            summary="Metrics for Prometheus",
        )
        async def metrics() -> Response:
            """For Prometheus."""
            return Response(gateway.metrics.exposition(), media_type=CONTENT_TYPE)

    return router


def metrics_app(metrics: Metrics) -> Starlette:
    """The application of the port that has metrics alone."""

    async def tell(request: Request) -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    return Starlette(routes=[Route(METRICS_PATH, tell)])


def _told(served: ServedVersion, rollout: RolloutController) -> dict[str, Any]:
    told = {
        "aliases": list(served.aliases),
        "default": served.default,
        "tried": served.version not in rollout.unvalidated,
    }
    return {**served.card.model_dump(mode="json"), **told}


def _drift_of(window: DriftWindow) -> dict[str, Any]:
    card = window.card
    quantities = {
        name: {"edges": seen.edges, "counts": seen.counts.tolist(), "reference": seen.reference, "psi": seen.psi}
        for name, seen in window.observed().items()
    }
    version = {"model": card.name, "version": card.version, "sha256": card.sha256}
    return {**version, "faces": window.faces, "quantities": quantities}


def labels_of(card: ModelCard, taxonomy: Taxonomy) -> dict[str, Any]:
    """A taxonomy as ``/v1/labels`` tells it."""
    return {
        "taxonomy": taxonomy.name,
        "model": f"{card.name}:{card.version}",
        "background": taxonomy.background,
        "ignore": taxonomy.ignore,
        "sides": _SIDES,
        "classes": [
            {**c.model_dump(), "groups": [g for g, names in taxonomy.groups.items() if c.name in names]}
            for c in taxonomy.classes
        ],
        "groups": {g: [taxonomy.id_of(name) for name in names] for g, names in taxonomy.groups.items()},
        "remaps": {name: list(ids) for name, ids in taxonomy.remaps.items()},
    }
