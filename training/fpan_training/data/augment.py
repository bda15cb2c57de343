"""What happens to a training picture: geometry about the face's centre, background, occluder, light, bad cameras."""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from fpan.contract import Taxonomy
from numpy.typing import NDArray

from fpan_training.data.assets import Assets
from fpan_training.data.folder import Sample
from fpan_training.data.soft_labels import Soft, mirror_soft, overwrite, warp_soft
from fpan_training.occlusion.frame import face_table, mirror_points
from fpan_training.occlusion.generator import OcclusionConfig, OcclusionGenerator

Image = NDArray[np.uint8]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class AugmentConfig:
    """How far pictures are changed. ``p_`` are probabilities a picture."""

    flip: float = 0.5
    """Mirror picture and labels, left and right exchanged."""
    rotation_deg: float = 12.0
    """Standard deviation of the roll about the face's centre, in degrees."""
    p_large_rotation: float = 0.07
    """Instead of that, a roll drawn evenly from +-``large_rotation_deg``."""
    large_rotation_deg: float = 60.0
    scale: tuple[float, float] = (0.75, 1.35)
    """Range of the zoom, drawn evenly in its logarithm."""
    p_context: float = 0.0
    """Instead of that, a zoom from ``context_scale``: what a crop shows that is wider than the aligned face."""
    context_scale: tuple[float, float] = (0.42, 0.62)
    aspect: float = 0.06
    """Standard deviation of the logarithm of the width's own extra scale."""
    shift: float = 0.06
    """Standard deviation of the shift, in picture widths."""
    p_background: float = 0.35
    """Replace what is labelled background."""
    p_occluder: float = 0.2
    """Cover the face with something. Without files of occluders, shapes drawn in code do."""
    occlusion: OcclusionConfig = field(default_factory=OcclusionConfig)
    """With what."""
    gamma: tuple[float, float] = (0.6, 1.6)
    contrast: float = 0.25
    brightness: float = 0.15
    saturation: float = 0.35
    tint: float = 0.08
    """Standard deviation of each colour channel's own gain."""
    p_grey: float = 0.05
    p_low_resolution: float = 0.25
    low_resolution: tuple[int, int] = (48, 192)
    """Side in pixels that a picture is shrunk to before it is enlarged again."""
    p_noise: float = 0.2
    noise: float = 0.04
    """Largest standard deviation of the noise, of full scale."""
    p_jpeg: float = 0.25
    jpeg_quality: tuple[int, int] = (30, 90)


@dataclass(frozen=True)
class Example:
    """An augmented picture with all that is known of it."""

    image: Image
    """RGB, uint8 (size, size, 3)."""
    labels: Labels
    """What is seen, uint8 (size, size)."""
    amodal: Labels
    """What is there beneath the occluder, uint8 (size, size)."""
    mask: NDArray[np.bool_]
    """What the occluder covers, bool (size, size)."""
    points: NDArray[np.float32] | None
    """The 264 landmarks, float32 (264, 2); they may lie outside of the picture. None if none were given."""
    mirrored: bool
    """Whether left and right are exchanged: what belongs to landmarks by their number is then their partner's."""
    soft: Soft | None = None
    """What a teacher thinks of what is seen, uint8 (size, size, 3); None if it was not asked."""


