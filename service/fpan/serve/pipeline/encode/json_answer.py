"""A result as JSON: everything that is known."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan.rle import encode_classes
from fpan.serve.api.options import PICTURE_OUTPUTS
from fpan.serve.pipeline import encode
from fpan.serve.pipeline.encode.answer import AnswerEncoder
from fpan.serve.pipeline.types import ParsedFace


def json_answer(answer: AnswerEncoder) -> bytes:
    """Everything that is known, as the OpenAPI schema ``ParseAnswer`` has it, less id and timing.

    See :func:`with_request`, which adds them.
    """
    result, card = answer.result, answer.card
    wanted = answer.options.output or ("rle",)
    if "polygons" in wanted:
        answer.check_polygons()
    told: dict[str, Any] = {
        "image": {"width": result.width, "height": result.height},
        "taxonomy": answer.taxonomy.name,
        "model": {
            "name": card.name,
            "version": card.version,
            "alias": answer.alias,
            "sha256": card.sha256,
            "precision": card.precision,
        },
        "reason": result.reason,
        "notes": list(result.notes),
        "faces": [_face(answer, face, wanted) for face in result.faces],
    }
    if result.frame == "image":
        if "rle" in wanted:
            told["mask"] = encode_classes(result.labels, answer.names)
        if "polygons" in wanted:
            told["polygons"] = _polygons(answer, result.labels, (0, 0), (result.height, result.width))
        told |= _pictures(wanted, answer.picture)
    if "redact" in wanted:
        covered = [{"id": face.id, "whole": face.why is not None, "why": face.why} for face in answer.redaction.faces]
        told["redact"] |= {"style": answer.style, "faces": covered}
    if "npz" in wanted:
        told["npz"] = _base64(answer.npz(), "npz")
    return _json(told)


def with_request(answer: bytes, request_id: str, timing_ms: Mapping[str, float]) -> bytes:
    """:func:`json_answer` with what is known only once it is made, at the price of a copy."""
    head, tail = _json({"request_id": request_id}), _json({"timing_ms": timing_ms})
    return b",".join((head[:-1], memoryview(answer)[1:-1], tail[1:]))


def _base64(data: bytes, encoding: str) -> dict[str, Any]:
    return {"encoding": encoding, "data": base64.b64encode(data).decode("ascii")}


def _json(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _face(answer: AnswerEncoder, face: ParsedFace, wanted: tuple[str, ...]) -> dict[str, Any]:
    size = (face.crop.size,) * 2 if face.crop else (answer.result.height, answer.result.width)
    told: dict[str, Any] = {
        **face.facts.as_json(),
        "mask": encode_classes(face.labels, answer.names if answer.options.face_masks else {}, face.window, size),
    }
    if "polygons" in wanted:
        told["polygons"] = _polygons(answer, face.labels, face.window[:2], size)
    if "alpha" in wanted:
        told["alpha"] = {
            "encoding": "png",
            "size": list(size),
            "classes": [
                {
                    "id": mask.id,
                    "name": answer.names[mask.id],
                    "window": list(mask.window),
                    "data": base64.b64encode(encode.alpha_png(mask)).decode("ascii"),
                }
                for mask in face.alpha
            ],
        }
    if face.crop:
        told["crop"] = {"size": face.crop.size, "matrix": face.crop.matrix.round(6).tolist()}
        told |= _pictures(wanted, lambda output: answer.of_face(output, face))
    return told


def _polygons(
    answer: AnswerEncoder, labels: NDArray[np.uint8], origin: tuple[int, int], size: tuple[int, ...]
) -> dict[str, Any]:
    return {
        "encoding": "polygons",
        "tolerance": answer.tolerance,
        "size": list(size),
        "classes": [
            {
                "id": one.id,
                "name": one.name,
                "polygons": [
                    {"outline": p.outline.tolist(), "holes": [hole.tolist() for hole in p.holes]} for p in one.polygons
                ],
            }
            for one in answer.polygons(labels, origin)
        ],
    }


def _pictures(wanted: tuple[str, ...], draw: Callable[[str], bytes]) -> dict[str, Any]:
    return {output: _base64(draw(output), "png") for output in PICTURE_OUTPUTS if output in wanted}
