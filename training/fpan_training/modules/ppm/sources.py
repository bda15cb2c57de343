"""Where faces with a known pose come from: stores of the landmark teacher, the 3D fit, renders, and two public sets."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from fpan_training.data.folder import SPLIT_FILE, DataError, FaceFolder
from fpan_training.face3d import pose
from fpan_training.face3d.fit import fit
from fpan_training.landmarks import SCHEME, FaceRecord, FaceStore
from fpan_training.landmarks.build import list_images
from fpan_training.landmarks.store import read_given
from fpan_training.modules.ppm.data import PosedFace
from fpan_training.modules.ppm.model import AXES

LabelSource = Literal["teacher", "fit"]
"""``teacher``: the pose that the landmark teacher's mesh has. ``fit``: that of the 3D face fitted to it."""
_FASSEG_YAW = re.compile(r"_yaw([+-]?\d+)$")


@dataclass(frozen=True)
class PoseSet:
    """Faces that a network is measured on."""

    name: str
    faces: tuple[PosedFace, ...]
    truth: str
    """Where the angles come from, for the report."""
    missing: int = 0
    """Pictures without a face that could be cropped."""
    axes: tuple[str, ...] = AXES
    """What is known of the pose; the other angles of the faces are 0 and mean nothing."""


def from_store(data: Path, split: str, store: FaceStore, source: LabelSource) -> PoseSet:
    """The faces of a data set's split whose pose the teacher or the 3D fit gives.

    Args:
        data: a labelled data set, or a plain folder of pictures, which has no splits: each is all of it.
        split: of the data set.
        store: of ``fpan-train landmarks``.
        source: whose angles.

    Raises:
        DataError: there is no picture, or the store has no face of any.
    """
    labelled = (data / SPLIT_FILE).is_file()
    paths = list(FaceFolder.open(data, split).paths) if labelled else list_images(data)
    turn = _LABELS[source]
    faces = []
    for path in paths:
        record = store.get(path.stem)
        if record is not None:
            faces.append(PosedFace(path.stem, path, SCHEME.to68(record.points264), turn(record)))
    if not faces:
        raise DataError(
            f"{store.folder} has no face of {data}: run `fpan-train landmarks --data {data} --out {store.folder}`"
        )
    title = {"teacher": "the landmark teacher's mesh", "fit": "the fitted 3D face"}[source]
    name = f"{data.name} {split}" if labelled else data.name
    return PoseSet(f"{name}, {source}", tuple(faces), title, len(paths) - len(faces))


def from_posed(data: Path) -> PoseSet:
    """Renders at large poses: pictures with ``landmarks/NAME.json`` that gives both points and angles.

    Raises:
        DataError: files are missing or incomplete; all of them are named at once.
    """
    faces: list[PosedFace] = []
    problems: list[str] = []
    for path in list_images(data):
        try:
            given = read_given(data / "landmarks" / f"{path.stem}.json", SCHEME.names)
        except DataError as error:
            problems.append(str(error))
            continue
        if given.points264 is None or given.angles is None:
            problems.append(f"{path.stem}: points and angles are both needed")
            continue
        faces.append(PosedFace(path.stem, path, SCHEME.to68(given.points264), pose.rotation(given.angles)))
    if problems:
        raise DataError(f"{data} is no folder of posed faces:\n  " + "\n  ".join(problems))
    return PoseSet(data.name, tuple(faces), "the pose that was rendered")


def from_aflw(folder: Path) -> PoseSet:
    """Pictures of AFLW2000-3D (Zhu et al. 2016): ``NAME.jpg`` with ``NAME.mat``, whose angles and 68 points are true.

    Faces with an angle beyond +-99 degrees are left out, as in Hopenet's evaluation.

    Raises:
        DataError: a picture has no ``.mat`` file.
    """
    paths = list_images(folder)
    without = [path.stem for path in paths if not path.with_suffix(".mat").is_file()]
    if without:
        raise DataError(f"{folder}: no .mat file of {', '.join(without)}")
    faces = []
    for path in paths:
        content = loadmat(path.with_suffix(".mat"))
        points = np.asarray(content["pt3d_68"][:2].T - 1, np.float32)  # MATLAB's first pixel is 1
        faces.append(PosedFace(path.stem, path, points, pose.rotation(pose.from_aflw(content["Pose_Para"]))))
    within = tuple(face for face in faces if np.abs(face.angles).max() < _AFLW_LIMIT_DEG)
    return PoseSet(folder.name, within, "AFLW2000-3D's own angles", len(faces) - len(within))


_AFLW_LIMIT_DEG = 99.0
"""Hopenet, section 4.1."""


def from_fasseg(data: Path, store: FaceStore) -> PoseSet:
    """FASSEG's faces of seven people, whose yaw stands in the file names (``..._yaw-45``), where the teacher saw one.

    The names' yaw has the other sign: at -45 the nose points to the right of the picture.

    Raises:
        DataError: a name has no yaw.
    """
    faces: list[PosedFace] = []
    paths = list_images(data)
    for path in paths:
        match = _FASSEG_YAW.search(path.stem)
        if match is None:
            raise DataError(f"{path.name} does not end in _yaw and degrees, as FASSEG's names here do")
        record = store.get(path.stem)
        if record is not None:
            rotation = pose.rotation((-float(match[1]), 0, 0))
            faces.append(PosedFace(path.stem, path, SCHEME.to68(record.points264), rotation))
    return PoseSet(data.name, tuple(faces), "the yaw in the file names", len(paths) - len(faces), ("yaw",))


def _of_teacher(record: FaceRecord) -> NDArray[np.float64]:
    return record.rotation.astype(np.float64)


def _of_fit(record: FaceRecord) -> NDArray[np.float64]:
    return np.asarray(fit(record.mesh478).rotation, np.float64)


_LABELS: dict[LabelSource, Callable[[FaceRecord], NDArray[np.float64]]] = {"teacher": _of_teacher, "fit": _of_fit}
