"""`fpan-train train lom`: trains the landmark and occlusion network in its two stages."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from torch import nn

from fpan_training.data.assets import Split
from fpan_training.data.check import check
from fpan_training.data.folder import DataError
from fpan_training.data.mixture import pictures_of_an_epoch
from fpan_training.engine.plots import Curves
from fpan_training.engine.run import Run
from fpan_training.modules.lom.clean import CLEAN_FILE, CleanConfig, CleanFaces
from fpan_training.modules.lom.data import (
    LomAugmentConfig,
    LomData,
    MarkedFace,
    Occluder,
    class_flags,
    collate,
    mean_shape,
)
from fpan_training.modules.lom.evaluate import validate_landmarks, validate_visibility
from fpan_training.modules.lom.loss import class_rarity
from fpan_training.modules.lom.model import Lom
from fpan_training.modules.lom.occluders import open_occluder
from fpan_training.modules.lom.settings import PRESETS, LomSettings
from fpan_training.modules.lom.step import LomStep
from fpan_training.modules.training import CONTACT_SHEET, CoveredTraining

_FIRST_WEIGHTS = 0.01
"""Of the landmarks' layer, against its usual ones: the network starts from the mean face."""


@dataclass(frozen=True)
class LomTraining(CoveredTraining):
    """Trains LOM: first the landmarks, then, with these frozen, their visibility. Run it again with the same folder and
    it goes on where it stopped.
    """

    data: tuple[Path, ...]
    """Data sets, of which ``train`` is learnt from and whose masks may tell any classes apart, or plain folders of
    pictures; the first one's ``val`` is validated on."""
    settings: Annotated[LomSettings, tyro.conf.arg(name="")] = field(default_factory=LomSettings)
    share: tuple[float, ...] = ()
    """What part of an epoch's faces each data set after the first makes up; empty: every face once."""
    epoch_pictures: int = 0
    """Faces of an epoch; 0: every face of the first data set once."""
    clean: Annotated[CleanConfig, tyro.conf.arg(name="")] = field(default_factory=CleanConfig)
    """Which faces teach that landmarks are visible; all teach where landmarks are."""

    presets: ClassVar = PRESETS
    stages: ClassVar = ("landmarks", "visibility")
    curves: ClassVar = Curves(figures={"nme": "val NME", "auc": "val AUC", "f1": "val F1"}, logarithmic=True)

    def __call__(self) -> Run:
        """Trains both stages to the end and returns the second's run.

        Raises:
            DataError: something is wrong with the data, or nobody tells of any face that nothing covers it.
            ValueError: shares that do not fit the data sets.
        """
        check(*(folder for folder in self.data if (folder / "masks").is_dir()))
        clean = CleanFaces(self.clean, self.run / CLEAN_FILE)
        sets = [clean.faces(folder, "train", self.store(folder)) for folder in self.data]
        val = clean.faces(self.data[0], "val", self.store(self.data[0]))
        faces = [face for part in sets for face in part]
        for part, name in ((faces, "train"), (val, "val")):
            if all(face.covered is None for face in part):
                raise DataError(
                    f"nobody tells which faces of {name} are clean, so that none teaches which landmarks are visible: "
                    "name a LOM with --clean-by, data sets with --clean-data, or pictures with --clean-list"
                )
        counts = [len(part) for part in sets]
        wanted = pictures_of_an_epoch(counts, self.share, self.epoch_pictures)
        repeats = np.repeat(np.array(wanted) / counts, counts)
        self.begin(faces_seen=len(faces))
        return self.fit(
            faces,
            val,
            lambda split: open_occluder(self.backgrounds, self.occluders, split),
            None if (repeats == 1).all() else repeats,
        )

    def fit(
        self,
        faces: list[MarkedFace],
        val: tuple[MarkedFace, ...],
        occluder: Callable[[Split], Occluder],
        repeats: NDArray[np.float64] | None = None,
    ) -> Run:
        """The same with faces and occluders that are at hand; the first stage is left out where the second has begun.

        Args:
            faces: to learn from.
            val: to choose by: stage 1 by NME, stage 2 by the AUC of covered landmarks.
            occluder: makes the generator for ``train`` and ``val``.
            repeats: how often each face comes in an epoch, float (faces,); None: each once. Stage 2 leaves out those
                whose visibility nobody tells.
        """
        settings, margin = self.settings, self.settings.lom.margin
        torch.manual_seed(self.seed)
        network = Lom(settings.lom)
        start_from_mean(network, mean_shape(faces, margin))
        training, measuring = occluder("train"), occluder("val")
        clean, covered = LomData(val, margin), LomData(val, margin, measuring)
        describe = {"lom": asdict(settings.lom)}

        def data(used: Sequence[int], augment: LomAugmentConfig) -> LomData:
            often = None if repeats is None else repeats[used]
            return LomData([faces[i] for i in used], margin, training, augment, self.seed, often)

        def by_nme(average: nn.Module) -> dict[str, float]:
            return validate_landmarks(average, clean, self.folder("landmarks") / CONTACT_SHEET)

        def by_auc(average: nn.Module) -> dict[str, float]:
            return validate_visibility(average, covered, self.folder("visibility") / CONTACT_SHEET)

        if not self.begun("visibility"):
            rarity = class_rarity(class_flags(faces, settings.augment.p_occluded), settings.loss)
            step = LomStep("landmarks", settings.loss, rarity)
            every = data(range(len(faces)), settings.augment)
            first = self.train("landmarks", network, step, every, by_nme, collate, describe)
            network.load_state_dict(torch.load(first.best, map_location="cpu", weights_only=True)["network"])
        network.freeze_landmarks()
        told = [i for i, face in enumerate(faces) if face.covered is not None]
        second = data(told, replace(settings.augment, p_occluded=settings.p_occluded))
        step = LomStep("visibility", settings.loss)
        return self.train("visibility", network, step, second, by_auc, collate, describe)


def start_from_mean(network: Lom, shape: NDArray[np.float32]) -> None:
    """Makes an untrained network say the mean landmarks, float32 (264, 2) in shares of the crop's side."""
    with torch.no_grad():
        network.landmarks.weight.mul_(_FIRST_WEIGHTS)
        network.landmarks.bias.copy_(torch.from_numpy(shape).flatten())
