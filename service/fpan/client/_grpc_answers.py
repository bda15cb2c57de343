"""Reads gRPC messages and statuses into typed results and errors: the counterpart of :mod:`fpan.client._answers`."""

from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any, cast

import grpc
import grpc.aio
import numpy as np
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2
from numpy.typing import NDArray

from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.client._decoding import NO_MASK, IndexedMask, Polygon, SoftMasks, read_arrays
from fpan.client._options import Drawing, Output
from fpan.client.errors import DeadlinePassed, FpanError, ServerUnreachable, UnexpectedAnswer, api_error
from fpan.client.types import CoveredFace, CropFrame, Face, Health, ModelVersion, Result
from fpan.contract.face import FACTS, FaceFacts
from fpan.contract.messages import read_fields

DOMAIN = "mask-fpan"
"""Domain of the ``google.rpc.ErrorInfo`` that the server itself sends."""
_DETAILS = "grpc-status-details-bin"
_REQUEST_ID = "x-request-id"
_STATUSES = {
    "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
    "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
    "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
    "DEADLINE_EXCEEDED": HTTPStatus.GATEWAY_TIMEOUT,
}
"""HTTP statuses for gRPC statuses that come without the server's details: from gRPC itself or from a proxy."""
_TOO_LARGE = "larger than max"
"""Only this text distinguishes a message that is too large from a busy server: gRPC gives both the same status."""


