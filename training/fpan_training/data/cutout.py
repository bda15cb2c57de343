"""A thing cut out of a picture, with alpha, and which way it points."""

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError

Image = NDArray[np.uint8]
Role = Literal["hand", "object", "microphone", "mask", "glasses"]
"""How it is worn or held: that decides where on a face it is put."""

_SIDE = 256
"""Cut-outs are kept in memory at no more than this side, in pixels."""
_CLEAR = 8
"""Alpha, of 255, up to which a pixel's own colour is not used."""
_BLEED = 15
"""Pixels over which colours of the edge are spread outwards, both sides together."""
_OPAQUE = 127
"""A pixel belongs to the thing when its alpha is higher."""
_END = 0.2
"""Share of a thing's length that is taken for one of its ends."""
_HAND_FAMILY = "hands"
_ROLES: tuple[tuple[str, Role | None], ...] = (
    # Worn they are class `hat`, and held before a face they would teach that hats are occlusions: left out.
    (r"\b(hat|cap|crown|helmet)\b", None),
    # Goggles would be glasses, but a strap above them says nothing of where the eyes are.
    (r"goggles", None),
    (r"sunglass|eyeglass|\bglasses\b|^occ glass$", "glasses"),
    (r"\bmask\b", "mask"),
    # Held in a hand; one that stands on a table is an object.
    (r"^microphone", "microphone"),
)
"""Words of a file's title and what they say; None: not an occluder."""


@dataclass(frozen=True, eq=False)
class Cutout:
    """A thing with straight alpha, cropped to what is opaque."""

    rgba: Image
    """RGBA, uint8 (H, W, 4). Transparent pixels beside the edge have its colours, so that sampling mixes in nothing
    else."""
    role: Role = "object"
    source: str = ""
    """Its file beneath the folder of occluders, or what drew it."""

    @cached_property
    def pointing(self) -> NDArray[np.float64]:
        """Unit vector (x, y) in the cut-out's own pixels: a hand's towards its fingers, a microphone's to its head.

        A hand was cut off at the wrist: the longest run of it along the picture's border is where. Anything else points
        along its principal axis to its broader end.
        """
        solid = self.rgba[..., 3] > _OPAQUE
        rows, columns = np.nonzero(solid)
        points = np.column_stack([columns, rows]).astype(float)
        centre = points.mean(0)
        if self.role == "hand":
            return _unit(centre - _cut_edge(solid))
        axis = np.linalg.eigh(np.cov((points - centre).T))[1][:, 1]
        along, across = (points - centre) @ axis, (points - centre) @ np.array([-axis[1], axis[0]])
        low, high = along.min(), along.max()
        ends = (along > high - _END * (high - low), along < low + _END * (high - low))
        widths = [float(np.ptp(across[end])) for end in ends]
        return _unit(axis if widths[0] >= widths[1] else -axis)

    @cached_property
    def length(self) -> float:
        """Extent along :attr:`pointing`, in its own pixels."""
        height, width = self.rgba.shape[:2]
        return float(np.abs(self.pointing) @ np.array([width, height]))


def _cut_edge(solid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The middle (x, y) of the longest run of opaque pixels along the border."""
    height, width = solid.shape
    best, where = 0, np.zeros(2)
    for line, start, step in (
        (solid[0], (0, 0), (1, 0)),
        (solid[-1], (0, height - 1), (1, 0)),
        (solid[:, 0], (0, 0), (0, 1)),
        (solid[:, -1], (width - 1, 0), (0, 1)),
    ):
        change = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
        for first, last in zip(change[::2], change[1::2], strict=True):
            if last - first > best:
                best, where = last - first, np.array(start) + np.array(step) * (first + last - 1) / 2
    return where


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / max(float(np.hypot(*vector)), 1e-9))


def role_of(path: Path, family: str) -> Role | None:
    """What the file's place and name say that it shows; None: not to be used as an occluder.

    Args:
        path: the file. A name that is Unicode code points, as sets of emoji have, means the characters' names.
        family: the folder beneath the occluders' that it is in.
    """
    if family == _HAND_FAMILY:
        return "hand"
    title = _title(path.stem)
    return next((role for words, role in _ROLES if re.search(words, title)), "object")


def _title(stem: str) -> str:
    codes = stem.split("-")
    if all(re.fullmatch(r"[0-9a-f]{4,5}", code) for code in codes):
        return " ".join(unicodedata.name(chr(int(code, 16)), "") for code in codes).lower()
    return stem.replace("_", " ").lower()


def bleed(rgba: Image) -> Image:
    """The same, uint8 (H, W, 4), with colours of the edge in place of what transparent pixels beside it hold."""
    solid = (rgba[..., 3] > _CLEAR).astype(np.float32)[..., None]
    window = (_BLEED, _BLEED)
    total = cv2.blur(rgba[..., :3] * solid, window, borderType=cv2.BORDER_CONSTANT)
    count = cv2.blur(solid, window, borderType=cv2.BORDER_CONSTANT)[..., None]
    spread = total / np.maximum(count, 1 / _BLEED**2)
    rgb = np.where(solid > 0, rgba[..., :3], np.rint(spread.clip(0, 255)))
    return np.dstack([rgb.astype(np.uint8), rgba[..., 3]])


def filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask, bool (H, W), with everything inside its outer edges: of glasses, what is behind the glass."""
    edges, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    out = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(out, edges, -1, 1, -1)
    return out.view(np.bool_)


def read_rgba(path: Path) -> Image:
    """Reads a cut-out as RGBA, cropped to its alpha, colours as :class:`Cutout` has them.

    Raises:
        DataError: it is no image with alpha, or wholly transparent.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        raise DataError(f"{path} is not an image with alpha")
    rows, columns = np.flatnonzero((image[..., 3] > _OPAQUE).any(1)), np.flatnonzero((image[..., 3] > _OPAQUE).any(0))
    if rows.size == 0:
        raise DataError(f"{path} is wholly transparent")
    part = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part = bleed(np.asarray(part, np.uint8))
    shrink = _SIDE / max(part.shape[:2])
    if shrink < 1:
        part = np.asarray(cv2.resize(part, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.cvtColor(part, cv2.COLOR_BGRA2RGBA), np.uint8)
