"""Puts worn things on a labelled face: earrings, hats and glasses of a bank, glasses and necklaces that are drawn."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from fpan.contract import Taxonomy, similarity
from numpy.typing import NDArray

from fpan_training.data.cutout import filled
from fpan_training.data.paste.anchors import LEFT, RIGHT, Head, head_of
from fpan_training.data.paste.hair import cover_hair
from fpan_training.data.paste.necklaces import draw_necklace
from fpan_training.data.paste.part import CLASS_OF, Image, Part, PartBank, Role
from fpan_training.occlusion import place, shapes
from fpan_training.occlusion.frame import Points
from fpan_training.occlusion.layer import Layer, cast_shadow, move, paste, soften
from fpan_training.taxonomy import TAXONOMY

_SEEN_THROUGH = ("l_eye", "r_eye", "l_brow", "r_brow")
"""Parts that keep their label behind clear glass, as in CelebAMask-HQ."""
_HALF, _FULL, _HUES = 0.5, 255, 180
_OPAQUE = 0.75
"""Alpha from which on a frame hides eyes and brows: less is glass."""
_DARKEST = 12
"""Levels that are added to colours before one is divided by the other."""
_AS_BRIGHT, _AS_TINTED = 0.7, 0.5
"""How far, as powers, a part follows the brightness and the tint of the new face's skin: people's skins differ, too."""
_SOBER, _COLOURED = 0.7, 0.2
"""Brightness and colour of drawn glasses, in those that they are drawn with."""
_GAIN = (0.55, 1.7)
"""Of a part's colours, to suit another light."""
_MOST_EYE = 0.25
"""Largest share of the eyes that a hat may cover."""
_EDGE_STEPS = 9
"""Places along a cut-off side at which it is looked whether it is out of sight."""
_DROP: dict[str, float] = {"earring": 0.02, "glasses": 0.02, "hat": 0.05, "necklace": 0.015}
"""How far below a thing its shadow falls, in distances from eyes to chin."""


@dataclass(frozen=True)
class PasteConfig:
    """What is put on faces, and how often. Probabilities are of pictures in which there is a place for it."""

    earring: float = 0.15
    necklace: float = 0.35
    hat: float = 0.05
    glasses: float = 0.06
    necklace_on_neck: bool = True
    """Label a necklace where it lies on the neck as well, as it is seen. In CelebAMask-HQ's maps the neck lies over it
    there; but by that rule six of seven that are drawn would get no label at all, and teach that there are none."""
    p_pair: float = 0.85
    """Both ears rather than one, where both are seen."""
    p_drawn_glasses: float = 0.15
    """Glasses that are drawn rather than taken from the bank."""
    p_dark: float = 0.35
    """Drawn glasses with dark glass."""
    p_tinted: float = 0.2
    """Glasses through whose glass eyes are seen, but darkly."""
    tint_opacity: tuple[float, float] = (0.15, 0.65)
    """Of such glass."""
    yaw: float = 0.05
    """Largest difference of :attr:`~.anchors.Head.yaw` between a hat's or glasses' old head and its new one."""
    scale: float = 0.05
    """Standard deviation of the logarithm of a part's own size."""
    turn_deg: float = 3.0
    """Standard deviation of its own turn."""
    brightness: float = 0.12
    """Standard deviation of the logarithm of its brightness, beside what the new face's light asks."""
    tint: float = 0.06
    """The same of each channel's."""
    p_hue: float = 0.2
    """Earrings and hats of any other hue."""
    p_shadow: float = 0.8
    shadow: tuple[float, float] = (0.15, 0.45)
    """Light lost in its middle."""
    tries: int = 4
    """Hats that are tried: some leave too much hair, or show where they were cut off."""


@dataclass(frozen=True)
class _Piece:
    """A thing in its place on a picture."""

    role: Role
    layer: Layer
    label: NDArray[np.float32]
    """What is to be labelled, 0 to 1, float32 like the layer's alpha."""
    keep: tuple[str, ...] = ()
    """Classes that keep their label behind it, unless its frame hides them."""


