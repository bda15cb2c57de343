"""Covers a face: NatOcc and RandOcc (Voo, Jiang and Loy, CVPRW 2022), and what people wear, put there by landmarks.

What counts as glasses follows CelebAMask-HQ, whose class is ``eye_g``: sunglasses are ``eye_g`` throughout; of clear
glasses frame and lenses are, but eyes and brows that are seen through a lens keep their own label. Everything else is
``occlusion``. Hats, which have a class too, are no occluders here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, cast

import cv2
import numpy as np
from fpan.contract import Taxonomy
from numpy.typing import NDArray

from fpan_training.data.assets import Assets
from fpan_training.data.cutout import Cutout, Role, filled
from fpan_training.occlusion import place, shapes
from fpan_training.occlusion.frame import FaceFrame, Points, frame_of
from fpan_training.occlusion.layer import Layer, cast_shadow, move, paste, soften
from fpan_training.occlusion.surgical import drawn_mask, surgical_mask

Image = NDArray[np.uint8]
Kind = Literal["hand", "object", "blob", "mask", "microphone", "glasses"]
KINDS: tuple[Kind, ...] = ("hand", "object", "blob", "mask", "microphone", "glasses")
_SEEN_THROUGH = ("l_eye", "r_eye", "l_brow", "r_brow")
"""Parts that keep their label behind a clear lens."""
_TRIES = 4
"""Places that are tried before the share that comes nearest to the wanted one is taken."""
_HALF = 0.5
"""Alpha from which on a pixel counts as covered."""
_NEAR_ENOUGH = 0.15
"""Of the wanted share: nearer than this no other place is tried."""


@dataclass(frozen=True)
class OcclusionConfig:
    """What covers faces, how often, and how much. ``p_`` are probabilities."""

    hand: float = 0.3
    """Weight of the kind among those that there is something for; so are the next five."""
    object: float = 0.2
    blob: float = 0.2
    mask: float = 0.15
    microphone: float = 0.06
    glasses: float = 0.09
    p_drawn: float = 0.15
    """A shape drawn in code, although there are files of the kind; more often where those are few."""
    share: tuple[float, float] = (0.05, 0.6)
    """Range of the share of the face that hands, objects and blobs cover, drawn evenly. The other kinds are as large as
    the face makes them."""
    area: tuple[float, float] = (0.5, 1.0)
    """Of the occluder's box in areas of the face's, before it is brought to the wanted share (NatOcc)."""
    p_affine: float = 0.7
    """NatOcc; so are the next three."""
    stretch: tuple[float, float] = (0.8, 1.2)
    rotation_deg: float = 15.0
    shear_deg: float = 8.0
    p_light: float = 0.5
    """NatOcc: another brightness and contrast."""
    light: float = 0.1
    """How far those are changed, of full scale (NatOcc)."""
    p_jpeg: float = 0.5
    """NatOcc."""
    jpeg_quality: tuple[int, int] = (70, 100)
    """NatOcc: 70 or better."""
    p_translucent: float = 0.3
    """Of blobs (RandOcc)."""
    opacity: tuple[float, float] = (0.4, 0.7)
    """Of those (RandOcc)."""
    p_at_part: float = 0.5
    """Hands that hold a cheek or the chin, rather than being anywhere over the face."""
    p_dark: float = 0.55
    """Glasses that are sunglasses."""
    p_shadow: float = 0.5
    """A shadow beneath."""
    shadow_strength: tuple[float, float] = (0.15, 0.5)
    """Light lost in its middle."""
    shadow_shift: float = 0.05
    """Farthest that it lies from what casts it, in sizes of the face."""
    shadow_softness: tuple[float, float] = (0.01, 0.04)
    """Standard deviation of its edge, in sizes of the face."""


@dataclass(frozen=True)
class Occluded:
    """A picture with something before the face."""

    image: Image
    """RGB, uint8 (H, W, 3)."""
    labels: Image | None
    """What is seen, uint8 (H, W); None without labels."""
    amodal: Image | None
    """What is there, as if nothing covered it: the labels that came in, uint8 (H, W); None without labels."""
    mask: NDArray[np.bool_]
    """What is covered, bool (H, W); under something translucent, too."""
    alpha: NDArray[np.float32]
    """How opaque the occluder is there, float32 (H, W), 0 to 1."""
    kind: str
    """One of :data:`KINDS`, or ``none`` where there was no face to cover."""
    source: str = ""
    """The cut-out's or texture's file beneath the folder of occluders, or ``drawn/...``."""
    share: float = 0.0
    """Of the face that is covered, 0 to 1."""


@dataclass(frozen=True)
class _Draft:
    """A layer before it is pasted."""

    layer: Layer
    source: str
    opacity: float = 1.0
    worn: NDArray[np.bool_] | None = None
    """Of glasses: frame and lenses, bool like the layer's alpha."""


