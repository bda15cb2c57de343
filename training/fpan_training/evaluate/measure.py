"""Everything that is counted of a network's predictions on a set of pictures, one row a picture, kept in one file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fpan.contract import Taxonomy
from numpy.typing import NDArray

from fpan_training.data.augment import resize_pair
from fpan_training.data.folder import DataError, FaceFolder
from fpan_training.engine.progress import track
from fpan_training.evaluate.boundary import BoundaryCounts
from fpan_training.evaluate.calibration import Calibration
from fpan_training.evaluate.confusion import Confusion
from fpan_training.evaluate.grouped import Grouping
from fpan_training.evaluate.strata import occluded_share
from fpan_training.files import write_whole


class Prediction(NamedTuple):
    """What a network says of a picture."""

    labels: NDArray[np.uint8]
    """uint8 (H, W)."""
    confidence: NDArray[np.float32]
    """Probability of the label, float (H, W)."""


Predictor = Callable[[NDArray[np.uint8]], Prediction]
"""A picture, RGB uint8 (H, W, 3), to what is said of it."""


@dataclass(frozen=True)
class Measured:
    """Counts of a set of pictures."""

    names: tuple[str, ...]
    """Of the pictures, in the order of all rows."""
    confusion: Confusion
    boundaries: BoundaryCounts
    calibration: Calibration
    occluded: NDArray[np.float64]
    """Share of each face that is hidden, float (pictures,); NaN where it is not known."""

    def save(self, path: Path) -> None:
        """Writes the counts, whole or not at all."""
        file = BytesIO()
        np.savez_compressed(
            file,
            names=np.array(self.names),
            confusion=np.array(self.confusion.matrices, np.int64),
            boundaries=np.array(self.boundaries.counts, np.int64),
            calibration=np.array(self.calibration.counts, np.int64),
            occluded=self.occluded,
            ignore=np.array(self.confusion.ignore),
        )
        write_whole(path, file.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Measured":
        """Reads what :meth:`save` wrote.

        Raises:
            DataError: it is not readable as such.
        """
        try:
            with np.load(path, allow_pickle=False) as content:
                confusion, boundaries = content["confusion"], content["boundaries"]
                classes, ignore = confusion.shape[1], int(content["ignore"])
                return cls(
                    tuple(content["names"].tolist()),
                    Confusion(classes, ignore, list(confusion)),
                    BoundaryCounts(classes, ignore, counts=list(boundaries)),
                    Calibration(ignore, list(content["calibration"])),
                    content["occluded"],
                )
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise DataError(f"{path} holds no counts: delete it and measure again ({error})") from error


def measure(
    prediction: Predictor,
    folder: FaceFolder,
    name: str,
    size: int,
    classes: int,
    taxonomy: Taxonomy,
    grouping: Grouping | None = None,
    hidden: Mapping[str, float] | None = None,
) -> Measured:
    """Counts a network's predictions against the truth, both at ``size`` pixels.

    Args:
        prediction: what is measured.
        folder: pictures with the truth.
        name: of the set, for the progress bar.
        size: side in pixels.
        classes: how many classes the truth tells apart, ids 0 to one less. What is predicted beyond them is wrong for
            the true class and a false alarm for none.
        taxonomy: of the predictions, and of the truth unless there is a ``grouping``.
        grouping: where the truth tells only groups of classes apart; ``classes`` is then their number.
        hidden: share of each face that is hidden, by picture, where that is known; None: what the labels say of it.
    """
    confusion, boundaries = Confusion(classes, taxonomy.ignore), BoundaryCounts(classes, taxonomy.ignore)
    calibration, occluded = Calibration(taxonomy.ignore), []
    for i in track(range(len(folder)), f"measuring on {name}"):
        sample = folder[i]
        image, truth = resize_pair(sample.image, sample.labels, size)
        said = prediction(image)
        labels = said.labels
        if hidden is not None:
            occluded.append(hidden[sample.name])
        else:
            occluded.append(occluded_share(truth, taxonomy) if grouping is None else float("nan"))
        if grouping is not None:
            truth = grouping.truth(truth)
            labels = grouping.predicted(labels, truth)
        confusion.add(truth, labels)
        boundaries.add(truth, labels)
        calibration.add(truth, labels, said.confidence)
    return Measured(folder.names, confusion, boundaries, calibration, np.array(occluded))