@dataclass(frozen=True)
class Augment:
    """Turns a sample into a crop of ``size`` pixels; the same generator state gives the same bytes."""

    taxonomy: Taxonomy
    size: int
    config: AugmentConfig = field(default_factory=AugmentConfig)
    assets: Assets = field(default_factory=Assets)
    paster: Callable[[Image, Labels, NDArray[np.float32] | None, np.random.Generator], tuple[Image, Labels]] | None = (
        None
    )
    """Puts worn things on faces, see :class:`fpan_training.data.paste.paster.PartPaster`; None: nothing."""
    _generator: OcclusionGenerator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_generator", OcclusionGenerator(self.config.occlusion, self.assets, self.taxonomy))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> tuple[Image, Labels]:
        """Returns the picture, uint8 (size, size, 3), and its labels, uint8 (size, size)."""
        example = self.example(sample, rng)
        return example.image, example.labels

    def example(
        self, sample: Sample, rng: np.random.Generator, points264: NDArray[np.float32] | None = None
    ) -> Example:
        """The same with all that is known of the picture; ``__call__`` and this draw alike.

        Args:
            sample: picture and labels.
            rng: all chance comes from it.
            points264: landmarks of the sample, float32 (264, 2), which are moved along and say where occluders go.
        """
        image, labels, points, soft = sample.image, sample.labels, points264, sample.soft
        mirrored = bool(rng.random() < self.config.flip)
        if mirrored:
            image, labels = np.ascontiguousarray(image[:, ::-1]), self.taxonomy.mirror(labels)
            points = None if points is None else mirror_points(points, image.shape[1])
            soft = None if soft is None else mirror_soft(soft, self.taxonomy)
        width = image.shape[1]
        matrix, fill = self._draw_move(labels, sample.frame, rng)
        image, labels = warp_pair(image, labels, matrix, self.size, fill, self.taxonomy.ignore)
        if points is not None:
            points = np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)
        if soft is not None:
            soft = warp_soft(soft, matrix, width, self.size)
        if self.paster is not None:
            before = labels
            image, labels = self.paster(image, labels, points, rng)
            if soft is not None:
                soft = overwrite(soft, labels != before, labels)
        if self.assets.backgrounds and rng.random() < self.config.p_background:
            image = self._replace_background(image, labels, rng)
            if soft is not None:
                soft = overwrite(soft, labels == self.taxonomy.background, labels)
        amodal, mask = labels, np.zeros(labels.shape, np.bool_)
        if rng.random() < self.config.p_occluder:
            occluded = self._generator(image, labels, points, rng)
            image, mask = occluded.image, occluded.mask
            labels = amodal if occluded.labels is None else occluded.labels
            if soft is not None:
                soft = overwrite(soft, labels != amodal, labels)
        return Example(self._degrade(self._relight(image, rng), rng), labels, amodal, mask, points, mirrored, soft)

    def _draw_move(
        self, labels: Labels, frame: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], tuple[int, ...]]:
        """The matrix from source to target pixels, and the colour of what comes from outside."""
        c = self.config
        height, width = labels.shape
        # In a wider frame labels such as "all skin" may say little of where the face is: its alignment says it.
        middle = np.array([width, height], float) / 2
        centre = face_centre(labels, self.taxonomy) if frame == 1 else middle
        if rng.random() < c.p_large_rotation:
            angle = np.deg2rad(rng.uniform(-c.large_rotation_deg, c.large_rotation_deg))
        else:
            angle = np.deg2rad(rng.normal(0, c.rotation_deg))
        scale = c.context_scale if c.p_context and rng.random() < c.p_context else c.scale
        zoom = float(np.exp(rng.uniform(np.log(scale[0]), np.log(scale[1])))) * self.size * frame / width
        stretch = float(np.exp(rng.normal(0, c.aspect)))
        cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
        linear = np.array([[cos * stretch, -sin], [sin * stretch, cos]])
        # The face's centre stays where it was in the frame, give or take the shift.
        target = centre * self.size / np.array([width, height]) + rng.normal(0, c.shift, 2) * self.size
        matrix = np.column_stack([linear, target - linear @ centre])
        fill = tuple(int(v) for v in rng.integers(0, 256, 3)) if rng.random() < 0.5 else (0, 0, 0)
        return matrix, fill

    def _replace_background(self, image: Image, labels: Labels, rng: np.random.Generator) -> Image:
        background = self.assets.background(rng, self.size)
        alpha = cv2.GaussianBlur((labels == self.taxonomy.background).astype(np.float32), (5, 5), 0)[..., None]
        return np.asarray(image * (1 - alpha) + background * alpha + 0.5, np.uint8)

    def _relight(self, image: Image, rng: np.random.Generator) -> Image:
        c = self.config
        levels = np.linspace(0, 1, 256, dtype=np.float32) ** float(
            np.exp(rng.uniform(np.log(c.gamma[0]), np.log(c.gamma[1])))
        )
        levels = (levels - 0.5) * (1 + rng.uniform(-c.contrast, c.contrast)) + 0.5
        levels = levels + rng.uniform(-c.brightness, c.brightness)
        gains = np.exp(rng.normal(0, c.tint, 3)).astype(np.float32)
        table = np.clip(np.rint(levels[:, None] * gains * 255), 0, 255).astype(np.uint8)
        out = np.asarray(cv2.LUT(image, table[None]), np.uint8)
        grey = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        keep = 0.0 if rng.random() < c.p_grey else 1 + rng.uniform(-c.saturation, c.saturation)
        return np.asarray(cv2.addWeighted(out, keep, grey, 1 - keep, 0), np.uint8)

    def _degrade(self, image: Image, rng: np.random.Generator) -> Image:
        c = self.config
        if rng.random() < c.p_low_resolution:
            side = int(rng.integers(c.low_resolution[0], c.low_resolution[1] + 1))
            small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
            image = np.asarray(cv2.resize(small, (self.size, self.size), interpolation=cv2.INTER_CUBIC), np.uint8)
        if rng.random() < c.p_noise:
            noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(0, c.noise) * 255
            image = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
        if rng.random() < c.p_jpeg:
            quality = int(rng.integers(c.jpeg_quality[0], c.jpeg_quality[1] + 1))
            _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        return image


