"""`fpan-train train dom`: trains the de-occlusion module on aligned faces, in the two stages of Zhao et al."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar

import torch
import tyro
from torch import nn
from torch.utils.data import DataLoader

from fpan_training.data.assets import Assets, Split
from fpan_training.data.check import check
from fpan_training.data.folder import DataError
from fpan_training.engine.plots import Curves
from fpan_training.engine.run import Run
from fpan_training.landmarks.store import FaceStore
from fpan_training.modules.dom.data import Faces, Occlude, OcclusionData, collate
from fpan_training.modules.dom.evaluate import draw_faces, validate
from fpan_training.modules.dom.model import DomNetwork
from fpan_training.modules.dom.settings import PRESETS, DomSettings
from fpan_training.modules.dom.step import DomStep, mean_face
from fpan_training.modules.lom.clean import CLEAN_FILE, CleanConfig, CleanFaces
from fpan_training.modules.training import CONTACT_SHEET, CoveredTraining
from fpan_training.occlusion.generator import OcclusionConfig, OcclusionGenerator
from fpan_training.taxonomy import TAXONOMY

VAL_SEED = 20_17
"""Of the occlusions on the validation pictures: the same in every run, whatever the run's own seed."""


@dataclass(frozen=True)
class DomTraining(CoveredTraining):
    """Trains DOM: first the reconstruction, then both channels (Eq. 1). Run it again with the same run folder and it
    goes on where it stopped.
    """

    data: tuple[Path, ...]
    """Folders of aligned square faces; ``split.json`` and ``masks/`` are used where there are any. One at least has a
    split ``val``."""
    settings: Annotated[DomSettings, tyro.conf.arg(name="")] = field(default_factory=DomSettings)
    clean: Annotated[CleanConfig, tyro.conf.arg(name="")] = field(default_factory=CleanConfig)
    """Which faces are clean, where labels cannot tell; others are left out."""

    presets: ClassVar = PRESETS
    stages: ClassVar = ("stage1", "stage2")
    curves: ClassVar = Curves(figures={"psnr": "val PSNR inside"}, unit="dB")

    def __call__(self) -> Run:
        """Trains both stages to the end and returns the second's run."""
        check(*(folder for folder in self.data if (folder / "masks").is_dir()))
        return self.fit(*(generator(self.settings.occlusion, self.backgrounds, self.occluders, s) for s in _SPLITS))

    def fit(self, occlude: Occlude, occlude_val: Occlude) -> Run:
        """The same with data that have been checked, and occluders that are at hand. Stage 2 begins with the best
        weights of stage 1, which is left out where it has begun.

        Raises:
            DataError: there is nothing to train on, or nothing to validate on.
        """
        settings = self.settings
        stores, size = stores_of(self.faces, self.data), settings.rla.size
        clean = CleanFaces(self.clean, self.run / CLEAN_FILE)
        faces, val_faces = (Faces.open(self.data, split, size, stores, clean) for split in _SPLITS)
        train = OcclusionData(faces, size, occlude, TAXONOMY, settings.crop, self.seed)
        val = OcclusionData(val_faces, size, occlude_val, TAXONOMY, seed=VAL_SEED)
        if len(faces) < settings.stage1.batch_size:
            raise DataError(f"{len(faces)} pictures do not fill a batch of {settings.stage1.batch_size}: add folders")
        self.begin(faces_seen=len(faces))
        torch.manual_seed(self.seed)
        network = DomNetwork(settings.rla)
        network.rla.face.start_at(mean_face(faces.images, settings.rla))
        if not self.begun("stage2"):
            # What stage 1 has no loss for is left out of it wholly: decay would shrink it, and gradients are waited for
            # where several processes train.
            for parameter in network.head_parameters():
                parameter.requires_grad_(False)
            first = self._stage("stage1", network, train, val)
            for parameter in network.head_parameters():
                parameter.requires_grad_(True)
            network.load_state_dict(torch.load(first.best, map_location="cpu", weights_only=True)["network"])
        return self._stage("stage2", network, replace(train, seed=self.seed + 1), val)

    def _stage(self, stage: str, network: DomNetwork, train: OcclusionData, val: OcclusionData) -> Run:
        settings = self.settings
        step = DomStep(settings.rla.channels, stage == "stage2", settings.loss)
        batches = DataLoader(val, settings.stage1.batch_size, collate_fn=collate)

        def check(average: nn.Module) -> dict[str, float]:
            shown = list(batches)
            draw_faces(average, step, shown, self.folder(stage) / CONTACT_SHEET)
            return validate(average, step, shown)

        return self.train(stage, network, step, train, check, collate, {"dom": asdict(settings.rla)})


_SPLITS: tuple[Split, Split] = ("train", "val")


def stores_of(faces: Path | None, data: Sequence[Path]) -> list[FaceStore | None]:
    """The landmark stores of data sets: folders of the same names in ``faces``; None where there is none."""
    return [FaceStore(faces / d.name) if faces is not None and (faces / d.name).is_dir() else None for d in data]


def generator(
    config: OcclusionConfig, backgrounds: Path | None, occluders: Path | None, split: Split
) -> OcclusionGenerator:
    """The occlusion generator with the occluders of a split."""
    return OcclusionGenerator(config, Assets.open(backgrounds, occluders, split), TAXONOMY)
