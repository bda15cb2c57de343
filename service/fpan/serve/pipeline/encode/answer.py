"""What transports answer with: a result in the order, the frame and the encodings that were asked for."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fpan.contract import AliasName, ModelCard, Taxonomy
from fpan.serve.api.errors import Impossible
from fpan.serve.api.options import ParseOptions
from fpan.serve.pipeline import encode
from fpan.serve.pipeline.classes import in_order, kept_classes
from fpan.serve.pipeline.settings import PipelineSettings
from fpan.serve.pipeline.types import ParsedFace, ParseResult, Photo

UNKNOWN = "unknown"
"""Name of label 255 in masks: what ``abstain`` left undecided, or has no class in the order that was asked for."""


@dataclass(frozen=True)
class AnswerEncoder:
    """One result, how it was asked for, and its encodings. It computes: it belongs in a worker thread."""

    found: ParseResult
    photo: Photo
    card: ModelCard
    options: ParseOptions
    rules: PipelineSettings
    alias: AliasName | None = None
    """What the model is, as it was asked for."""

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
    def names(self) -> dict[int, str]:
        """What masks tell: name by id, the background left out, 255 among them."""
        known = {c.id: c.name for c in self.taxonomy.classes if c.id != self.taxonomy.background}
        return {**known, self.taxonomy.ignore: UNKNOWN}

    @property
    def tolerance(self) -> float:
        """Of polygons, in pixels."""
        asked = self.options.tolerance
        return self.rules.polygon_tolerance_px if asked is None else asked

    @property
    def style(self) -> encode.Style:
        """How a redaction covers."""
        return self.options.redact or "blur"

    @cached_property
    def redaction(self) -> encode.Redaction:
        """The photo with its faces covered."""
        taxonomy = self.card.taxonomy
        assert taxonomy is not None
        kept = kept_classes(self.options, taxonomy)
        return encode.Redactor(taxonomy, kept, self.style, self.rules)(self.photo.pixels, self.found)

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
            return self.of_face(output, result.faces[0])
        if output == "redact":
            return encode.rgb_png(self.redaction.pixels)
        if output == "alpha":
            return encode.matte_png(result)
        return self._drawn(output, self.photo.pixels, result.labels, result.confidence)

    def of_face(self, output: str, face: ParsedFace) -> bytes:
        """The same of one face of a result in the crop's frame."""
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
            # What the caller chose has been filtered already and stays whatever it is; else the head does.
            chosen = self.options.classes or self.options.groups
            keep = [c for c in self.names if c != self.taxonomy.ignore] if chosen else None
            return encode.cutout_png(pixels, labels, self.taxonomy, keep)
        if output == "confidence":
            return encode.confidence_png(confidence)
        return encode.indexed_png(labels, self.taxonomy)

    def polygons(self, labels: NDArray[np.uint8], origin: tuple[int, int]) -> tuple[encode.ClassPolygons, ...]:
        """Outlines of a label map, uint8 (H, W), whose first pixel lies at ``origin`` (x, y) of the frame."""
        return encode.class_polygons(labels, self.names, self.tolerance, origin)

    def check_polygons(self) -> None:
        """Whether the outlines of all label maps can be followed in reasonable time.

        Raises:
            TooLarge: they cannot.
        """
        encode.check_outlines((self.result.labels, *(face.labels for face in self.result.faces)), self.rules)

    def npz(self) -> bytes:
        """See :func:`fpan.serve.pipeline.encode.arrays_npz`."""
        return encode.arrays_npz(self.result, self.taxonomy, self.rules)
