"""Reads HTTP responses into typed results and errors."""

import base64
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from fpan.client._decoding import NO_MASK, IndexedMask, Mask, read_arrays, read_mask, read_polygons, read_soft
from fpan.client._options import DRAWINGS
from fpan.client._patience import retry_after_s
from fpan.client.errors import ApiError, FpanError, ServerUnreachable, UnexpectedAnswer, api_error
from fpan.client.types import CoveredFace, CropFrame, Face, Health, ModelVersion, Result
from fpan.contract.face import FACTS
from fpan.contract.taxonomy import Taxonomy

PNG = "image/png"
NPZ = "application/x-npz"
JSON = "application/json"
_PROBLEM_JSON = "application/problem+json"
_REQUEST_ID = "x-request-id"


def unreachable(url: str, error: Exception) -> FpanError:
    """The exception to raise when httpx got no response from ``url``."""
    if isinstance(error, httpx.TimeoutException):
        return ServerUnreachable(f"{url} did not answer in time ({type(error).__name__})")
    return ServerUnreachable(f"{url} does not answer: {error or type(error).__name__}")


def expect(response: httpx.Response, media_type: str, *statuses: int) -> httpx.Response:
    """Returns the response if its status is one of ``statuses`` (200 if none is given) and its type ``media_type``.

    Raises:
        ApiError: the status is 400 or above.
        UnexpectedAnswer: another status or media type.
    """
    found = _media_type(response)
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        raise _problem(response)
    if response.status_code not in (statuses or (HTTPStatus.OK,)) or found != media_type:
        raise UnexpectedAnswer(
            f"{response.url} answered {response.status_code} {found!r} where {media_type} was asked for"
        )
    return response


def read_json(response: httpx.Response, *statuses: int) -> Any:
    """The decoded JSON body of a successful response; errors as :func:`expect`."""
    try:
        return expect(response, JSON, *statuses).json()
    except ValueError as error:
        raise UnexpectedAnswer(f"{response.url} answered with broken JSON: {error}") from error


def read_result(response: httpx.Response) -> Result:
    """The result of a parse request; errors as :func:`expect`."""
    body = read_json(response)
    try:
        return _result(body)
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"{response.url} answered with JSON of another kind: {error!r}") from error


def read_results(response: httpx.Response) -> list[Result | ApiError]:
    """The response to a request with several pictures: a result or an error for each; raises as :func:`expect`."""
    body = read_json(response)
    try:
        return [_one_of_several(each) for each in body["results"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"{response.url} answered with JSON of another kind: {error!r}") from error


def read_npz(response: httpx.Response) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` response; errors as :func:`expect`."""
    return read_arrays(expect(response, NPZ).content)


def read_taxonomy(response: httpx.Response) -> Taxonomy:
    """The taxonomy in the response of ``/v1/labels``; errors as :func:`expect`."""
    body = read_json(response)
    try:
        names = {int(c["id"]): c["name"] for c in body["classes"]}
        groups = {group: [names[number] for number in ids] for group, ids in body["groups"].items()}
        return Taxonomy.model_validate({**body, "name": body["taxonomy"], "groups": groups})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnexpectedAnswer(f"{response.url} answered with no taxonomy: {error!r}") from error


def read_health(live: httpx.Response, ready: httpx.Response) -> Health:
    """The health from the responses of the two health routes. A server that is not ready does not raise."""
    detail = "" if ready.status_code == HTTPStatus.OK else _why_not(ready)
    return Health(live.status_code == HTTPStatus.OK, ready.status_code == HTTPStatus.OK, detail)


def _why_not(response: httpx.Response) -> str:
    if _media_type(response) == JSON:
        try:
            return str(response.json()["status"])
        except (KeyError, TypeError, ValueError):
            pass
    return _problem(response).detail


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _problem(response: httpx.Response) -> ApiError:
    status = response.status_code
    identity = response.headers.get(_REQUEST_ID)
    wait = retry_after_s(response)
    if _media_type(response) == _PROBLEM_JSON:
        try:
            body = response.json()
            slug = str(body["type"]).rpartition(":")[2]
            return api_error(
                status, slug, str(body["detail"]), str(body.get("request_id") or identity or "") or None, wait
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            pass  # not the server's format: the response is probably a proxy's
    phrase = response.reason_phrase or "no reason given"
    slug = phrase.lower().replace(" ", "-")
    return api_error(status, slug, f"{response.url} answered {status} {phrase}", identity, wait)


def _one_of_several(body: Mapping[str, Any]) -> Result | ApiError:
    if body["status"] == HTTPStatus.OK:
        return _result(body["answer"])
    problem = body["problem"]
    slug = str(problem["type"]).rpartition(":")[2]
    wait = problem.get("retry_after_s")
    return api_error(int(body["status"]), slug, str(problem["detail"]), problem.get("request_id"), wait)


def _result(body: Mapping[str, Any]) -> Result:
    width, height = int(body["image"]["width"]), int(body["image"]["height"])
    model = body["model"]
    faces = tuple(_face(face, height, width) for face in body["faces"])
    return Result(
        request_id=str(body["request_id"]),
        width=width,
        height=height,
        taxonomy=str(body["taxonomy"]),
        model=ModelVersion(
            str(model["name"]), int(model["version"]), str(model["sha256"]), model.get("alias"), model.get("precision")
        ),
        faces=faces,
        reason=body.get("reason"),
        notes=tuple(body.get("notes", ())),
        timing_ms={str(stage): float(ms) for stage, ms in body.get("timing_ms", {}).items()},
        mask=_mask(body, faces, height, width),
        raw=dict(body),
        pictures=_pictures(body),
        polygons=read_polygons(body.get("polygons")),
        npz=base64.b64decode(body["npz"]["data"], validate=True) if body.get("npz") else None,
        redact=tuple(
            CoveredFace(int(face["id"]), bool(face["whole"]), face["why"])
            for face in body.get("redact", {}).get("faces", ())
        ),
    )


def _mask(body: Mapping[str, Any], faces: Sequence[Face], height: int, width: int) -> Mask:
    """The label map of all faces: from run lengths if the response has them, else from the indexed PNG."""
    if body.get("mask"):
        return read_mask(body["mask"], height, width)
    if not body.get("png"):
        if any(face.crop is None for face in faces):
            raise KeyError("mask")
        return NO_MASK
    ids = {part.name: part.id for face in faces for part in face.parts} | {"unknown": 255}
    return IndexedMask(height, width, ids, (0, 0, width, height), base64.b64decode(body["png"]["data"], validate=True))


def _pictures(body: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: base64.b64decode(body[name]["data"], validate=True) for name in DRAWINGS if body.get(name)}


def _face(body: Mapping[str, Any], height: int, width: int) -> Face:
    crop = None if body.get("crop") is None else _crop(body["crop"])
    if crop is not None:
        height = width = crop.size
    return Face(
        **vars(FACTS.validate_python(body)),
        mask=read_mask(body["mask"], height, width),
        polygons=read_polygons(body.get("polygons")),
        alpha_masks=read_soft(body.get("alpha")),
        crop=crop,
        pictures=_pictures(body),
    )


def _crop(body: Mapping[str, Any]) -> CropFrame:
    return CropFrame(int(body["size"]), np.asarray(body["matrix"], np.float64).reshape(2, 3))
