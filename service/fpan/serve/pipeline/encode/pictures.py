"""The label map itself as a PNG whose palette index is the class id."""

import io
import zlib
from collections.abc import Collection

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpan.contract import Taxonomy
from fpan.serve.pipeline.types import ParsedFace, ParseResult, SoftMask

_LEVEL = 1
"""Of zlib. Level 6 takes twice as long and gains nothing on flat areas once run lengths are coded (``Z_RLE``)."""


def indexed_png(labels: NDArray[np.uint8], taxonomy: Taxonomy) -> bytes:
    """An 8 bit palette PNG of the label map, uint8 (H, W): index = class id, 256 colours of the taxonomy inside."""
    height, width = labels.shape
    image = Image.frombytes("P", (width, height), np.ascontiguousarray(labels).tobytes())
    image.putpalette(taxonomy.palette.tobytes(), "RGB")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_LEVEL, compress_type=zlib.Z_RLE, bits=8)
    return file.getvalue()


_HEAD = "head"
"""Group of classes that a cut-out keeps."""
_OPAQUE = 255
_FAST = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB),
)
"""A photo of 12 megapixels in a quarter of the time of Pillow's level 1, and smaller."""


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of grey (H, W), BGR (H, W, 3) or BGRA (H, W, 4) pixels, uint8: OpenCV's own order of channels."""
    _, data = cv2.imencode(".png", pixels, _FAST)
    return bytes(data)


def confidence_png(confidence: NDArray[np.uint8]) -> bytes:
    """A grey PNG of the confidence, uint8 (H, W): 255 = certain."""
    return png(confidence)


def rgb_png(pixels: NDArray[np.uint8]) -> bytes:
    """A truecolour PNG of RGB pixels, uint8 (H, W, 3): pixels alone, no metadata."""
    return png(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), np.uint8))


def cutout_png(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    taxonomy: Taxonomy,
    keep: Collection[int] | None = None,
) -> bytes:
    """An RGBA PNG of the picture in which only some classes are opaque; all else is transparent black.

    Args:
        pixels: RGB, uint8 (H, W, 3).
        labels: uint8 (H, W).
        taxonomy: Of the labels.
        keep: Ids of the classes that stay; without, the group ``head``, or everything but the background
            where the taxonomy has no such group.
    """
    if keep is None:
        keep = _head(taxonomy)
    kept = np.zeros(256, np.uint8)
    kept[list(keep)] = _OPAQUE
    alpha = cv2.LUT(labels, kept)
    cut = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGRA)
    cut[..., 3] = alpha
    # What is cut away must not lie on in the file under a transparent pixel.
    cut = cv2.bitwise_and(cut, cv2.merge([alpha] * 4))
    return png(cut)


def _head(taxonomy: Taxonomy) -> list[int]:
    names = taxonomy.groups.get(_HEAD)
    return [c.id for c in taxonomy.classes if (c.id != taxonomy.background if names is None else c.name in names)]


_TINT = 0.5
"""Share of the part's colour in a tinted pixel."""
_BORDER_OF_SIDE = 1 / 800
"""Width of a border as a share of the picture's shorter side: a pixel on a small picture, several on a large one."""


def overlay_png(
    pixels: NDArray[np.uint8], labels: NDArray[np.uint8], taxonomy: Taxonomy, *, tint: float = _TINT
) -> bytes:
    """A truecolour PNG of the picture: parts tinted half transparently, outlined in their full colour.

    Args:
        pixels: RGB, uint8 (H, W, 3).
        labels: uint8 (H, W); the background and ``ignore`` stay untouched.
        taxonomy: Of the labels.
        tint: Share of the part's colour, 0 to 1.
    """
    shown = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    parts = np.full(256, 255, np.uint8)
    parts[[taxonomy.background, taxonomy.ignore]] = 0
    x, y, width, height = cv2.boundingRect(cv2.LUT(labels, parts))
    if width and height:
        thickness = _thickness(labels)
        # The rim shows the outermost parts that they have a neighbour.
        window = np.s_[max(y - thickness, 0) : y + height + thickness, max(x - thickness, 0) : x + width + thickness]
        shown[window] = _tinted(shown[window], labels[window], parts, taxonomy.palette, tint, thickness)
    return png(shown)


def _tinted(
    bgr: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    parts: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    tint: float,
    thickness: int,
) -> NDArray[np.uint8]:
    colour = cv2.LUT(cv2.merge([labels] * 3), palette[None, :, ::-1])
    inside = cv2.LUT(labels, parts)
    blend = np.asarray(cv2.addWeighted(bgr, 1 - tint, colour, tint, 0), np.uint8)
    # A border lies inside its part: where the label of some neighbour differs.
    around = np.ones((2 * thickness + 1,) * 2, np.uint8)
    differs = cv2.compare(cv2.dilate(labels, around), cv2.erode(labels, around), cv2.CMP_NE)
    shown = cv2.copyTo(blend, inside, bgr.copy())
    return np.asarray(cv2.copyTo(colour, cv2.bitwise_and(differs, inside), shown), np.uint8)


def _thickness(labels: NDArray[np.uint8]) -> int:
    """Of a border in pixels."""
    shorter: int = min(labels.shape)
    return max(1, round(shorter * _BORDER_OF_SIDE))


def alpha_png(mask: SoftMask) -> bytes:
    """A grey PNG of a soft mask, as large as its window: 255 = wholly of the class."""
    return png(mask.values)


def matte_png(result: ParseResult) -> bytes:
    """A grey PNG as large as the picture: how much of each pixel any of the soft masks of any face covers."""
    return png(matte(result))


def face_matte_png(face: ParsedFace) -> bytes:
    """The same of one face alone, as large as its window."""
    return png(face_matte(face))


def matte(result: ParseResult) -> NDArray[np.uint8]:
    """The soft mask of all classes together, uint8 (H, W): the sum of a face's, the largest of several faces'."""
    whole = np.zeros((result.height, result.width), np.uint8)
    for face in result.faces:
        x0, y0, x1, y1 = face.window
        part = whole[y0:y1, x0:x1]
        np.maximum(part, face_matte(face), out=part)
    return whole


def face_matte(face: ParsedFace) -> NDArray[np.uint8]:
    """The soft mask of all classes of a face together, uint8 of its window."""
    x0, y0, x1, y1 = face.window
    total = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for mask in face.alpha:
        left, top, right, bottom = mask.window
        part = total[top - y0 : bottom - y0, left - x0 : right - x0]
        part[:] = cv2.add(part, mask.values)  # which ends at 255
    return total


def class_mask(face: ParsedFace, number: int) -> NDArray[np.uint8]:
    """The soft mask of one class of a face, uint8 of its window; zero where it has none."""
    x0, y0, x1, y1 = face.window
    values = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for mask in face.alpha:
        if mask.id == number:
            left, top, right, bottom = mask.window
            values[top - y0 : bottom - y0, left - x0 : right - x0] = mask.values
    return values