def failure(url: str, error: grpc.RpcError, left_ms: int | None) -> FpanError:
    """The exception to raise when a call to ``url`` with a deadline of ``left_ms`` failed."""
    code, words = error.code(), str(error.details() or "").strip()
    # Both kinds of channel give pairs, although the type of the blocking channel's metadata has another name.
    trailing = dict(cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ()))
    identity = str(trailing.get(_REQUEST_ID, "")) or None
    details = _details(trailing.get(_DETAILS))
    if (info := details.get(error_details_pb2.ErrorInfo)) and info.domain == DOMAIN:
        retry = details.get(error_details_pb2.RetryInfo)
        wait_s = retry.retry_delay.ToMilliseconds() / 1000 if retry else None
        slug = info.reason.lower().replace("_", "-")
        return api_error(_status(info.metadata, code), slug, words, identity, wait_s)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and left_ms is None:
        return ServerUnreachable(f"{url} did not answer in time")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        slug = code.name.lower().replace("_", "-")
        return DeadlinePassed(_STATUSES[code.name], slug, "the answer was not there when the deadline passed", identity)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return ServerUnreachable(f"{url} does not answer: {words or code.name}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in words:
        return api_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", words, identity)
    if code.name in _STATUSES:
        status = _STATUSES[code.name]
        return api_error(status, status.phrase.lower().replace(" ", "-"), words or status.phrase, identity)
    return UnexpectedAnswer(f"{url} answered {code.name}: {words or 'no reason given'}")


def _status(told: Mapping[str, str], code: grpc.StatusCode) -> int:
    """The HTTP status of a problem, from the metadata of the server's ``ErrorInfo``."""
    try:
        return int(told["http_status"])
    except (KeyError, ValueError):
        return _STATUSES.get(code.name, HTTPStatus.INTERNAL_SERVER_ERROR)


def _details(data: str | bytes | None) -> dict[type, Any]:
    """The details of a status by their message type."""
    found: dict[type, Any] = {}
    if isinstance(data, bytes):
        try:
            for packed in status_pb2.Status.FromString(data).details:
                for kind in (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo):
                    if packed.Is(kind.DESCRIPTOR):
                        found[kind] = kind.FromString(packed.value)
        except DecodeError:
            pass  # not the server's format: the details are probably a proxy's
    return found


def read_health(answer: health_pb2.HealthCheckResponse) -> Health:
    """The health from the response of ``grpc.health.v1``. A server that is not ready does not raise."""
    word = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    ready = word == "SERVING"
    return Health(True, ready, "" if ready else word.lower().replace("_", " "))


def read_npz(answer: pb.ParseResponse) -> dict[str, NDArray[Any]]:
    """The arrays of a response.

    Raises:
        UnexpectedAnswer: the response has no arrays.
    """
    return read_arrays(answer.npz)


def read_drawing(answer: pb.ParseResponse, drawing: Drawing) -> bytes:
    """One drawing of a response: of the photo, or of the only crop.

    Raises:
        ApiError: drawings are of crops, and the number of faces is not 1. The server refuses the same over HTTP.
        UnexpectedAnswer: the drawing is missing.
    """
    of: pb.ParseResponse | pb.Face = answer
    if not answer.HasField("labels"):
        if len(answer.faces) != 1:
            detail = f"a picture of the crop is of one face, this picture has {len(answer.faces)}: take max_faces=1"
            raise api_error(HTTPStatus.UNPROCESSABLE_ENTITY, "impossible", detail, answer.request_id)
        [of] = answer.faces
    pictures = _pictures(of, (drawing,), answer)
    if drawing not in pictures:
        raise UnexpectedAnswer(f"the server's answer has no {drawing}")
    return pictures[drawing]


def read_result(answer: pb.ParseResponse, outputs: Collection[Output]) -> Result:
    """The result of a parse request with those outputs.

    Raises:
        UnexpectedAnswer: the message is inconsistent.
    """
    try:
        return _result(answer, outputs)
    except (TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"the server answered with a message of another kind: {error!r}") from error


def _result(answer: pb.ParseResponse, outputs: Collection[Output]) -> Result:
    width, height = answer.image.width, answer.image.height
    model, in_image = answer.model, answer.HasField("labels")
    return Result(
        request_id=answer.request_id,
        width=width,
        height=height,
        taxonomy=answer.taxonomy,
        model=ModelVersion(model.name, model.version, model.sha256, model.alias or None, model.precision or None),
        faces=tuple(_face(face, height, width, outputs) for face in answer.faces),
        reason=answer.reason or None,
        notes=tuple(answer.notes),
        timing_ms=dict(answer.timing_ms),
        mask=_mask(answer.labels, height, width) if in_image else NO_MASK,
        raw=answer,
        pictures=_pictures(answer, outputs, answer) if in_image else {},
        polygons=_polygons(answer.polygons) if in_image and "polygons" in outputs else None,
        npz=answer.npz or None,
        redact=tuple(CoveredFace(face.id, face.whole, face.why or None) for face in answer.redaction.faces),
    )


def _face(face: pb.Face, height: int, width: int, outputs: Collection[Output]) -> Face:
    crop = None
    if face.HasField("crop"):
        crop = CropFrame(face.crop.size, np.array(face.crop.matrix, np.float64).reshape(2, 3))
        height = width = crop.size
    return Face(
        **vars(FACTS.validate_python(read_fields(face, FaceFacts))),
        mask=_mask(face.labels, height, width),
        polygons=_polygons(face.polygons) if "polygons" in outputs else None,
        alpha_masks=_soft(face.alpha, height, width) if "alpha" in outputs else None,
        crop=crop,
        pictures=_pictures(face, outputs) if crop else {},
    )


def _corners(window: pb.Window) -> tuple[int, int, int, int]:
    return window.x0, window.y0, window.x1, window.y1


def _mask(labels: pb.LabelMap, height: int, width: int) -> IndexedMask:
    ids = {one.name: one.id for one in labels.classes}
    return IndexedMask(height, width, ids, _corners(labels.window), labels.png)


def _polygons(classes: Iterable[pb.ClassPolygons]) -> dict[str, tuple[Polygon, ...]]:
    def ring(corners: Iterable[int]) -> NDArray[np.int64]:
        return np.array([*corners], np.int64).reshape(-1, 2)

    return {
        one.name: tuple(
            Polygon(ring(each.outline.corners), tuple(ring(hole.corners) for hole in each.holes))
            for each in one.polygons
        )
        for one in classes
    }


def _soft(masks: Iterable[pb.SoftMask], height: int, width: int) -> SoftMasks:
    return SoftMasks(height, width, tuple((mask.name, _corners(mask.window), mask.png) for mask in masks))


def _pictures(
    of: pb.ParseResponse | pb.Face, wanted: Collection[Output], whole: pb.ParseResponse | None = None
) -> dict[str, bytes]:
    """The PNGs in ``wanted``. Only the whole picture has ``redact``."""
    found: dict[Output, bytes] = {
        "png": of.labels.png,
        "overlay": of.overlay_png,
        "cutout": of.cutout_png,
        "confidence": of.confidence_png,
        "redact": whole.redaction.png if whole else b"",
    }
    return {name: found[name] for name in wanted if found.get(name)}
