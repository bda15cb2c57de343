"""Cuts worn things out of a labelled picture, and keeps those that are whole, large enough and sharp."""

from collections.abc import Iterator

import cv2
import numpy as np
from fpan.contract import Taxonomy
from numpy.typing import NDArray

from fpan_training.data.cutout import bleed, filled
from fpan_training.data.paste.anchors import LEFT, RIGHT, Head, head_of
from fpan_training.data.paste.matte import Mask, contrast_alpha, edge_sharpness, pieces, touches_border
from fpan_training.data.paste.part import CLASS_OF, Cut, Image, Part, Role
from fpan_training.occlusion.frame import Points

_SIDE = 288
"""Parts are kept at no more than this side, in pixels."""
_SPARE = 3
"""Pixels that are kept about a part."""
_SHARP = 9.0
"""Least :func:`~.matte.edge_sharpness`: blurred things are not to be pasted on sharp faces."""
_OPAQUE = 0.42
"""Least mean alpha within the label of earrings: of less, the label is not where the thing is."""
_LEAST_UNIT = 48.0
"""Distance from eyes to chin, in pixels, of the smallest faces that are cut from."""
_EARRING = (0.035, 1.0)
"""Height of earrings, in distances from eyes to chin."""
_LOBE_REACH = 0.3
"""How far below the lobe an earring's top may be, in the same."""
_HAT_WIDTH = (0.95, 2.6)
"""Of hats, in widths of the face."""
_HAT_HEIGHT = 0.45
"""Least height of a hat, in distances from eyes to chin: less is a headband."""
_HAIR_ABOVE = 0.06
"""Largest area of hair above a hat, in areas of the hat: more is seen of a headband's wearer."""
_GLASSES_WIDTH = (0.62, 1.25)
"""Of glasses, in widths of the face."""
_GLASSES_LEVEL = 0.22
"""How far from the eyes' height the middle of glasses may be: farther up they are worn on the head."""
_DARK = (0.45, 0.9)
"""Brightness of the middle one and of the brightest tenth of the pixels of dark lenses, in brightnesses of the skin, at
most."""
_RIM = 0.045
"""Greatest thickness of a frame, in widths of the glasses."""
_RIM_SEEN = 0.85
"""Least share of a frame's outline that stands out from the face."""
_ROUND_EYES = ("l_eye", "r_eye", "l_brow", "r_brow")


def cut_parts(image: Image, labels: Image, taxonomy: Taxonomy, source: str = "") -> list[Part]:
    """The usable things that the person in a picture wears.

    Args:
        image: RGB, uint8 (H, W, 3).
        labels: class ids, uint8 (H, W).
        taxonomy: of the labels.
        source: of the picture.
    """
    worn = [taxonomy.id_of(name) for name in CLASS_OF.values()]
    if not np.isin(worn, labels).any():
        return []
    head = head_of(labels, None, taxonomy)
    if head is None or head.unit < _LEAST_UNIT:
        return []
    cutter = _Cutter(image, head, source)
    return [*cutter.earrings(), *cutter.hats(), *cutter.glasses()]


