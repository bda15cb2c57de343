"""`fpan-train predictions`: what LOM and PPM say of every picture, for the pixel weights of SEGM's loss (Eq. 2)."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError, read_rgb
from fpan_training.engine.progress import track
from fpan_training.files import write_whole
from fpan_training.landmarks import POINTS, FaceStore
from fpan_training.landmarks.build import list_images
from fpan_training.paper.routing.modules import load_lom, load_ppm
from fpan_training.paper.routing.protocols import LandmarkModel, PoseModel

_SHAPES: dict[str, tuple[int, ...]] = {"points": (POINTS, 2), "visibility": (POINTS,), "angles": (3,)}


@dataclass(frozen=True)
class FacePrediction:
    """What LOM and PPM say of a picture."""

    points: NDArray[np.float32]
    """float32 (264, 2): landmarks in the picture's pixels."""
    visibility: NDArray[np.float32]
    """float32 (264,): probability that each is visible."""
    angles: NDArray[np.float32]
    """float32 (3,): yaw, pitch and roll in degrees."""


@dataclass(frozen=True)
class PredictionStore:
    """A folder of predictions, ``NAME.npz`` each."""

    folder: Path

    def get(self, name: str) -> FacePrediction | None:
        """The prediction to a picture; None where there is none, which is so where no face was found.

        Raises:
            DataError: the file is there and not readable.
        """
        path = self.path(name)
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as content:
                values = {key: content[key] for key in _SHAPES}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{path} is no prediction: delete it and run `fpan-train predictions` again") from error
        for key, shape in _SHAPES.items():
            if values[key].shape != shape:
                raise DataError(f"{path}: {key} is {values[key].shape}, not {shape}: make the predictions again")
        return FacePrediction(**values)

    def put(self, name: str, prediction: FacePrediction) -> None:
        """Writes an prediction, whole or not at all."""
        file = BytesIO()
        np.savez(file, points=prediction.points, visibility=prediction.visibility, angles=prediction.angles)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.path(name), file.getvalue())

    def path(self, name: str) -> Path:
        """Where the prediction to a picture is kept."""
        return self.folder / f"{name}.npz"


@dataclass(frozen=True)
class PredictionsBuild:
    """Asks LOM and PPM about every picture of a folder and keeps what they say. Run it again and it does the rest."""

    data: Path
    """Data set or plain folder of pictures."""
    faces: Path
    """Its store of `fpan-train landmarks`: where the faces are."""
    lom: Path
    """Checkpoint of LOM."""
    ppm: Path
    """Checkpoint of PPM."""
    out: Path
    """Folder to write: a file for each picture with a face."""

    def __call__(self) -> PredictionStore:
        """Fills the folder and says how many pictures have a face."""
        store, pictures = PredictionStore(self.out), list_images(self.data)
        ask_all(pictures, FaceStore(self.faces), load_lom(self.lom), load_ppm(self.ppm), store)
        answered = sum(store.path(path.stem).is_file() for path in pictures)
        print(f"{self.out}: {len(pictures)} pictures, {answered} with a face")
        return store


def ask_all(pictures: list[Path], faces: FaceStore, lom: LandmarkModel, ppm: PoseModel, store: PredictionStore) -> None:
    """Fills a store with the predictions that it does not have; pictures without a face get none."""
    for path in track([path for path in pictures if not store.path(path.stem).is_file()], "predictions"):
        record = faces.get(path.stem)
        if record is None:
            continue
        image = read_rgb(path)
        prediction = lom(image, record.points264)
        # About LOM's own landmarks, which are what there is when no teacher is.
        store.put(path.stem, FacePrediction(prediction.points, prediction.visibility, ppm(image, prediction.points)))
