"""From faces with a known pose to batches of crops, each changed so that its pose stays known."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fpan_training.data.augment import Augment, AugmentConfig
from fpan_training.data.folder import Sample, read_rgb
from fpan_training.face3d import pose
from fpan_training.modules.ppm.model import PpmConfig
from fpan_training.modules.ppm.predict import crop, crop_matrix
from fpan_training.modules.ppm.step import PoseBatch
from fpan_training.taxonomy import TAXONOMY

Item = tuple[Tensor, Tensor, Tensor]
Array = NDArray[np.float64]
_MIRROR = np.diag([-1.0, 1.0, 1.0])
_BY_LIGHT_ALONE = AugmentConfig(
    flip=0,
    rotation_deg=0,
    p_large_rotation=0,
    scale=(1, 1),
    aspect=0,
    shift=0,
    p_background=0,
    p_occluder=0,
    # In pixels of a crop, which is smaller than what SEGM looks at.
    low_resolution=(24, 96),
)
"""Light, colour, blur by lost resolution, noise and JPEG; geometry is done here, where the pose goes with it."""


@dataclass(frozen=True)
class PosedFace:
    """A picture of a face whose pose is known."""

    name: str
    path: Path
    points: NDArray[np.float32]
    """The usual 68 points in the picture's pixels, float32 (68, 2): where to crop."""
    rotation: Array
    """float64 (3, 3), as :mod:`fpan_training.face3d.pose` has it."""

    @property
    def angles(self) -> Array:
        """Yaw, pitch and roll in degrees, float64 (3,)."""
        return pose.angles(self.rotation)


@dataclass(frozen=True)
class PoseAugmentConfig:
    """How far crops are changed."""

    flip: float = 0.5
    """Probability of mirroring: yaw and roll change sign."""
    rotation_deg: float = 15.0
    """Standard deviation of the rotation in the picture's plane, in degrees."""
    p_large_rotation: float = 0.1
    """Instead of that, one drawn evenly from +-``large_rotation_deg``."""
    large_rotation_deg: float = 60.0
    scale: tuple[float, float] = (0.8, 1.2)
    """Range of the zoom, drawn evenly in its logarithm."""
    shift: float = 0.05
    """Standard deviation of the shift, in crop widths."""
    light: AugmentConfig = _BY_LIGHT_ALONE
    """What happens to colours and sharpness."""


@dataclass(frozen=True)
class PoseData(Dataset[Item]):
    """Crops, uint8 (size, size, 3), with angles, float32 (3,), and rotation, float32 (3, 3).

    The index is ``pass * len(faces) + face``, as :class:`fpan_training.data.EpochSampler` makes it. Without ``augment``
    a face is cropped only.
    """

    faces: Sequence[PosedFace]
    config: PpmConfig
    augment: PoseAugmentConfig | None = None
    seed: int = 0
    repeats: Array | None = None
    """How often each face comes in an epoch; None: once."""
    _light: Augment = field(init=False, repr=False)

    def __post_init__(self) -> None:
        light = AugmentConfig() if self.augment is None else self.augment.light
        object.__setattr__(self, "_light", Augment(TAXONOMY, self.config.input_size, light))

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> Item:
        turn, which = divmod(index, len(self.faces))
        face, size = self.faces[which], self.config.input_size
        image, matrix = read_rgb(face.path), crop_matrix(face.points, self.config)
        if self.augment is None:
            return _item(crop(image, matrix, size, mirrored_edges=True), face.rotation)
        rng = np.random.default_rng((self.seed, turn, which))
        matrix, rotation = move(matrix, face.rotation, size, self.augment, rng)
        seen = crop(image, matrix, size, mirrored_edges=True)
        lit, _ = self._light(Sample(face.name, seen, np.zeros((size, size), np.uint8)), rng)
        return _item(lit, rotation)


def move(
    matrix: Array, rotation: Array, size: int, config: PoseAugmentConfig, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Mirrors, turns, zooms and shifts a crop at random: its matrix (2, 3) and its head's rotation (3, 3) afterwards.

    Only similarities: whatever stretches a face would show a pose that nobody knows.
    """
    mirrored = rng.random() < config.flip
    if rng.random() < config.p_large_rotation:
        roll = rng.uniform(-config.large_rotation_deg, config.large_rotation_deg)
    else:
        roll = rng.normal(0, config.rotation_deg)
    zoom = float(np.exp(rng.uniform(*np.log(config.scale))))
    centre = np.full(2, (size - 1) / 2)
    linear = in_plane(roll)[:2, :2] * zoom
    if mirrored:
        linear = linear @ _MIRROR[:2, :2]
    shift = centre + rng.normal(0, config.shift, 2) * size - linear @ centre
    moved = np.column_stack([linear @ matrix[:, :2], linear @ matrix[:, 2] + shift])
    return moved, turned(mirror(rotation) if mirrored else rotation, roll)


def in_plane(roll_deg: float) -> Array:
    """The rotation (3, 3) that turning a picture clockwise about its centre does to everything in it."""
    return pose.rotation((0, 0, roll_deg))


def turned(rotation: Array, roll_deg: float) -> Array:
    """The head's rotation (3, 3) once its picture is turned clockwise.

    The camera turns, after all the head's own rotations; roll is the first of those. So only a head that looks straight
    at the camera has exactly that much more roll: for others yaw and pitch change too, as in the picture they do.
    """
    return np.asarray(in_plane(roll_deg) @ rotation, np.float64)


def mirror(rotation: Array) -> Array:
    """The head's rotation (3, 3) in the mirrored picture: yaw and roll change sign."""
    return np.asarray(_MIRROR @ rotation @ _MIRROR, np.float64)


def repeat_by_yaw(faces: Sequence[PosedFace], enough: float, width_deg: float = 15.0) -> Array:
    """How often each face should come in an epoch so that large yaws are seen, float64 (faces,).

    As in :func:`fpan_training.data.loader.repeat_factors`, bins of yaw in place of classes: a bin with a share ``f`` of
    the faces asks for ``max(1, sqrt(enough / f))``. ``enough`` = 0: each face comes once.
    """
    bins = np.floor(np.abs([face.angles[0] for face in faces]) / width_deg).astype(int)
    share = np.bincount(bins)[bins] / len(faces)
    return np.asarray(np.sqrt(enough / share).clip(min=1), np.float64)


def collate(items: Sequence[Item]) -> PoseBatch:
    """Stacks items into a batch."""
    images, angles, rotations = zip(*items, strict=True)
    return PoseBatch(torch.stack(images), torch.stack(angles), torch.stack(rotations))


def _item(image: NDArray[np.uint8], rotation: Array) -> Item:
    angles = pose.angles(rotation).astype(np.float32)
    return torch.from_numpy(image), torch.from_numpy(angles), torch.from_numpy(rotation.astype(np.float32))
