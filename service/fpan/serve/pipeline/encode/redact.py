"""The picture with its faces, or parts of them, made unrecognisable. In doubt more is covered, never less.

What stays of a covered face is the mean colour of a few cells across it (``redact_cells``), whatever its size: a blur
that spreads those colours, or squares of them, holds no more than them, so no sharpening brings the face back. ``fill``
leaves nothing. The answer is made of pixels alone: EXIF, thumbnails, profiles and comments stay behind.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.contract import Taxonomy
from fpan.contract.face import Box, Part, Window
from fpan.serve.pipeline.settings import PipelineSettings
from fpan.serve.pipeline.types import ParsedFace, ParseResult

Style = Literal["blur", "pixelate", "fill"]
_FACE = "face"
"""Group of classes that is covered where none is named."""
_COVERED = 255


@dataclass(frozen=True)
class CoveredFace:
    """How a face was covered."""

    id: int
    why: str | None
    """Why its whole box is covered, and not its mask alone; None when the mask was trusted."""


@dataclass(frozen=True)
class Redaction:
    """A redacted picture."""

    pixels: NDArray[np.uint8]
    """RGB, uint8 (H, W, 3)."""
    covered: NDArray[np.uint8]
    """uint8 (H, W): 255 where no pixel is the photo's own."""
    faces: tuple[CoveredFace, ...]


