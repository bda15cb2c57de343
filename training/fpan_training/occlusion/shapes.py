"""Occluders drawn in code, so that nothing needs to be downloaded: a hand, a microphone, glasses, and blobs."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.cutout import Cutout, Role
from fpan_training.occlusion.textures import noise, texture

Image = NDArray[np.uint8]
Colour = NDArray[np.float64]
_SIDE = 192
"""Of the canvas that shapes are drawn on, in pixels."""
_FINGERS = ((-0.30, 0.62, -14), (-0.10, 0.72, -4), (0.10, 0.70, 4), (0.28, 0.56, 13))
"""Root (x in palm widths from its middle), length (in palm heights), and spread in degrees, of a right palm's."""
_DARK_SKIN, _LIGHT_SKIN = (58.0, 36.0, 26.0), (242.0, 206.0, 182.0)
BLOB_POINTS = (3, 15)
"""Points of a blob's closed Bezier curve (Voo et al., CVPRW 2022, RandOcc)."""
_CURVE_STEPS = 16
"""Straight pieces that the curve between two of them is drawn with."""


def hand(rng: np.random.Generator) -> Cutout:
    """The silhouette of a hand, cut off at the wrist, fingers up, shaded to look round."""
    alpha = np.zeros((_SIDE, _SIDE), np.uint8)
    middle, palm_top, palm = _SIDE / 2, _SIDE * 0.5, _SIDE * 0.34
    thick = palm * rng.uniform(0.19, 0.23)
    spread = rng.uniform(0.6, 1.8)
    creases = np.zeros_like(alpha)
    for root, length, lean in _FINGERS:
        start = np.array([middle + root * palm, palm_top + 0.2 * palm])
        angle = np.deg2rad(lean * spread + rng.normal(0, 2))
        reach = palm * length * rng.uniform(0.9, 1.1) + 0.35 * palm
        finger = np.zeros_like(alpha)
        _stroke(finger, start, start + reach * np.array([np.sin(angle), -np.cos(angle)]), thick)
        creases = np.maximum(creases, cv2.bitwise_and(finger, alpha))
        alpha = np.maximum(alpha, finger)
    thumb = np.array([middle + 0.3 * palm, palm_top + 0.7 * palm])
    lean = np.deg2rad(rng.uniform(25, 60))
    _stroke(alpha, thumb, thumb + 0.75 * palm * np.array([np.sin(lean), -np.cos(lean)]), thick * 1.15)
    half, bottom = 0.46 * palm, palm_top + 1.05 * palm
    corners = np.array([[middle - half, palm_top], [middle + half, palm_top], [middle + 0.4 * palm, bottom]])
    wrist = 0.3 * palm
    outline = [*corners, [middle + wrist, _SIDE], [middle - wrist, _SIDE], [middle - 0.4 * palm, bottom]]
    cv2.fillPoly(alpha, [np.rint(outline).astype(np.int32)], 255, cv2.LINE_AA)
    alpha = cv2.medianBlur(alpha, 5)
    tone = rng.uniform(0, 1)
    skin = np.array(_DARK_SKIN) * (1 - tone) + np.array(_LIGHT_SKIN) * tone + rng.normal(0, 6, 3)
    return _shaded(alpha, np.broadcast_to(skin, (*alpha.shape, 3)), rng, creases, "hand", thick)