@dataclass(frozen=True)
class PartPaster:
    """Pastes parts on one picture after the other; the same generator state gives the same bytes."""

    bank: PartBank
    config: PasteConfig = field(default_factory=PasteConfig)
    taxonomy: Taxonomy = TAXONOMY

    def __call__(
        self, image: Image, labels: Image, points264: NDArray[np.float32] | None, rng: np.random.Generator
    ) -> tuple[Image, Image]:
        """The picture and its labels with what was put on the face; neither input is changed.

        Args:
            image: RGB, uint8 (H, W, 3).
            labels: its class ids, uint8 (H, W). Merged groups of a partial label space are left alone.
            points264: its landmarks, float32 (264, 2); None: parts are found by the labels.
            rng: all chance comes from it.
        """
        c = self.config
        wanted = rng.random(4) < (c.hat, c.glasses, c.earring, c.necklace)
        if not wanted.any():
            return image, labels
        head = head_of(labels, points264, self.taxonomy)
        if head is None:
            return image, labels
        hat, glasses, earring, necklace = wanted.tolist()
        if necklace and not self._has(labels, "neck_l"):
            image, labels = self._necklace(image, labels, head, rng)
        if earring and not self._has(labels, "ear_r"):
            image, labels = self._earrings(image, labels, head, rng)
        if glasses and not self._has(labels, "eye_g"):
            image, labels = self._glasses(image, labels, head, rng)
        if hat and not self._has(labels, "hat"):
            image, labels = self._hat(image, labels, head, rng)
        return image, labels

    def _has(self, labels: Image, name: str) -> bool:
        return bool((labels == self.taxonomy.id_of(name)).any())

    def _necklace(self, image: Image, labels: Image, head: Head, rng: np.random.Generator) -> tuple[Image, Image]:
        drawn = draw_necklace(image, head, rng)
        if drawn is None:
            return image, labels
        image = self._shadow(image, drawn.layer, head.mask("neck", "cloth").view(np.uint8), "necklace", head, rng)
        out = labels.copy()
        shown = out[drawn.layer.part]
        on_neck = shown == self.taxonomy.id_of("neck")
        shown[drawn.label if self.config.necklace_on_neck else drawn.label & ~on_neck] = self.taxonomy.id_of("neck_l")
        return paste(image, drawn.layer), out

    def _earrings(self, image: Image, labels: Image, head: Head, rng: np.random.Generator) -> tuple[Image, Image]:
        c = self.config
        lobes = {side: lobe for side in (LEFT, RIGHT) if (lobe := head.lobe(side)) is not None}
        parts = self.bank.by_role["earring"]
        if not lobes or not parts:
            return image, labels
        part = parts[int(rng.integers(len(parts)))]
        if len(lobes) == 2 and rng.random() >= c.p_pair:
            del lobes[LEFT if rng.random() < _HALF else RIGHT]
        lit = self._lit(part, image, head, rng)
        zoom = float(np.exp(rng.normal(0, 2 * c.scale)))
        for side, lobe in lobes.items():
            hangs = place.turn(rng.normal(0, c.turn_deg)) @ head.frame.down
            target = np.stack([lobe, lobe + zoom * head.unit * hangs])
            image, labels = self._lay(image, labels, head, _moved(lit.towards(side), target, labels.shape), rng)
        return image, labels

    def _glasses(self, image: Image, labels: Image, head: Head, rng: np.random.Generator) -> tuple[Image, Image]:
        c = self.config
        drawn = rng.random() < c.p_drawn_glasses
        part = None if drawn else self.bank.nearest("glasses", head.yaw, c.yaw, rng)
        dark, tinted = rng.random() < c.p_dark, rng.random() < c.p_tinted
        opacity = float(rng.uniform(*c.tint_opacity)) if tinted else None
        if part is not None:
            lit = self._lit(part, image, head, rng)
            if opacity is not None:
                lit = replace(lit, rgba=_tinted(lit.rgba, lit.label, opacity, rng))
            target = self._jittered(head.frame.eyes, head, rng)
            return self._lay(image, labels, head, _moved(lit, target, labels.shape, _SEEN_THROUGH), rng)
        cutout = shapes.glasses(rng, dark or tinted, None if dark else opacity)
        matrix = place.on_eyes(cutout, head.frame, rng).matrix
        whole = filled(cutout.rgba[..., 3] > _HALF * _FULL).view(np.uint8) * np.uint8(_FULL)
        keep = () if dark else _SEEN_THROUGH
        piece = _piece("glasses", _sober(cutout.rgba), whole, matrix, labels.shape, keep)
        return self._lay(image, labels, head, piece, rng)

    def _hat(self, image: Image, labels: Image, head: Head, rng: np.random.Generator) -> tuple[Image, Image]:
        eyes = head.mask("l_eye", "r_eye", "eye_g")
        for _ in range(self.config.tries):
            part = self.bank.nearest("hat", head.yaw, self.config.yaw, rng)
            if part is None:
                break
            target = self._jittered(head.temples(), head, rng)
            if not self._cut_is_hidden(part, target, labels):
                continue
            piece = _moved(part, target, labels.shape)
            if piece is None:
                continue
            worn = np.zeros(labels.shape, np.bool_)
            worn[piece.layer.part] = piece.label > _HALF
            if np.count_nonzero(worn & eyes) > _MOST_EYE * np.count_nonzero(eyes):
                continue
            bare = cover_hair(image, labels, worn, head)
            if bare is not None:
                lit = self._lit(part, image, head, rng)
                return self._lay(*bare, head, _moved(lit, target, labels.shape), rng)
        return image, labels

    def _cut_is_hidden(self, part: Part, target: Points, labels: Image) -> bool:
        """Whether the sides at which a part was cut off lie outside of what is seen, its pins being on ``target``."""
        matrix = _onto(part, target)
        bottom, right = part.label.shape[0] - 1, part.label.shape[1] - 1
        sides = (
            ((0, 0), (right, 0)),
            ((0, bottom), (right, bottom)),
            ((0, 0), (0, bottom)),
            ((right, 0), (right, bottom)),
        )
        for cut, (start, end) in zip(part.cut, sides, strict=True):
            if cut:
                line = np.linspace(start, end, _EDGE_STEPS)
                # Only where the part itself ends there.
                line = line[part.label[tuple(np.rint(line[:, ::-1]).astype(int).T)] > _HALF * _FULL]
                at = np.rint(line @ matrix[:, :2].T + matrix[:, 2]).astype(int)
                inside = ((at > 0) & (at < np.array(labels.shape[::-1]) - 1)).all(1)
                if (labels[at[inside, 1], at[inside, 0]] != self.taxonomy.ignore).any():
                    return False
        return True

    def _jittered(self, points: Points, head: Head, rng: np.random.Generator) -> Points:
        """Two points turned, scaled and shifted a little."""
        c = self.config
        middle = points.mean(0) + 0.01 * head.unit * rng.normal(0, 1, 2)
        linear = float(np.exp(rng.normal(0, c.scale))) * place.turn(rng.normal(0, c.turn_deg / 2))
        return np.asarray((points - points.mean(0)) @ linear.T + middle)

    def _lit(self, part: Part, image: Image, head: Head, rng: np.random.Generator) -> Part:
        """The part as it would look in this picture's light, and in other colours at times."""
        c = self.config
        skin = image[head.skin].mean(0) if head.skin.any() else part.skin
        ratio = ((skin + _DARKEST) / (part.skin + _DARKEST)).clip(*_GAIN)
        brighter = float(ratio.mean())
        gain = brighter**_AS_BRIGHT * (ratio / brighter) ** _AS_TINTED
        gain = gain * np.exp(rng.normal(0, c.brightness) + rng.normal(0, c.tint, 3))
        rgb = np.ascontiguousarray(part.rgba[..., :3])
        # Frames are black, brown or of metal; of any other hue they look painted.
        if rng.random() < c.p_hue and part.role != "glasses":
            hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
            hsv[..., 0] = (hsv[..., 0].astype(int) + int(rng.integers(_HUES))) % _HUES
            rgb = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
        table = np.clip(np.rint(np.arange(256)[:, None] * gain), 0, 255).astype(np.uint8)
        return replace(part, rgba=np.dstack([cv2.LUT(rgb, table[None]), part.rgba[..., 3]]))

    def _lay(
        self, image: Image, labels: Image, head: Head, piece: _Piece | None, rng: np.random.Generator
    ) -> tuple[Image, Image]:
        """Pastes a piece, never over what occludes the face nor where nothing is known."""
        if piece is None:
            return image, labels
        beneath = np.ascontiguousarray(labels[piece.layer.part])
        free = (beneath != self.taxonomy.id_of("occlusion")) & (beneath != self.taxonomy.ignore)
        soft = soften(piece.layer, thin=piece.role != "hat")
        layer = replace(soft, alpha=np.asarray(soft.alpha * free, np.float32))
        onto = (labels != self.taxonomy.background).view(np.uint8)
        image = self._shadow(image, layer, onto, piece.role, head, rng)
        worn = (piece.label > _HALF) & free
        for name in piece.keep:
            worn &= (beneath != self.taxonomy.id_of(name)) | (layer.alpha > _OPAQUE)
        out = labels.copy()
        out[layer.part][worn] = self.taxonomy.id_of(CLASS_OF[piece.role])
        return paste(image, layer), out

    def _shadow(
        self, image: Image, layer: Layer, onto: Image, what: str, head: Head, rng: np.random.Generator
    ) -> Image:
        if rng.random() >= self.config.p_shadow:
            return image
        strength = float(rng.uniform(*self.config.shadow))
        far = _DROP[what] * head.unit
        shift = far * (rng.uniform(0.3, 1.3) * head.frame.down + rng.normal(0, 0.5) * head.frame.right)
        return cast_shadow(image, layer, onto, np.asarray(shift), max(0.8, 0.4 * far), strength)