def face_centre(labels: Labels, taxonomy: Taxonomy) -> NDArray[np.float64]:
    """Centre of the box of the face's own parts, (x, y) in pixels; the picture's centre if there is no face."""
    left, top, width, height = cv2.boundingRect(cv2.LUT(labels, face_table(taxonomy)))
    if width == 0:
        return np.array(labels.shape[::-1], float) / 2
    return np.array([2 * left + width - 1, 2 * top + height - 1], float) / 2


def warp_pair(
    image: Image,
    labels: Labels,
    matrix: NDArray[np.float64],
    size: int,
    fill: tuple[int, ...] = (0, 0, 0),
    outside: int = 255,
) -> tuple[Image, Labels]:
    """Moves picture (bilinear) and labels (nearest) by one matrix, from source to target pixels.

    What comes from outside is ``fill`` in the picture and ``outside`` in the labels, as a rule the value that is
    ignored: nobody knows what would be there, and hair does not end where a picture does. A picture that becomes
    smaller is first shrunk by area, as in evaluation: bilinear sampling alone would skip pixels.
    """
    zoom = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    source, onto = image, matrix
    if zoom < 1:
        sides = np.maximum(1, np.rint(np.array(image.shape[1::-1]) * zoom)).astype(int)
        source = np.asarray(cv2.resize(image, sides.tolist(), interpolation=cv2.INTER_AREA), np.uint8)
        factor = np.array(image.shape[1::-1]) / sides
        # Pixel p of the small picture has its centre at (p + 0.5) * factor - 0.5 of the large one.
        onto = np.column_stack([matrix[:, :2] * factor, matrix[:, 2] + matrix[:, :2] @ (0.5 * factor - 0.5)])
    moved = cv2.warpAffine(source, onto, (size, size), flags=cv2.INTER_LINEAR, borderValue=fill)
    nearest = cv2.warpAffine(labels, matrix, (size, size), flags=cv2.INTER_NEAREST, borderValue=(outside,))
    return np.asarray(moved, np.uint8), np.asarray(nearest, np.uint8)


def resize_pair(image: Image, labels: Labels, size: int) -> tuple[Image, Labels]:
    """Shrinks picture (area) and labels (nearest) to a square of ``size`` pixels, as evaluation does."""
    if labels.shape == (size, size):
        return image, labels
    how = cv2.INTER_AREA if size < labels.shape[0] else cv2.INTER_LINEAR
    shrunk = cv2.resize(image, (size, size), interpolation=how)
    nearest = cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(shrunk, np.uint8), np.asarray(nearest, np.uint8)
