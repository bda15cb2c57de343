"""What the teacher saw of every picture, one ``NAME.npz`` each, and landmarks that a user gives, ``NAME.json``."""

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError
from fpan_training.face3d.pose import rotation
from fpan_training.files import write_whole
from fpan_training.landmarks.canonical import VERTICES
from fpan_training.landmarks.scheme import POINTS

_SHAPES: dict[str, tuple[int, ...]] = {
    "points264": (POINTS, 2),
    "mesh478": (VERTICES, 3),
    "rotation": (3, 3),
    "angles": (3,),
}


@dataclass(frozen=True)
class FaceRecord:
    """A face's landmarks and pose, in pixels of the picture."""

    points264: NDArray[np.float32]
    """float32 (264, 2)."""
    mesh478: NDArray[np.float32]
    """float32 (478, 3): MediaPipe's mesh; x right, y down, z away from the camera."""
    rotation: NDArray[np.float32]
    """float32 (3, 3): turns the canonical, unturned face to this one."""
    angles: NDArray[np.float32]
    """float32 (3,): yaw, pitch, roll in degrees, as :mod:`fpan_training.face3d.pose` defines them."""
    found: bool
    """Whether the teacher saw a face; if not, all else is NaN."""

    @classmethod
    def nothing(cls) -> "FaceRecord":
        """The record of a picture without a face."""
        return cls(**{name: np.full(shape, np.nan, np.float32) for name, shape in _SHAPES.items()}, found=False)


@dataclass(frozen=True)
class FaceStore:
    """A folder of records by the pictures' names without their endings."""

    folder: Path

    def get(self, name: str) -> FaceRecord | None:
        """The face of a picture; None where none was found or the picture was never looked at.

        Raises:
            DataError: the record is there and not readable.
        """
        record = self.read(name)
        return record if record is not None and record.found else None

    def read(self, name: str) -> FaceRecord | None:
        """The record of a picture, with or without a face; None where the picture was never looked at.

        Raises:
            DataError: the record is there and not readable.
        """
        path = self.path(name)
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as content:
                values = {key: content[key] for key in (*_SHAPES, "found")}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{path} is no face record: delete it and run `fpan-train landmarks` again") from error
        for key, shape in _SHAPES.items():
            if values[key].shape != shape:
                raise DataError(f"{path}: {key} is {values[key].shape}, not {shape}: make the store again")
        return FaceRecord(**{key: values[key] for key in _SHAPES}, found=bool(values["found"]))

    def put(self, name: str, record: FaceRecord) -> None:
        """Writes a record, whole or not at all."""
        file = BytesIO()
        np.savez(file, **{key: getattr(record, key) for key in _SHAPES}, found=np.bool_(record.found))
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.path(name), file.getvalue())

    def path(self, name: str) -> Path:
        """Where the record of a picture is kept."""
        return self.folder / f"{name}.npz"

    def names(self) -> tuple[str, ...]:
        """Pictures that have a record, in order."""
        return tuple(sorted(path.stem for path in self.folder.glob("*.npz")))


@dataclass(frozen=True)
class GivenLandmarks:
    """Landmarks and pose that come with a data set: ``landmarks/NAME.json``.

    The file is an object with ``points``, 264 pairs [x, y] in the scheme's order or a mapping from all of its names to
    pairs, in pixels of the picture; or ``angles``, [yaw, pitch, roll] in degrees; or both.
    """

    points264: NDArray[np.float32] | None
    angles: NDArray[np.float32] | None

    def over(self, record: FaceRecord) -> FaceRecord:
        """A record in which what is given takes the place of what the teacher saw."""
        points = record.points264 if self.points264 is None else self.points264
        angles = record.angles if self.angles is None else self.angles
        turned = record.rotation if self.angles is None else rotation(self.angles).astype(np.float32)
        found = record.found or self.points264 is not None
        return FaceRecord(points, record.mesh478, turned, angles, found)


def read_given(path: Path, names: tuple[str, ...]) -> GivenLandmarks:
    """Reads the landmarks that a user gives for a picture.

    Raises:
        DataError: the file is not of the form that :class:`GivenLandmarks` describes.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        points, angles = content.get("points"), content.get("angles")
        if isinstance(points, dict):
            points = [points[name] for name in names]
        given = GivenLandmarks(_array(points, (len(names), 2)), _array(angles, (3,)))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f'{path}: needs {{"points": {len(names)} pairs [x, y], or a mapping from the names of scheme264.json, '
            f'"angles": [yaw, pitch, roll]}}; {type(error).__name__}: {error}'
        ) from error
    if given.points264 is None and given.angles is None:
        raise DataError(f"{path} has neither points nor angles")
    return given


def _array(values: Any, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    if values is None:
        return None
    array = np.array(values, np.float32)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"expected finite numbers {shape}, found {array.shape}")
    return array
