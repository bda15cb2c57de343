"""A thing laid over a part of a picture: cut-outs moved there, softened, lit, and pasted with a shadow."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Alpha = NDArray[np.float32]
_MARGIN = 4
"""Pixels kept free about a layer, so that its softened edge ends inside it."""
_KERNEL = np.ones((3, 3), np.uint8)
_BAND = (0.02, 0.98)
"""Alpha of the thin band along the edge that is blurred once more after pasting."""
_SMALLER = 0.7
"""A cut-out that is drawn smaller than this is shrunk by area first: bilinear sampling alone would skip pixels."""
_SOFT_STEP = 4
"""A shadow is blurred on a grid this much coarser."""


@dataclass(frozen=True)
class Layer:
    """What is drawn over the picture's part that begins at (x, y)."""

    colour: NDArray[np.float32]
    """RGB of 0 to 255, float32 (h, w, 3); any where alpha is 0."""
    alpha: Alpha
    """float32 (h, w), 0 to 1."""
    x: int
    y: int

    @property
    def part(self) -> tuple[slice, slice]:
        """Rows and columns of the picture."""
        height, width = self.alpha.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


def move(rgba: Image, matrix: NDArray[np.float64], shape: tuple[int, int]) -> Layer | None:
    """Draws a cut-out where ``matrix`` (2, 3), from its pixels to the picture's, puts it; None where that is outside.

    Args:
        rgba: straight alpha, uint8 (h, w, 4), colours as :class:`~fpan_training.data.cutout.Cutout` has them.
        matrix: as of ``cv2.warpAffine``.
        shape: of the picture, (height, width).
    """
    zoom = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    sides = np.array(rgba.shape[1::-1])
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (sides - 1) @ matrix[:, :2].T + matrix[:, 2]
    low = np.maximum(np.floor(corners.min(0)).astype(int) - _MARGIN, 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int) + _MARGIN + 1, np.array(shape[::-1]))
    width, height = (high - low).tolist()
    if min(width, height) < 1:
        return None
    if zoom < _SMALLER:
        smaller = np.maximum(1, np.rint(sides * zoom)).astype(int)
        rgba = np.asarray(cv2.resize(rgba, smaller.tolist(), interpolation=cv2.INTER_AREA), np.uint8)
        factor = sides / smaller
        # Pixel p of the small one has its centre at (p + 0.5) * factor - 0.5 of the large one.
        shift = matrix[:, 2] + matrix[:, :2] @ (0.5 * factor - 0.5)
        matrix = np.column_stack([matrix[:, :2] * factor, shift])
    matrix = matrix - np.array([[0, 0, low[0]], [0, 0, low[1]]])
    # Straight colours may be sampled, as they reach beyond the edge; alpha ends with the cut-out.
    colour = cv2.warpAffine(rgba[..., :3], matrix, (width, height), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    alpha = cv2.warpAffine(rgba[..., 3], matrix, (width, height)).astype(np.float32) / 255
    return Layer(colour, alpha, int(low[0]), int(low[1]))


def soften(layer: Layer, thin: bool = False) -> Layer:
    """Alpha eroded 3x3 and blurred 5x5 (Voo et al., CVPRW 2022, NatOcc).

    With ``thin`` it is blurred 3x3 only: an erosion would leave nothing of the rims of glasses.
    """
    if thin:
        alpha = cv2.GaussianBlur(layer.alpha, (3, 3), 0)
    else:
        alpha = cv2.GaussianBlur(cv2.erode(layer.alpha, _KERNEL), (5, 5), 0)
    return Layer(layer.colour, np.asarray(alpha, np.float32), layer.x, layer.y)


def paste(image: Image, layer: Layer, opacity: float = 1.0) -> Image:
    """The picture with the layer on it; a thin band along the layer's edge is blurred so that no seam is left.

    Args:
        image: RGB, uint8 (H, W, 3).
        layer: what is pasted.
        opacity: factor on its alpha.
    """
    under = image[layer.part]
    alpha = (layer.alpha * np.float32(opacity))[..., None]
    # Where alpha is 0 this gives the picture back to the byte.
    mixed = np.asarray(under + (layer.colour - under) * alpha + np.float32(0.5), np.uint8)
    band = cv2.dilate(cv2.inRange(layer.alpha, *_BAND), _KERNEL)
    blurred = np.asarray(cv2.GaussianBlur(mixed, (3, 3), 0), np.uint8)
    cv2.copyTo(blurred, band, mixed)
    out = image.copy()
    out[layer.part] = mixed
    return out


def cast_shadow(
    image: Image, layer: Layer, onto: Image | None, shift: NDArray[np.float64], softness: float, strength: float
) -> Image:
    """The picture darkened beneath and beside the layer.

    Args:
        image: RGB, uint8 (H, W, 3), before the layer is pasted.
        layer: what casts the shadow.
        onto: uint8 (H, W), 1 where a shadow can fall; None: everywhere.
        shift: how far the shadow lies from what casts it, (x, y) in pixels.
        softness: standard deviation of its edge in pixels.
        strength: 0 to 1, the light that is lost in its middle.
    """
    reach = int(np.ceil(np.abs(shift).max() + 3 * softness))
    height, width = image.shape[:2]
    top, left = max(0, layer.y - reach), max(0, layer.x - reach)
    bottom = min(height, layer.y + layer.alpha.shape[0] + reach)
    right = min(width, layer.x + layer.alpha.shape[1] + reach)
    coarse = (max(1, (right - left) // _SOFT_STEP), max(1, (bottom - top) // _SOFT_STEP))
    scale = np.array(coarse) / [right - left, bottom - top]
    start = (np.array([layer.x - left, layer.y - top]) + shift) * scale
    matrix = np.array([[scale[0], 0, start[0]], [0, scale[1], start[1]]])
    shade = cv2.warpAffine(layer.alpha, matrix, coarse)
    shade = cv2.GaussianBlur(shade, (0, 0), max(0.5, softness / _SOFT_STEP))
    shade = cv2.resize(shade, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    part = (slice(top, bottom), slice(left, right))
    if onto is not None:
        shade = shade * onto[part]
    out = image.copy()
    out[part] = np.asarray(image[part] * (1 - strength * shade[..., None]) + 0.5, np.uint8)
    return out
