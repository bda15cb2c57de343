"""Rows ``strata``, ``size`` and ``grey``: for whom, and in which pictures, a network is better or worse."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import Sample
from fpan_training.evaluate.confusion import Confusion, Scores, mean_of_known
from fpan_training.evaluate.quality.network import Image, parse
from fpan_training.evaluate.quality.pictures import PictureSet
from fpan_training.evaluate.quality.results import Figure, RowResult, figures_of
from fpan_training.evaluate.quality.row import Subject
from fpan_training.evaluate.quality.tone import TONES, tone_of, typology_angle
from fpan_training.evaluate.strata import YAW_EDGES, strata
from fpan_training.landmarks.store import FaceStore
from fpan_training.landmarks.teacher import Teacher, task_bytes
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

CORE = ("skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "u_lip", "l_lip", "hair", "neck")
"""Parts that nearly every picture shows. Means over all classes are not comparable between strata: a class that is in
one picture of a stratum weighs as much as the skin."""
_CORE = [TAXONOMY.id_of(name) for name in CORE]
SIZES = (128, 64, 32)
"""Sides of the face's frame in pixels; the face itself is about 0.7 of it high."""
ALL = "all"
"""The stratum of all pictures."""
_NO_YAW = "not found"


@dataclass(frozen=True)
class ByStratum:
    """Figures of all pictures (``all/...``), by skin tone (``tone/NAME/...``) and by yaw (``yaw/NAME/...``), each with
    the number of its pictures.

    The tone is that of the pixels labelled skin (see :mod:`fpan_training.evaluate.quality.tone`); yaw is what the
    landmark teacher says.
    """

    name: ClassVar[str] = "strata"
    definition: ClassVar[int] = 1
    pictures: PictureSet
    faces: Path
    """Store of landmarks; what is not in it is added."""

    def __call__(self, subject: Subject) -> RowResult:
        """Measures it."""
        confusion, store = Confusion(CELEBA19_CLASSES, subject.network.taxonomy.ignore), FaceStore(self.faces)
        tones, yaws, teacher = [], [], Teacher(task_bytes(None))
        for sample in self.pictures.tracked(self.name):
            confusion.add(sample.labels, parse(subject.network, sample.image).labels)
            tones.append(tone_of(typology_angle(sample.image, sample.labels == TAXONOMY.id_of("skin"))))
            if not store.path(sample.name).is_file():
                store.put(sample.name, teacher(sample.image))
            record = store.get(sample.name)
            yaws.append(float("nan") if record is None else abs(float(record.angles[0])))
        figures = _stratum(ALL, confusion)
        for tone in (*(name for name, _ in TONES), "unknown"):
            inside = np.array([each == tone for each in tones])
            figures |= _stratum(f"tone/{tone}", confusion.of_pictures(inside))
        for stratum in strata(confusion, yaws, YAW_EDGES, "°"):
            figures |= _stratum(f"yaw/{stratum.name}", stratum.confusion)
        figures |= _stratum(f"yaw/{_NO_YAW}", confusion.of_pictures(np.isnan(yaws)))
        return self.pictures.result(self.definition, figures)


@dataclass(frozen=True)
class Size:
    """Figures of small faces: each picture is shrunk by area to :data:`SIZES`; what the network says of the small one
    is compared at the labels' own size.
    """

    name: ClassVar[str] = "size"
    definition: ClassVar[int] = 1
    pictures: PictureSet

    def __call__(self, subject: Subject) -> RowResult:
        """Measures it."""
        figures: dict[str, Figure] = {}
        for side in SIZES:
            counts = self._confusion(subject, side)
            figures |= _stratum(f"{side}", counts)
            if side == SIZES[-1]:
                subject.draw(self.name, self.pictures, [1 - Scores.of(matrix).accuracy for matrix in counts.matrices])
        return self.pictures.result(self.definition, figures)

    def _confusion(self, subject: Subject, side: int) -> Confusion:
        def said(sample: Sample) -> NDArray[np.uint8]:
            height, width = sample.labels.shape
            small = cv2.resize(sample.image, (side, side), interpolation=cv2.INTER_AREA)
            x, y = side / width, side / height
            to_small = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])
            return parse(subject.network, np.asarray(small, np.uint8)).labels_in(to_small, (height, width))

        return _counted(subject, self.pictures, f"{self.name} {side}", said)


@dataclass(frozen=True)
class Grey:
    """Figures of the same pictures without their colours: ``grey/...``."""

    name: ClassVar[str] = "grey"
    definition: ClassVar[int] = 1
    pictures: PictureSet

    def __call__(self, subject: Subject) -> RowResult:
        """Measures it."""

        def said(sample: Sample) -> NDArray[np.uint8]:
            return parse(subject.network, greyed(sample.image)).labels

        counts = _counted(subject, self.pictures, self.name, said)
        return self.pictures.result(self.definition, _stratum("grey", counts))


def greyed(image: Image) -> Image:
    """A picture, RGB uint8 (H, W, 3), without its colours."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def _counted(
    subject: Subject, pictures: PictureSet, title: str, said: Callable[[Sample], NDArray[np.uint8]]
) -> Confusion:
    confusion = Confusion(CELEBA19_CLASSES, subject.network.taxonomy.ignore)
    for sample in pictures.tracked(title):
        confusion.add(sample.labels, said(sample))
    return confusion


def _stratum(name: str, confusion: Confusion) -> dict[str, Figure]:
    """Number of pictures, mean F1 over :data:`CORE` and over all 18 classes; nothing where there is no picture."""
    if not confusion.matrices:
        return {}
    found = figures_of(_means(confusion.scores()), confusion.intervals(figures=_means))
    told = {f"{name}/{figure}": value for figure, value in found.items()}
    return {f"{name}/pictures": Figure(len(confusion.matrices))} | told


def _means(scores: Scores) -> dict[str, float]:
    return {"core_f1": mean_of_known(scores.f1[_CORE]), "mean_f1": scores.mean_f1}


def names_of(figures: Sequence[str], kind: str) -> list[str]:
    """The strata of a kind among the names of figures, in order."""
    return list(dict.fromkeys(name.split("/")[1] for name in figures if name.startswith(f"{kind}/")))
