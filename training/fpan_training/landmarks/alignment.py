"""`fpan-train alignment`: fits the template that every face is aligned to.

The training pictures are aligned already. The template is where the detector that serves finds the five points in them,
on the mean over the pictures and their mirror images: it is its own mirror image, so that the mirror image of a photo
gets the mirror image of the crop.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fpan.client import Client
from fpan.contract import AlignmentTemplate, similarity
from numpy.typing import NDArray

from fpan_training.data.folder import FaceFolder, read_rgb
from fpan_training.engine.progress import track

MIN_SCORE = 0.8
"""Pictures in which the detector is less sure of the face are left out."""
DECIMALS = 5
"""Of the template's numbers."""

Faces = NDArray[np.float64]
"""x0, y0, x1, y1, five points and the score, (N, 15), in shares of the square picture's side."""


MIRRORED = (1, 0, 2, 4, 3)
"""Which of ``fpan.contract.FIVE_POINTS`` each one becomes in a mirrored picture."""

Finder = Callable[[Path], NDArray[np.float64] | None]
"""The face of a picture in its pixels, (15,), as :data:`Faces` has it; None where there is none."""


@dataclass(frozen=True)
class AlignmentFit:
    """Fits the alignment template on a split of aligned faces, by a running service's own detector; writes JSON."""

    data: Path
    """Folder of square aligned faces: ``images/``, ``masks/``, ``split.json``."""
    url: str = "http://127.0.0.1:8000"
    """The running service."""
    out: Path = Path("training/fpan_training/landmarks/alignment_celeba.json")
    """File to write."""
    split: str = "train"
    """Split of the folder."""
    check: Path | None = None
    """Folder of other aligned pictures (``*.jpg``): how far they lie from the template is printed."""
    title: str = "CelebAMask-HQ"
    """Name of the pictures, for the template."""

    def __call__(self) -> AlignmentTemplate:
        """Writes the template and returns it."""
        with Client(self.url) as client:
            find = finder(client)
            faces = measure(FaceFolder.open(self.data, self.split).paths, find)
            title = f"{len(faces)} pictures of {self.title}, {self.split} split, by the detector as it serves"
            template = fit(faces, title)
            self.out.write_text(template.model_dump_json(indent=2) + "\n", encoding="utf-8")
            print(f"{template.fitted_on}: residual {template.residual:.4f}")
            if self.check is not None:
                others = measure(sorted(self.check.glob("*.jpg")), find)
                print(f"{len(others)} pictures of {self.check.name}: residual {residual(others, template.points):.4f}")
                print(f"mean shift of a point from the template {mean_shift(others, template.points):.4f}")
        return template


def finder(client: Client) -> Finder:
    """The largest face that a service finds."""

    def find(path: Path) -> NDArray[np.float64] | None:
        faces = client.parse(path, max_faces=1).faces
        if not faces or faces[0].landmarks is None or faces[0].score is None:
            return None
        return np.concatenate([faces[0].box, np.ravel(faces[0].landmarks), [faces[0].score]]).astype(np.float64)

    return find


def measure(paths: Iterable[Path], find: Finder) -> Faces:
    """The face of every square picture; pictures without a sure one are left out.

    Raises:
        DataError: a file is not readable as an image.
        ValueError: a picture is not square.
    """
    faces = []
    for path in track(list(paths), "faces"):
        height, width = read_rgb(path).shape[:2]
        if height != width:
            raise ValueError(f"{path} is not square")
        face = find(path)
        if face is not None and face[14] >= MIN_SCORE:
            faces.append(to_unit(face, width))
    return np.reshape(faces, (-1, 15))


def to_unit(face: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """A face (15,) in pixels of a square picture, as shares of its side: pixel i covers i / side to (i + 1) / side."""
    return np.concatenate([face[:4] / side, (face[4:14] + 0.5) / side, face[14:]])


def fit(faces: Faces, fitted_on: str) -> AlignmentTemplate:
    """The mean of faces and their mirror images.

    Raises:
        ValueError: there is no face.
    """
    if len(faces) == 0:
        raise ValueError("there is no face to fit the template on")
    mean = faces.mean(0)
    in_pixels = np.concatenate([mean[:4], mean[4:14] - 0.5, mean[14:]])  # of a picture of one pixel
    mean = np.round((mean + to_unit(mirror(in_pixels, 1), 1)) / 2, DECIMALS)
    points = tuple((float(x), float(y)) for x, y in mean[4:14].reshape(5, 2))
    box = (float(mean[0]), float(mean[1]), float(mean[2]), float(mean[3]))
    return AlignmentTemplate(
        points=points, box=box, fitted_on=fitted_on, residual=round(residual(faces, points), DECIMALS)
    )


def residual(faces: Faces, points: tuple[tuple[float, float], ...]) -> float:
    """Root mean square distance of points from the template once each face is aligned to it, in crop widths."""
    target = np.asarray(points)
    squares = []
    for face in faces:
        source = face[4:14].reshape(5, 2)
        matrix = similarity(source, target)
        squares.append(((source @ matrix[:, :2].T + matrix[:, 2] - target) ** 2).sum(1))
    return float(np.sqrt(np.mean(squares)))


def mean_shift(faces: Faces, points: tuple[tuple[float, float], ...]) -> float:
    """Distance of the mean points, not aligned, from the template, in crop widths: whether both lie alike."""
    shift = faces[:, 4:14].mean(0).reshape(5, 2) - np.asarray(points)
    return float(np.linalg.norm(shift, axis=1).mean())


def mirror(face: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """A face (15,) as it is in the mirrored picture of that width, left and right exchanged."""
    box, points = face[:4].reshape(2, 2).copy(), face[4:14].reshape(5, 2)[list(MIRRORED)]
    box[:, 0] = width - box[::-1, 0]
    points[:, 0] = width - 1 - points[:, 0]
    return np.concatenate([box.ravel(), points.ravel(), face[14:]])