class _Cutter:
    """One picture."""

    def __init__(self, image: Image, head: Head, source: str) -> None:
        self.image, self.head, self.source = image, head, source
        skin = image[head.skin]
        self.skin = np.asarray(skin.mean(0) if len(skin) else np.full(3, 128), np.float32)
        self.gap = max(2, round(0.03 * head.unit))

    def earrings(self) -> Iterator[Part]:
        head = self.head
        for mask in pieces(head.mask("ear_r"), self.gap):
            at = head.place(_points(mask))
            low, high = at.min(0), at.max(0)
            if any(touches_border(mask)) or not _EARRING[0] <= high[1] - low[1] <= _EARRING[1]:
                continue
            side = LEFT if at[:, 0].mean() < 0 else RIGHT
            lobe, top = head.lobe(side), _points(mask)[at[:, 1] <= low[1] + 0.15 * (high[1] - low[1])].mean(0)
            pin = top
            if lobe is not None:
                if np.hypot(*(lobe - top)) > _LOBE_REACH * head.unit:
                    continue
                pin = lobe
            # Through a hoop one sees what lies about it.
            alpha = contrast_alpha(
                self.image, head.labels, mask, round(0.06 * head.unit + 0.5 * np.ptp(at[:, 0]) * head.unit)
            )
            if float(alpha[mask].mean()) >= _OPAQUE and edge_sharpness(self.image, mask) >= _SHARP:
                pins = np.stack([pin, pin + head.unit * head.frame.down])
                yield self._part("earring", mask, alpha, pins, side=side)

    def hats(self) -> Iterator[Part]:
        head = self.head
        masks = pieces(head.mask("hat"), 1)
        if not masks:
            return
        mask = filled(masks[0])
        cut = touches_border(mask)
        at = head.place(_points(mask))
        low, high = at.min(0), at.max(0)
        wide = (high[0] - low[0]) * head.unit / head.width
        if not _HAT_WIDTH[0] <= wide <= _HAT_WIDTH[1] or high[1] - low[1] < _HAT_HEIGHT:
            return
        hair = head.place(_points(head.mask("hair")))
        if (hair[:, 1] < np.median(at[:, 1])).sum() > _HAIR_ABOVE * mask.sum():
            return
        alpha = mask.astype(np.float32)
        if not cut[1] and edge_sharpness(self.image, mask) >= _SHARP:
            yield self._part("hat", mask, alpha, head.temples(), cut=cut)

    def glasses(self) -> Iterator[Part]:
        head = self.head
        frame = head.mask("eye_g")
        if not frame.any() or any(touches_border(frame)):
            return
        whole = filled(
            frame
            | (
                head.mask(*_ROUND_EYES)
                & filled(
                    cv2.morphologyEx(
                        frame.view(np.uint8), cv2.MORPH_CLOSE, np.ones((2 * self.gap + 1,) * 2, np.uint8)
                    ).view(np.bool_)
                )
            )
        )
        at = head.place(_points(whole))
        wide = np.ptp(at[:, 0]) * head.unit / head.width
        if not _GLASSES_WIDTH[0] <= wide <= _GLASSES_WIDTH[1] or abs(at[:, 1].mean()) > _GLASSES_LEVEL:
            return
        halves = [_points(whole)[at[:, 0] < 0], _points(whole)[at[:, 0] >= 0]]
        if min(len(half) for half in halves) < 0.25 * len(at):
            return
        eyes = [head.mask(name) & whole for name in ("r_eye", "l_eye")]
        clear = all(eye.sum() >= 8 for eye in eyes)
        if clear:
            thick = max(2, round(_RIM * np.ptp(at[:, 0]) * head.unit))
            alpha = contrast_alpha(self.image, head.labels, frame, max(4, round(0.1 * head.unit)))
            alpha = alpha * ~_eroded(whole, thick)
            # Of thin or light frames too little stands out.
            edge = whole & ~_eroded(whole, 1)
            if np.mean(cv2.dilate(alpha, np.ones((thick + 1,) * 2, np.uint8))[edge] > 0.6) < _RIM_SEEN:
                return
            pins = head.frame.eyes
        else:
            grey = cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY)
            core = _eroded(whole, max(1, round(0.05 * head.unit)))
            # Through brighter ones the wearer's eyes are seen.
            if (
                not core.any()
                or (np.quantile(grey[core], (0.5, 0.9)) > np.array(_DARK) * float(self.skin.mean())).any()
            ):
                return
            alpha = whole.astype(np.float32)
            pins = np.stack([half.mean(0) for half in halves]) - 0.04 * head.unit * head.frame.down
        if edge_sharpness(self.image, whole) >= _SHARP:
            yield self._part("glasses", whole, alpha, pins)

    def _part(
        self, role: Role, mask: Mask, alpha: NDArray[np.float32], pins: Points, side: int = 0, cut: Cut = (False,) * 4
    ) -> Part:
        left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
        # A rim is left about it where it was not cut off, so that its edge is not the cut-out's.
        bottom, right = top + height + _SPARE, left + width + _SPARE
        left, top = max(0, left - _SPARE), max(0, top - _SPARE)
        part = (slice(top, bottom), slice(left, right))
        rgba = bleed(np.dstack([self.image[part], np.rint(alpha[part] * 255).astype(np.uint8)]))
        label = mask[part].view(np.uint8) * np.uint8(255)
        at = pins - [left, top]
        shrink = _SIDE / max(label.shape)
        if shrink < 1:
            rgba = np.asarray(cv2.resize(rgba, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
            label = np.asarray(cv2.resize(label, rgba.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
            at = (at + 0.5) * shrink - 0.5
        return Part(role, rgba, label, at.astype(np.float32), self.head.yaw, self.skin, side, cut, self.source)


def _points(mask: Mask) -> Points:
    rows, columns = np.nonzero(mask)
    return np.column_stack([columns, rows]).astype(np.float64)


def _eroded(mask: Mask, pixels: int) -> Mask:
    size = 2 * pixels + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.erode(mask.view(np.uint8), kernel, borderValue=0), np.uint8).view(np.bool_)