@dataclass(frozen=True)
class Redactor:
    """Covers faces by the rules of the operator and the wishes of a caller."""

    taxonomy: Taxonomy
    kept: Collection[int] | None
    """Ids of the classes to cover; None for the whole face."""
    style: Style
    rules: PipelineSettings

    def __call__(self, pixels: NDArray[np.uint8], result: ParseResult) -> Redaction:
        """Covers every face of a result, in the picture's frame.

        Args:
            pixels: RGB, uint8 (H, W, 3), of the picture that the result is of.
            result: with all its labels, in the model's own order of classes.
        """
        shown, covered = pixels.copy(), np.zeros(pixels.shape[:2], np.uint8)
        told = []
        for face in result.faces:
            here = self._around(face.box, pixels.shape, face.window)
            mask, why = self._cover(_moved(face, here), (here[3] - here[1], here[2] - here[0]))
            told.append(CoveredFace(face.id, why))
            self._draw(pixels, shown, covered, here, mask, _side(face.box))
        for box in result.unparsed:
            here = self._around(box, pixels.shape)
            mask = np.full((here[3] - here[1], here[2] - here[0]), _COVERED, np.uint8)
            self._draw(pixels, shown, covered, here, mask, _side(box))
        return Redaction(shown, covered, tuple(told))

    def _around(self, box: Box, shape: tuple[int, ...], window: Window | None = None) -> Window:
        """All that could be covered of a face, in a picture of that shape; may be empty."""
        margin = self._margin(box)
        left, top, right, bottom = box
        if window is not None:
            left, top = min(left, window[0]), min(top, window[1])
            right, bottom = max(right, window[2]), max(bottom, window[3])
        return _within((left - margin, top - margin, right + margin, bottom + margin), shape)

    def _cover(self, face: ParsedFace, shape: tuple[int, int]) -> tuple[NDArray[np.uint8], str | None]:
        """Where a face is to be covered in a piece of the picture of that shape, whose pixels the face counts.

        Returns:
            uint8 of the shape, 255 where it is; and why it is the whole box, None where the mask is trusted.
        """
        x0, y0, x1, y1 = face.window
        table = np.zeros(256, np.uint8)
        table[sorted(self._chosen())] = _COVERED
        mask = np.zeros(shape, np.uint8)
        mask[y0:y1, x0:x1] = cv2.LUT(face.labels, table)
        why = self._doubt(face, mask)
        if why is None and self.kept is None:
            self._add_unsure(mask, face)
        if why is not None:
            left, top, right, bottom = _within(face.box, shape)
            mask[top:bottom, left:right] = _COVERED
            if self._cut(face):
                mask[y0:y1, x0:x1] = _COVERED
        return _grown(mask, self._margin(face.box)), why

    def _chosen(self) -> set[int]:
        background = self.taxonomy.background
        if self.kept is not None:
            return set(self.kept) - {background}
        names = self.taxonomy.groups.get(_FACE)
        return {c.id for c in self.taxonomy.classes if c.id != background and (names is None or c.name in names)}

    def _cut(self, face: ParsedFace) -> list[str]:
        chosen = self._chosen()
        return [c.name for c in self.taxonomy.classes if c.id in chosen and c.name in face.facts.cut_by_crop]

    def _doubt(self, face: ParsedFace, mask: NDArray[np.uint8]) -> str | None:
        """Why the mask of a face, uint8 (H, W), cannot be trusted; None if it can."""
        chosen = self._chosen()
        parts = [part for part in face.facts.parts if part.id in chosen]
        if cut := self._cut(face):
            return f"{cut[0]} goes on beyond what the network saw"
        if not parts:
            return "none of what is to be covered was found"
        found = {part.id for part in parts}
        for part in parts:
            other = self.taxonomy.classes[part.id].partner
            if self.kept is not None and other in chosen and other not in found:
                return f"{self.taxonomy.classes[other].name} was not found"
        if (confidence := self._confidence(parts)) < self.rules.redact_min_confidence:
            return f"the mask is uncertain ({confidence:.2f})"
        if self.kept is None and (share := _share(mask, face.box)) < self.rules.redact_min_share:
            return f"the mask fills {share:.2f} of the face's box alone"
        return None

    def _add_unsure(self, mask: NDArray[np.uint8], face: ParsedFace) -> None:
        """Adds what lies in the face's box and may be of it: enclosed gaps, and pixels that the network doubts."""
        x0, y0, x1, y1 = face.window
        least = math.ceil(self.rules.redact_min_confidence * _COVERED)
        doubted = np.zeros_like(mask)
        doubted[y0:y1, x0:x1] = (face.confidence < least) | (face.labels == self.taxonomy.ignore)
        left, top, right, bottom = _within(face.box, mask.shape)
        mask[top:bottom, left:right][doubted[top:bottom, left:right] > 0] = _COVERED
        outer, _ = cv2.findContours(mask[y0:y1, x0:x1], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(mask, outer, -1, _COVERED, cv2.FILLED, offset=(x0, y0))

    def _confidence(self, parts: Sequence[Part]) -> float:
        """Of the face, 0 to 1; where parts of it were named, of the one that is least sure."""
        if self.kept is not None:
            return min(part.confidence for part in parts)
        return sum(part.confidence * part.area for part in parts) / sum(part.area for part in parts)

    def _margin(self, box: Box) -> int:
        """In pixels."""
        return math.ceil(self.rules.redact_margin * _side(box))

    def _draw(
        self,
        pixels: NDArray[np.uint8],
        shown: NDArray[np.uint8],
        covered: NDArray[np.uint8],
        here: Window,
        mask: NDArray[np.uint8],
        side: float,
    ) -> None:
        """Covers the photo where ``mask``, uint8 of the part ``here``, is set.

        Args:
            side: of the face, in pixels: what ``redact_cells`` cells share.
        """
        x, y, width, height = cv2.boundingRect(mask)
        if not width:
            return
        mask = mask[y : y + height, x : x + width]
        part = np.s_[here[1] + y : here[1] + y + height, here[0] + x : here[0] + x + width]
        # A box may reach far beyond the picture; a cell as large as what is covered is one colour.
        cell = min(max(2, math.ceil(side / self.rules.redact_cells)), max(width, height, 2))
        cover = np.zeros_like(pixels[part]) if self.style == "fill" else _cells(pixels[part], cell, self.style)
        shown[part] = cv2.copyTo(cover, mask, shown[part].copy())
        covered[part] |= mask


def _moved(face: ParsedFace, here: Window) -> ParsedFace:
    """The face in the pixels of a piece of the picture."""
    x, y = here[:2]
    (left, top, right, bottom), (x0, y0, x1, y1) = face.box, face.window
    return replace(face, box=(left - x, top - y, right - x, bottom - y), window=(x0 - x, y0 - y, x1 - x, y1 - y))


def _cells(pixels: NDArray[np.uint8], cell: int, style: Style) -> NDArray[np.uint8]:
    """A part of the photo as nothing but the mean colours of cells of ``cell`` x ``cell`` pixels."""
    height, width = pixels.shape[:2]
    down, right = -height % cell, -width % cell
    whole = cv2.copyMakeBorder(pixels, 0, down, 0, right, cv2.BORDER_REPLICATE)
    rows, columns = whole.shape[0] // cell, whole.shape[1] // cell
    means = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    how = cv2.INTER_NEAREST if style == "pixelate" else cv2.INTER_LINEAR
    spread = cv2.resize(means, (whole.shape[1], whole.shape[0]), interpolation=how)
    return np.ascontiguousarray(spread[:height, :width], np.uint8)


def _grown(mask: NDArray[np.uint8], margin: int) -> NDArray[np.uint8]:
    """A mask and all that lies within ``margin`` pixels of it."""
    x, y, width, height = cv2.boundingRect(mask)
    if not width or not margin:
        return mask
    here = np.s_[max(y - margin, 0) : y + height + margin, max(x - margin, 0) : x + width + margin]
    apart = cv2.distanceTransform(cv2.bitwise_not(mask[here]), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    grown = mask.copy()
    grown[here][apart <= margin] = _COVERED
    return grown


def _side(box: Box) -> float:
    """Of the square as large as a box, in pixels."""
    return math.sqrt((box[2] - box[0]) * (box[3] - box[1]))


def _within(box: Box, shape: tuple[int, ...]) -> Window:
    """The whole pixels that a box touches, in a picture of that shape; may be empty."""
    left, top = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
    right, bottom = min(math.ceil(box[2]), shape[1]), min(math.ceil(box[3]), shape[0])
    return left, top, max(right, left), max(bottom, top)


def _share(mask: NDArray[np.uint8], box: Box) -> float:
    left, top, right, bottom = _within(box, mask.shape)
    area = (right - left) * (bottom - top)
    return float(np.count_nonzero(mask[top:bottom, left:right])) / area if area else 0.0
