"""How light the skin in a picture is: the individual typology angle, as far as pixels can tell it."""

import cv2
import numpy as np
from numpy.typing import NDArray

TONES: tuple[tuple[str, float], ...] = (
    ("very light", 55.0),
    ("light", 41.0),
    ("intermediate", 28.0),
    ("tan", 10.0),
    ("brown", -30.0),
    ("dark", -90.0),
)
"""Names and least angles in degrees (Chardon, Cretois and Hourseau 1991; Del Bino and Bernerd 2013)."""
_MIDDLE = 50.0
"""Lightness from which the angle counts."""
_GREY = 3.0
"""Mean chroma up to which a picture counts as grey: its colours say nothing of the skin's."""


def is_grey(image: NDArray[np.uint8]) -> bool:
    """Whether a picture, RGB uint8 (H, W, 3), has no colour to speak of."""
    lab = _lab(image)
    return float(np.hypot(lab[..., 1], lab[..., 2]).mean()) <= _GREY


def typology_angle(image: NDArray[np.uint8], skin: NDArray[np.bool_]) -> float:
    """ITA = atan((L* - 50) / b*) in degrees, of the medians of the skin's L* and b* (CIELAB, D65): the higher, the
    lighter.

    Args:
        image: RGB, uint8 (H, W, 3), taken for sRGB.
        skin: which pixels are skin, bool (H, W).

    Returns:
        NaN without skin, or where a picture is grey.
    """
    if not skin.any() or is_grey(image):
        return float("nan")
    lightness, _, yellow = np.median(_lab(image)[skin], axis=0)
    return float(np.rad2deg(np.arctan2(lightness - _MIDDLE, max(float(yellow), 1e-6))))


def tone_of(angle: float) -> str:
    """The name of an angle in degrees; ``unknown`` for NaN."""
    if np.isnan(angle):
        return "unknown"
    return next(name for name, least in TONES if angle > least or least == TONES[-1][1])


def _lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
