"""From faces with known landmarks to batches of crops: moved, occluded, lit, and labelled by what was done to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fpan_training.data.augment import Augment
from fpan_training.data.folder import DataError, FaceFolder, Sample, read_rgb
from fpan_training.face3d import pose
from fpan_training.landmarks import SCHEME, FaceStore, face_crop, warp_points
from fpan_training.landmarks.build import list_images
from fpan_training.landmarks.crop import invert
from fpan_training.landmarks.store import FaceRecord
from fpan_training.modules.lom.model import INPUT_SIZE
from fpan_training.modules.lom.step import LomBatch
from fpan_training.modules.ppm.data import PoseAugmentConfig, move
from fpan_training.modules.ppm.predict import crop
from fpan_training.taxonomy import TAXONOMY

CLASSES = ("profile", "up", "down", "tilted", "open_mouth", "occluded")
"""Classes of faces whose rarity the loss makes up for (PFLD: profile, head up, head down, expression, occlusion)."""
_PROFILE_DEG, _UP_DOWN_DEG, _TILTED_DEG = 30.0, 20.0, 20.0
_OPEN_MOUTH = 0.15
"""Height of the mouth's opening in distances between the outer corners of the eyes."""
EYE_CORNERS = (SCHEME.names.index("r_eye_outer"), SCHEME.names.index("l_eye_outer"))
"""Outer corners of the eyes among the 264, between which errors are normalised."""
_LIPS = (SCHEME.names.index("lips_inner_upper_middle"), SCHEME.names.index("lips_inner_lower_middle"))

Image = NDArray[np.uint8]
Item = LomBatch
"""Of one face: the same fields without the first axis."""


class OccludedFace(Protocol):
    """What an occlusion generator gives, as far as LOM needs it."""

    @property
    def image(self) -> Image:
        """RGB uint8 (H, W, 3)."""
        ...

    @property
    def mask(self) -> NDArray[np.bool_]:
        """What is covered, bool (H, W)."""
        ...


class Occluder(Protocol):
    """:class:`fpan_training.occlusion.generator.OcclusionGenerator`."""

    def __call__(
        self, image: Image, labels: Image | None, points: NDArray[np.float32] | None, rng: np.random.Generator, /
    ) -> OccludedFace:
        """Puts something in front of a face with known landmarks."""
        ...


@dataclass(frozen=True)
class MarkedFace:
    """A picture of a face whose landmarks and pose are known."""

    name: str
    path: Path
    points: NDArray[np.float32]
    """float32 (264, 2) in the picture's pixels."""
    rotation: NDArray[np.float64]
    """float64 (3, 3), as :mod:`fpan_training.face3d.pose` has it."""
    covered: NDArray[np.float32] | None = None
    """float32 (264,): 1 where something in the picture covers the landmark, 0 where nothing does, NaN where that is
    unknown. None: nobody tells (:mod:`fpan_training.modules.lom.clean`), and the face teaches no visibility."""

    @classmethod
    def of(cls, path: Path, record: FaceRecord) -> "MarkedFace":
        """The face of a picture's record; what covers it is left open."""
        return cls(path.stem, path, record.points264, record.rotation.astype(np.float64))

    @property
    def classes(self) -> NDArray[np.bool_]:
        """Which of :data:`CLASSES` the face belongs to as it is, bool (6,)."""
        yaw, pitch, roll = pose.angles(self.rotation)
        eyes, mouth = (float(np.linalg.norm(self.points[a] - self.points[b])) for a, b in (EYE_CORNERS, _LIPS))
        return np.array(
            [
                abs(yaw) > _PROFILE_DEG,
                pitch > _UP_DOWN_DEG,
                pitch < -_UP_DOWN_DEG,
                abs(roll) > _TILTED_DEG,
                mouth > _OPEN_MOUTH * eyes,
                self.covered is not None and bool((self.covered == 1).any()),
            ]
        )


def marked_faces(data: Path, split: str, store: FaceStore) -> tuple[MarkedFace, ...]:
    """The faces of a data set's split that the store knows; what covers them is left open.

    Args:
        data: a labelled data set, or a plain folder of pictures, which has no splits: each is all of it.
        split: of the data set.
        store: of ``fpan-train landmarks``.

    Raises:
        DataError: there is no picture, or the store has no face of any.
    """
    paths = list(FaceFolder.open(data, split).paths) if (data / "split.json").is_file() else list_images(data)
    faces = []
    for path in paths:
        record = store.get(path.stem)
        if record is not None:
            faces.append(MarkedFace.of(path, record))
    if not faces:
        raise DataError(
            f"{store.folder} has no face of {data}: run `fpan-train landmarks --data {data} --out {store.folder}`"
        )
    return tuple(faces)


@dataclass(frozen=True)
class LomAugmentConfig:
    """How faces are changed."""

    move: PoseAugmentConfig = field(default_factory=lambda: PoseAugmentConfig(scale=(0.8, 1.15), shift=0.04))
    """Mirroring, rotation, zoom and shift, and what happens to the light."""
    p_occluded: float = 0.5
    """Probability that something is put in front of a face."""


