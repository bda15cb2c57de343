"""A result as an answer: the JSON of everything, one picture, or arrays."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan.contract import ModelCard, Taxonomy
from fpan.rle import encode_classes
from fpan.serve.errors import Impossible
from fpan.serve.pipeline import encode
from fpan.serve.pipeline.options import PICTURE_OUTPUTS, ParseOptions
from fpan.serve.pipeline.order import in_order
from fpan.serve.pipeline.parser import kept_classes
from fpan.serve.pipeline.types import ParsedFace, ParseResult, Photo

JSON, PNG, NPZ = "application/json", "image/png", "application/x-npz"
UNKNOWN = "unknown"
"""Name of label 255 in masks: what ``abstain`` left undecided, or has no class in the order that was asked for."""


@dataclass(frozen=True)
class Answer:
    """One result, and how it was asked for. It computes: it belongs in a worker thread."""

    found: ParseResult
    photo: Photo
    card: ModelCard
    options: ParseOptions
    rules: encode.EncodeRules

    @cached_property
    def _ordered(self) -> tuple[ParseResult, Taxonomy]:
        assert self.card.taxonomy is not None
        return in_order(self.found, self.card.taxonomy, self.options.taxonomy)

    @property
    def result(self) -> ParseResult:
        """With the ids of the order that was asked for."""
        return self._ordered[0]

    @property
    def taxonomy(self) -> Taxonomy:
        """Of these ids."""
        return self._ordered[1]

    @cached_property
    def _names(self) -> dict[int, str]:
        """What masks tell: name by id, the background left out."""
        known = {c.id: c.name for c in self.taxonomy.classes if c.id != self.taxonomy.background}
        return {**known, self.taxonomy.ignore: UNKNOWN}

    @property
    def _tolerance(self) -> float:
        asked = self.options.tolerance
        return self.rules.polygon_tolerance_px if asked is None else asked

    @cached_property
    def redaction(self) -> encode.Redaction:
        """The photo with its faces covered."""
        taxonomy = self.card.taxonomy
        assert taxonomy is not None
        kept = kept_classes(self.options, taxonomy)
        return encode.Redactor(taxonomy, kept, self.options.redact or "blur", self.rules)(self.photo.pixels, self.found)

    def picture(self, output: str) -> bytes:
        """The PNG that ``output`` names: in the size of the picture, or of the one crop with ``frame=crop``.

        Raises:
            Impossible: the frame is the crop's, and the picture has not one face.
        """
        result = self.result
        if result.frame == "crop":
            if len(result.faces) != 1:
                what = f"this picture has {len(result.faces)}"
                raise Impossible(
                    f"a picture of the crop is of one face, {what}: take max_faces=1, or JSON for all of them"
                )
            return self._of_face(output, result.faces[0])
        if output == "redact":
            return encode.rgb_png(self.redaction.pixels)
        if output == "alpha":
            return encode.matte_png(result)
        return self._drawn(output, self.photo.pixels, result.labels, result.confidence)

    def _of_face(self, output: str, face: ParsedFace) -> bytes:
        """The same of one face in its crop."""
        assert face.crop is not None
        if output == "alpha":
            return encode.face_matte_png(face)
        return self._drawn(output, face.crop.pixels, face.labels, face.confidence)

    def _drawn(
        self, output: str, pixels: NDArray[np.uint8], labels: NDArray[np.uint8], confidence: NDArray[np.uint8]
    ) -> bytes:
        if output == "overlay":
            return encode.overlay_png(pixels, labels, self.taxonomy)
        if output == "cutout":
            return encode.cutout_png(pixels, labels, self.taxonomy)
        if output == "confidence":
            return encode.confidence_png(confidence)
        return encode.indexed_png(labels, self.taxonomy)

    def npz(self) -> bytes:
        """See :func:`fpan.serve.pipeline.encode.arrays_npz`."""
        return encode.arrays_npz(self.result, self.taxonomy, self.rules)

    def json(self) -> bytes:
        """Everything that is known, as :class:`fpan.serve.http.schema.ParseAnswer` has it, less id and timing.

        See :func:`with_request`, which adds them.
        """
        result = self.result
        wanted = self.options.output or ("rle",)
        in_image = result.frame == "image"
        if "polygons" in wanted:
            encode.check_outlines((result.labels, *(face.labels for face in result.faces)), self.rules)
        answer: dict[str, Any] = {
            "image": {"width": result.width, "height": result.height},
            "taxonomy": self.taxonomy.name,
            "model": {"name": self.card.name, "version": self.card.version, "sha256": self.card.sha256},
            "reason": result.reason,
            "notes": list(result.notes),
            "faces": [self._face(face, wanted) for face in result.faces],
        }
        if in_image and "rle" in wanted:
            answer["mask"] = encode_classes(result.labels, self._names)
        if in_image and "polygons" in wanted:
            answer["polygons"] = self._polygons(result.labels, (0, 0), (result.height, result.width))
        if in_image:
            answer |= self._pictures(wanted, self.picture)
        if "redact" in wanted:
            told = [{"id": face.id, "whole": face.why is not None, "why": face.why} for face in self.redaction.faces]
            answer["redact"] |= {"style": self.options.redact or "blur", "faces": told}
        if "npz" in wanted:
            answer["npz"] = _base64(self.npz(), "npz")
        return _json(answer)

    def _face(self, face: ParsedFace, wanted: tuple[str, ...]) -> dict[str, Any]:
        size = (face.crop.size,) * 2 if face.crop else (self.result.height, self.result.width)
        told: dict[str, Any] = {
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
            "mask": encode_classes(face.labels, self._names, face.window, size),
        }
        if "polygons" in wanted:
            told["polygons"] = self._polygons(face.labels, face.window[:2], size)
        if "alpha" in wanted:
            told["alpha"] = {
                "encoding": "png",
                "size": list(size),
                "classes": [
                    {
                        "id": mask.id,
                        "name": self._names[mask.id],
                        "window": list(mask.window),
                        "data": base64.b64encode(encode.alpha_png(mask)).decode("ascii"),
                    }
                    for mask in face.alpha
                ],
            }
        if face.crop:
            told["crop"] = {"size": face.crop.size, "matrix": face.crop.matrix.round(6).tolist()}
            told |= self._pictures(wanted, lambda output: self._of_face(output, face))
        return told

    def _polygons(self, labels: NDArray[np.uint8], origin: tuple[int, int], size: tuple[int, ...]) -> dict[str, Any]:
        classes = encode.class_polygons(labels, self._names, self._tolerance, origin)
        return {
            "encoding": "polygons",
            "tolerance": self._tolerance,
            "size": list(size),
            "classes": [
                {
                    "id": one.id,
                    "name": one.name,
                    "polygons": [
                        {"outline": p.outline.tolist(), "holes": [hole.tolist() for hole in p.holes]}
                        for p in one.polygons
                    ],
                }
                for one in classes
            ],
        }

    def _pictures(self, wanted: tuple[str, ...], draw: Callable[[str], bytes]) -> dict[str, Any]:
        return {output: _base64(draw(output), "png") for output in PICTURE_OUTPUTS if output in wanted}


def with_request(answer: bytes, request_id: str, timing_ms: Mapping[str, float]) -> bytes:
    """:meth:`Answer.json` with what is known only once it is made, at the price of a copy."""
    head, tail = _json({"request_id": request_id}), _json({"timing_ms": timing_ms})
    return b",".join((head[:-1], memoryview(answer)[1:-1], tail[1:]))


def _base64(data: bytes, encoding: str) -> dict[str, Any]:
    return {"encoding": encoding, "data": base64.b64encode(data).decode("ascii")}


def _json(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
