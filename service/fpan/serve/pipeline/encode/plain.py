"""PNGs without a palette: truecolour, with or without alpha, and grey."""

from collections.abc import Collection

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.contract import Taxonomy

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
