"""A result as an answer: the JSON of everything, or one picture."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from fpan.contract import AliasName, ModelCard
from fpan.rle import encode_classes
from fpan.serve.pipeline.encode import confidence_png, cutout_png, indexed_png, overlay_png
from fpan.serve.pipeline.options import PICTURE_OUTPUTS, ParseOptions
from fpan.serve.pipeline.types import ParsedFace, ParseResult, Photo

JSON, PNG = "application/json", "image/png"
_HEAD = "head"


def picture(output: str, result: ParseResult, photo: Photo, card: ModelCard) -> bytes:
    """The PNG that ``output`` names, in the size of the picture."""
    taxonomy = card.taxonomy
    assert taxonomy is not None
    if output == "overlay":
        return overlay_png(photo.pixels, result.labels, taxonomy)
    if output == "cutout":
        return cutout_png(photo.pixels, result.labels, taxonomy)
    if output == "confidence":
        return confidence_png(result.confidence)
    return indexed_png(result.labels, taxonomy)


def json_answer(
    result: ParseResult, photo: Photo, card: ModelCard, options: ParseOptions, alias: AliasName | None = None
) -> bytes:
    """Everything that is known, as :class:`fpan.serve.http.schema.ParseAnswer` has it, less id and timing.

    See :func:`with_request`, which adds them.
    """
    taxonomy = card.taxonomy
    assert taxonomy is not None
    wanted = options.output or ("rle",)
    names = {c.id: c.name for c in taxonomy.classes if c.id != taxonomy.background}
    answer: dict[str, Any] = {
        "image": {"width": result.width, "height": result.height},
        "taxonomy": taxonomy.name,
        "model": {"name": card.name, "version": card.version, "alias": alias, "sha256": card.sha256},
        "reason": result.reason,
        "notes": list(result.notes),
        "faces": [_face(face, result, names) for face in result.faces],
    }
    if "rle" in wanted:
        answer["mask"] = encode_classes(result.labels, names)
    for output in PICTURE_OUTPUTS:
        if output in wanted:
            data = picture(output, result, photo, card)
            answer[output] = {"encoding": "png", "data": base64.b64encode(data).decode("ascii")}
    return _json(answer)


def with_request(answer: bytes, request_id: str, timing_ms: Mapping[str, float]) -> bytes:
    """:func:`json_answer` with what is known only once it is made, at the price of a copy."""
    head, tail = _json({"request_id": request_id}), _json({"timing_ms": timing_ms})
    return b",".join((head[:-1], memoryview(answer)[1:-1], tail[1:]))


def _json(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _face(face: ParsedFace, result: ParseResult, names: dict[int, str]) -> dict[str, Any]:
    return {
        "id": face.id,
        "box": [round(v, 2) for v in face.box],
        "score": None if face.score is None else round(face.score, 4),
        "landmarks": None if face.landmarks is None else face.landmarks.astype(float).round(2).tolist(),
        "occluded": round(face.occluded, 4),
        "cut_by_crop": list(face.cut_by_crop),
        "cut_by_image": face.cut_by_image,
        "parts": [
            {"id": p.id, "name": p.name, "area": p.area, "box": list(p.box), "confidence": round(p.confidence, 4)}
            for p in face.parts
        ],
        "mask": encode_classes(face.labels, names, face.window, (result.height, result.width)),
    }