@dataclass(frozen=True)
class OcclusionGenerator:
    """Covers the face of one picture after the other; the same generator state gives the same bytes."""

    config: OcclusionConfig
    assets: Assets
    taxonomy: Taxonomy
    _lens: Image = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        seen_through = np.zeros(256, np.uint8)
        seen_through[[self.taxonomy.id_of(name) for name in _SEEN_THROUGH]] = 1
        object.__setattr__(self, "_lens", seen_through)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds that the files, or shapes drawn in code, have something for."""
        drawn = self.assets.procedural
        has: dict[Kind, bool] = {kind: kind in self.assets.by_role for kind in ("hand", "microphone", "glasses")}
        has = {kind: drawn or there for kind, there in has.items()}
        has |= {"object": "object" in self.assets.by_role, "blob": drawn}
        has["mask"] = drawn or bool(self.assets.mask_textures)
        return tuple(kind for kind in KINDS if has[kind] and getattr(self.config, kind) > 0)

    def __call__(
        self, image: Image, labels: Image | None, points264: NDArray[np.float32] | None, rng: np.random.Generator
    ) -> Occluded:
        """Covers the face.

        Args:
            image: RGB, uint8 (H, W, 3); it is not changed.
            labels: its class ids, uint8 (H, W); None: unknown.
            points264: its landmarks, float32 (264, 2); None: parts are found by the labels.
            rng: all chance comes from it.

        Raises:
            ValueError: neither labels nor landmarks, or no kind has a weight and something to draw it from.
        """
        kinds = self.kinds
        if not kinds:
            raise ValueError("nothing to cover faces with: no kind has both a weight above 0 and files or drawn shapes")
        shape = (image.shape[0], image.shape[1])
        frame = frame_of(labels, points264, shape, self.taxonomy)
        weights = np.array([getattr(self.config, kind) for kind in kinds])
        kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
        draft = None if frame is None else self._draft(kind, frame, shape, rng)
        if frame is None or draft is None:
            return Occluded(image, labels, labels, np.zeros(shape, np.bool_), np.zeros(shape, np.float32), "none")
        layer = soften(draft.layer, thin=draft.worn is not None)
        mask, alpha = np.zeros(shape, np.bool_), np.zeros(shape, np.float32)
        mask[layer.part] = layer.alpha > _HALF
        alpha[layer.part] = layer.alpha * np.float32(draft.opacity)
        if rng.random() < self.config.p_shadow:
            image = self._shadow(image, labels, layer, frame, rng)
        return Occluded(
            paste(image, layer, draft.opacity),
            None if labels is None else self._visible(labels, mask, layer, draft.worn),
            labels,
            mask,
            alpha,
            kind,
            draft.source,
            int(np.count_nonzero(mask & frame.face)) / max(1, int(np.count_nonzero(frame.face))),
        )

    def _draft(self, kind: Kind, frame: FaceFrame, shape: tuple[int, int], rng: np.random.Generator) -> _Draft | None:
        c = self.config
        if kind == "mask":
            texture = self._pick(self.assets.mask_textures, drawn_mask, rng)
            worn = surgical_mask(frame, self._relit(texture.rgba, rng), shape, rng)
            return None if worn is None else _Draft(worn, texture.source)
        if kind == "blob":
            cutout = shapes.blob(rng, self.assets.backgrounds)
        else:
            role = cast(Role, kind)
            cutout = self._pick(self.assets.by_role.get(role, ()), self._drawn(role, rng), rng)
        if kind == "microphone":
            at = place.before_mouth(cutout, frame, rng)
        elif kind == "glasses":
            at = place.on_eyes(cutout, frame, rng)
        else:
            at = self._sized(kind, cutout, frame, rng)
        rgba = cutout.rgba if kind == "blob" else self._relit(cutout.rgba, rng)
        layer = move(rgba, at.matrix, shape)
        translucent = kind == "blob" and rng.random() < c.p_translucent
        opacity = float(rng.uniform(*c.opacity)) if translucent else 1.0
        if layer is None:
            return None
        worn = move(_filled(cutout.rgba), at.matrix, shape) if kind == "glasses" else None
        return _Draft(layer, cutout.source, opacity, None if worn is None else worn.alpha > _HALF)

    def _pick(
        self, files: tuple[Cutout, ...], draw: Callable[[np.random.Generator], Cutout] | None, rng: np.random.Generator
    ) -> Cutout:
        # Of a few files each comes as often as something drawn.
        p_drawn = max(self.config.p_drawn, 1 / (len(files) + 1)) if self.assets.procedural else 0.0
        drawn = rng.random() < p_drawn
        return draw(rng) if drawn and draw is not None else files[int(rng.integers(len(files)))]

    def _drawn(self, role: Role, rng: np.random.Generator) -> Callable[[np.random.Generator], Cutout] | None:
        if role == "object":
            return None
        if role == "glasses":
            dark = rng.random() < self.config.p_dark
            return lambda rng: shapes.glasses(rng, dark)
        return shapes.hand if role == "hand" else shapes.microphone

    def _relit(self, rgba: Image, rng: np.random.Generator) -> Image:
        """NatOcc's brightness, contrast and JPEG, of a cut-out, uint8 (h, w, 4)."""
        c = self.config
        if rng.random() < c.p_light:
            levels = np.arange(256, dtype=np.float64)
            contrast, brightness = rng.uniform(-c.light, c.light, 2)
            lit = (levels - 127.5) * (1 + contrast) + 127.5 + 255 * brightness
            table = np.stack([lit, lit, lit, levels], 1)
            rgba = np.asarray(cv2.LUT(rgba, np.clip(np.rint(table), 0, 255).astype(np.uint8)[None]), np.uint8)
        if rng.random() < c.p_jpeg:
            quality = int(rng.integers(c.jpeg_quality[0], c.jpeg_quality[1] + 1))
            rgb = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
            _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
            alpha = rgba[..., 3]
            rgba = np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_RGB2RGBA), np.uint8)
            rgba[..., 3] = alpha
        return rgba

    def _sized(self, kind: Kind, cutout: Cutout, frame: FaceFrame, rng: np.random.Generator) -> place.Placement:
        """A place for it where it covers about as much of the face as is wanted."""
        c = self.config
        wanted = float(rng.uniform(*c.share))
        height, width = cutout.rgba.shape[:2]
        box = float((frame.box[1] - frame.box[0] + 1).prod())
        linear = np.sqrt(rng.uniform(*c.area) * box / (height * width)) * np.diag([rng.choice([-1.0, 1.0]), 1.0])
        if rng.random() < c.p_affine:
            linear = place.jitter(rng, c.stretch, c.rotation_deg, c.shear_deg) @ linear
        best: tuple[float, place.Placement] | None = None
        for _ in range(_TRIES):
            if kind == "hand":
                candidate = self._hand(cutout, frame, linear, rng)
            else:
                turned = linear @ place.turn(rng.uniform(-180, 180)) if kind == "blob" else linear
                candidate = place.anywhere(cutout, frame, turned, rng)
            candidate, share = place.cover(candidate, cutout, frame, wanted)
            error = abs(share - wanted) / wanted
            if best is None or error < best[0]:
                best = error, candidate
            if error < _NEAR_ENOUGH:
                break
        assert best is not None
        return best[1]

    def _hand(
        self, cutout: Cutout, frame: FaceFrame, linear: NDArray[np.float64], rng: np.random.Generator
    ) -> place.Placement:
        """Its fingers point at the face's centre."""
        if rng.random() < self.config.p_at_part:
            side = float(rng.choice([-1, 0, 1]))
            outward = side * frame.right
            cheek = frame.mouth + 0.5 * (frame.nose - frame.mouth) + 0.28 * frame.size * outward
            at = frame.chin if side == 0 else cheek
            wrist = at + frame.size * (rng.uniform(0.6, 1.2) * frame.down + rng.uniform(0.2, 1.0) * outward)
            return place.hand_from(_towards(wrist, frame.centre, frame), cutout, linear, at, rng.uniform(0.1, 0.3))
        at = frame.box[0] + rng.random(2) * (frame.box[1] - frame.box[0])
        return place.hand_from(_towards(at, frame.centre, frame), cutout, linear, at, 0)

    def _visible(self, labels: Image, mask: NDArray[np.bool_], layer: Layer, worn: NDArray[np.bool_] | None) -> Image:
        out = labels.copy()
        if worn is None:
            out[mask] = self.taxonomy.id_of("occlusion")
            return out
        part = out[layer.part]
        keep = cv2.LUT(np.ascontiguousarray(part), self._lens)
        part[mask[layer.part] | (worn & (keep == 0))] = self.taxonomy.id_of("eye_g")
        return out

    def _shadow(
        self, image: Image, labels: Image | None, layer: Layer, frame: FaceFrame, rng: np.random.Generator
    ) -> Image:
        c = self.config
        angle = rng.uniform(0, 2 * np.pi)
        shift = frame.size * rng.uniform(0, c.shadow_shift) * np.array([np.cos(angle), np.sin(angle)])
        # A wall far behind the head gets none.
        onto = frame.face.view(np.uint8) if labels is None else (labels != self.taxonomy.background).view(np.uint8)
        softness = frame.size * rng.uniform(*c.shadow_softness)
        return cast_shadow(image, layer, onto, shift, softness, rng.uniform(*c.shadow_strength))


def _filled(rgba: Image) -> Image:
    """The cut-out with everything inside its outer edge opaque: lenses, where they are clear."""
    return np.dstack([rgba[..., :3], filled(rgba[..., 3] > _HALF * 255).view(np.uint8) * np.uint8(255)])


def _towards(source: Points, target: Points, frame: FaceFrame) -> Points:
    """Unit vector; upwards where both are the same."""
    vector = target - source
    length = float(np.hypot(*vector))
    return np.asarray(vector / length if length > 1 else -frame.down)