def _onto(part: Part, target: Points) -> NDArray[np.float64]:
    """The matrix (2, 3) that puts a part's pins on two points of a picture."""
    return similarity(part.pins.astype(np.float64), target)


def _moved(part: Part, target: Points, shape: tuple[int, ...], keep: tuple[str, ...] = ()) -> _Piece | None:
    """A part with its pins on two points of a picture of some shape; None where that is outside of it."""
    return _piece(part.role, part.rgba, part.label, _onto(part, target), shape, keep)


def _piece(
    role: Role,
    rgba: Image,
    label: Image,
    matrix: NDArray[np.float64],
    shape: tuple[int, ...],
    keep: tuple[str, ...],
) -> _Piece | None:
    size = (shape[0], shape[1])
    layer = move(rgba, matrix, size)
    marked = move(np.dstack([rgba[..., :3], label]), matrix, size)
    return None if layer is None or marked is None else _Piece(role, layer, marked.alpha, keep)


def _tinted(rgba: Image, label: Image, opacity: float, rng: np.random.Generator) -> Image:
    """Glasses with glass of some dark colour where there was none, more of it at the top."""
    fade = np.linspace(1, float(rng.uniform(0.4, 1)), label.shape[0], dtype=np.float32)[:, None]
    frame = rgba[..., 3:].astype(np.float32) / _FULL
    glass = (label / np.float32(_FULL) * np.float32(opacity) * fade)[..., None] * (1 - frame)
    alpha = frame + glass
    mixed = (rgba[..., :3] * frame + rng.uniform(5, 70, 3) * glass) / np.maximum(alpha, 1e-3)
    return np.dstack([np.where(alpha > 0, mixed, rgba[..., :3]), alpha * _FULL]).astype(np.uint8)


def _sober(rgba: Image) -> Image:
    """Drawn glasses in the greys and browns of most."""
    grey = rgba[..., :3].mean(-1, keepdims=True)
    rgb = _SOBER * (grey + _COLOURED * (rgba[..., :3] - grey))
    return np.dstack([rgb, rgba[..., 3]]).astype(np.uint8)