@dataclass(frozen=True)
class LomData(Dataset[Item]):
    """Crops with landmarks, pose, classes and what is covered.

    The index is ``pass * len(faces) + face``, as :class:`fpan_training.data.EpochSampler` makes it. Without ``augment``
    a face is cropped, and occluded if there is an ``occluder``, always in the same way.
    """

    faces: Sequence[MarkedFace]
    margin: float
    occluder: Occluder | None = None
    augment: LomAugmentConfig | None = None
    seed: int = 0
    repeats: NDArray[np.float64] | None = None
    """How often each face comes in an epoch, float (faces,); None: each once."""
    _light: Augment = field(init=False, repr=False)

    def __post_init__(self) -> None:
        light = (self.augment or LomAugmentConfig()).move.light
        object.__setattr__(self, "_light", Augment(TAXONOMY, INPUT_SIZE, light))

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> Item:
        turn, which = divmod(index, len(self.faces))
        face = self.faces[which]
        rng = np.random.default_rng((self.seed, turn, which))
        image, rotation = read_rgb(face.path), face.rotation
        height, width = image.shape[:2]
        matrix = face_crop(face.points, INPUT_SIZE, self.margin)
        if self.augment is not None:
            matrix, rotation = move(matrix, rotation, INPUT_SIZE, self.augment.move, rng)
        points = warp_points(face.points, matrix)
        real = np.full(len(points), np.nan, np.float32) if face.covered is None else face.covered
        if np.linalg.det(matrix[:, :2]) < 0:
            # Mirrored: the landmark of the one side is now where that of the other is looked for.
            points, real = points[SCHEME.partner], real[SCHEME.partner]
        view = crop(image, matrix, INPUT_SIZE)
        mask = np.zeros(view.shape[:2], bool)
        if self.occluder is not None and (self.augment is None or rng.random() < self.augment.p_occluded):
            occluded = self.occluder(view, None, points, rng)
            view, mask = occluded.image, occluded.mask
        if self.augment is not None:
            view, _ = self._light(Sample(face.name, view, np.zeros(view.shape[:2], np.uint8)), rng)
        flags = face.classes
        flags[CLASSES.index("occluded")] |= mask.any()
        hidden = real
        if face.covered is not None:
            # What is pasted hides a landmark whatever is known of what lies beneath.
            pasted = covered(points, mask, within(points, matrix, (height, width)))
            hidden = np.where(pasted == 0, real, pasted)
        return LomBatch(
            torch.from_numpy(view),
            torch.from_numpy(points),
            torch.from_numpy(pose.angles(rotation).astype(np.float32)),
            torch.from_numpy(flags),
            torch.from_numpy(hidden),
        )


def covered(
    points: NDArray[np.float32], mask: NDArray[np.bool_], known: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """1 for every landmark that the mask covers, 0 for the others, NaN for those that the picture does not show.

    Args:
        points: float32 (N, 2) in the mask's pixels.
        mask: bool (H, W): what is covered.
        known: bool (N,): those that the picture shows; None: all that lie within the mask's bounds.

    Returns:
        float32 (N,).
    """
    answer = sample_at(mask, points)
    if known is not None:
        answer[~known] = np.nan
    return answer


def sample_at(values: NDArray[Any], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values (H, W) of the pixels nearest to points (N, 2), float32 (N,); NaN outside."""
    height, width = values.shape
    x, y = np.rint(points).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    answer = np.full(len(points), np.nan, np.float32)
    answer[inside] = values[y[inside], x[inside]]
    return answer


def within(points: NDArray[np.float32], matrix: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which points of a crop, (N, 2), lie within the picture of ``shape`` (height, width) that it was cut from."""
    at = warp_points(points, invert(matrix))
    limit = np.array(shape[::-1]) - 0.5
    return np.asarray(((at >= -0.5) & (at <= limit)).all(1))


def mean_shape(faces: Sequence[MarkedFace], margin: float) -> NDArray[np.float32]:
    """The mean landmarks of crops, in shares of the crop's side, float32 (264, 2)."""
    crops = [warp_points(face.points, face_crop(face.points, INPUT_SIZE, margin)) for face in faces]
    mean = np.mean(crops, 0)
    symmetric = (mean + SCHEME.mirror(mean, INPUT_SIZE)) / 2
    return np.asarray((symmetric + 0.5) / INPUT_SIZE, np.float32)


def class_flags(faces: Sequence[MarkedFace], p_occluded: float) -> Tensor:
    """The classes of every face, bool (N, 6), with as many occluded ones as augmentation makes on average."""
    flags = torch.from_numpy(np.stack([face.classes for face in faces]))
    flags[: round(p_occluded * len(faces)), CLASSES.index("occluded")] = True
    return flags


def collate(items: Sequence[Item]) -> LomBatch:
    """Stacks items into a batch."""
    return LomBatch(*(torch.stack(column) for column in zip(*items, strict=True)))