def microphone(rng: np.random.Generator) -> Cutout:
    """A hand-held microphone, its head up."""
    alpha = np.zeros((_SIDE, _SIDE), np.uint8)
    middle, radius = _SIDE / 2, _SIDE * rng.uniform(0.16, 0.22)
    head = np.array([middle, radius + 1])
    grip = radius * rng.uniform(0.4, 0.65)
    handle = [[middle - grip, head[1]], [middle + grip, head[1]]]
    handle += [[middle + 0.65 * grip, _SIDE - 2], [middle - 0.65 * grip, _SIDE - 2]]
    cv2.fillPoly(alpha, [np.rint(handle).astype(np.int32)], 255, cv2.LINE_AA)
    colour = np.full((_SIDE, _SIDE, 3), rng.uniform(15, 90), float)
    ball = np.zeros_like(alpha)
    axes = (round(radius), round(radius * rng.uniform(1, 1.25)))
    cv2.ellipse(ball, (round(middle), axes[1] + 1), axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    mesh = 0.75 + 0.25 * ((rows // 3 + columns // 3) % 2)[..., None]
    foam = rng.uniform(10, 230, 3) if rng.random() < 0.4 else np.full(3, rng.uniform(60, 190))
    colour = np.where(ball[..., None] > 127, foam * mesh, colour)
    return _shaded(np.maximum(alpha, ball), colour, rng, None, "microphone", radius)


def glasses(rng: np.random.Generator, dark: bool, opacity: float | None = None) -> Cutout:
    """Glasses seen from the front: a frame with clear lenses, or, ``dark``, with ones that nothing is seen through.

    Args:
        rng: all chance comes from it.
        dark: lenses of dark glass.
        opacity: of the lenses, 0 to 1; None: dark ones are opaque, clear ones all but invisible.
    """
    height, width = _SIDE * 2 // 5, _SIDE
    rim, lenses = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    half = np.array([rng.uniform(0.19, 0.22) * width, rng.uniform(0.3, 0.44) * height])
    thick = round(float(rng.uniform(0.02, 0.045)) * width)
    power = rng.choice([2.0, 2.6, 4.0])
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    cos, sin = np.cos(turn), np.sin(turn)
    curve = np.column_stack([np.sign(cos) * np.abs(cos) ** (2 / power), np.sign(sin) * np.abs(sin) ** (2 / power)])
    centres = [np.array([width / 2 + side * (half[0] + 0.055 * width), height / 2]) for side in (-1, 1)]
    for side, centre in zip((-1, 1), centres, strict=True):
        shape = [np.rint(centre + curve * half).astype(np.int32)]
        cv2.fillPoly(lenses, shape, 255, cv2.LINE_AA)
        cv2.polylines(rim, shape, True, 255, thick, cv2.LINE_AA)
        hinge = centre + np.array([side * half[0], -0.3 * half[1]])
        end = (0 if side < 0 else width - 1, round(float(hinge[1])))
        cv2.line(rim, tuple(np.rint(hinge).astype(int).tolist()), end, 255, thick, cv2.LINE_AA)
    bridge = [(round(float(c[0] - s * half[0])), round(0.42 * height)) for s, c in zip((-1, 1), centres, strict=True)]
    cv2.line(rim, bridge[0], bridge[1], 255, thick, cv2.LINE_AA)
    frame = rng.uniform(0, 60, 3) if rng.random() < 0.6 else rng.uniform(60, 220, 3)
    fade = np.linspace(0, rng.uniform(0, 70), height)[:, None, None]
    tint = rng.uniform(0, 50, 3) + fade if dark else np.full((height, 1, 1), 235.0)
    colour = np.where(rim[..., None] > 127, frame, np.broadcast_to(tint, (height, width, 3)))
    if opacity is None:
        opacity = 1.0 if dark else float(rng.uniform(0.04, 0.14))
    alpha = np.maximum(rim, (lenses * opacity).astype(np.uint8))
    rgba = np.dstack([colour.clip(0, 255), alpha]).astype(np.uint8)
    return Cutout(rgba, "glasses", f"drawn/{'sunglasses' if dark else 'eyeglasses'}")


def blob(rng: np.random.Generator, given: Sequence[Image] = ()) -> Cutout:
    """A closed Bezier curve through 3 to 15 points, filled with a texture (RandOcc)."""
    count = int(rng.integers(BLOB_POINTS[0], BLOB_POINTS[1] + 1))
    angle = np.sort((np.arange(count) + rng.uniform(-0.4, 0.4, count)) * 2 * np.pi / count)
    radius = rng.uniform(0.35, 1, count)
    points = np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None]
    curve = bezier(points, rng.uniform(0.1, 0.3))
    low, high = curve.min(0), curve.max(0)
    curve = (curve - low) / (high - low).max() * (_SIDE - 1)
    width, height = (np.ceil(curve.max(0)).astype(int) + 1).tolist()
    alpha = np.zeros((height, width), np.uint8)
    cv2.fillPoly(alpha, [np.rint(curve).astype(np.int32)], 255, cv2.LINE_AA)
    return Cutout(np.dstack([texture(rng, _SIDE, given)[:height, :width], alpha]), "object", "drawn/blob")


def bezier(points: NDArray[np.float64], tension: float) -> NDArray[np.float64]:
    """A closed, smooth curve through the points (N, 2), as a polygon: a cubic Bezier piece from each to the next.

    Args:
        points: in order.
        tension: length of the handles, in distances between a point's two neighbours.
    """
    handle = (np.roll(points, -1, 0) - np.roll(points, 1, 0)) * tension
    start, end = points, np.roll(points, -1, 0)
    inner = (start + handle, end - np.roll(handle, -1, 0))
    t = np.linspace(0, 1, _CURVE_STEPS, endpoint=False)[None, :, None]
    pieces = (
        (1 - t) ** 3 * start[:, None]
        + 3 * (1 - t) ** 2 * t * inner[0][:, None]
        + 3 * (1 - t) * t**2 * inner[1][:, None]
        + t**3 * end[:, None]
    )
    return np.asarray(pieces.reshape(-1, 2))


def _stroke(canvas: Image, start: Colour, end: Colour, thick: float) -> None:
    points = [tuple(np.rint(point).astype(int).tolist()) for point in (start, end)]
    cv2.line(canvas, points[0], points[1], 255, max(1, round(thick)), cv2.LINE_AA)


def _shaded(
    alpha: Image, colour: Colour, rng: np.random.Generator, creases: Image | None, role: Role, thickness: float
) -> Cutout:
    """Colours a silhouette: darker to its edges and to one side, with a little noise, and cropped to it."""
    depth = np.minimum(cv2.distanceTransform((alpha > 127).astype(np.uint8), cv2.DIST_L2, 3) / (thickness / 2), 1)
    light = 0.72 + 0.28 * np.sqrt(depth) + rng.uniform(-0.15, 0.15) * np.linspace(-1, 1, alpha.shape[1])
    if creases is not None:
        light = light - 0.25 * cv2.GaussianBlur(creases, (7, 7), 0) / 255
    light = light + 0.12 * (noise(rng, alpha.shape[0]) - 0.5)
    rgb = np.clip(colour * light[..., None], 0, 255)
    columns, rows = np.flatnonzero((alpha > 127).any(0)), np.flatnonzero((alpha > 127).any(1))
    part = np.dstack([rgb, alpha])[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    rgba = np.ascontiguousarray(part).astype(np.uint8)
    return Cutout(rgba, role, f"drawn/{role}")
