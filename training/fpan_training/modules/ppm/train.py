"""`fpan-train train ppm`: trains the head pose network on faces whose pose is known."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import torch
import tyro
from torch import nn

from fpan_training.data.check import check_labelled
from fpan_training.engine.plots import Curves
from fpan_training.engine.run import Run
from fpan_training.modules.ppm.data import PoseData, PosedFace, collate, repeat_by_yaw
from fpan_training.modules.ppm.evaluate import validate
from fpan_training.modules.ppm.model import AXES, PoseNetwork
from fpan_training.modules.ppm.settings import PRESETS, PpmSettings
from fpan_training.modules.ppm.sources import LabelSource, from_posed, from_store
from fpan_training.modules.ppm.step import PoseStep
from fpan_training.modules.training import CONTACT_SHEET, Training


@dataclass(frozen=True)
class PpmTraining(Training):
    """Trains PPM, the head's pose of a face crop. Run it again with the same folder and it goes on where it stopped."""

    data: tuple[Path, ...]
    """Data sets, of which ``train`` is learnt from, or plain folders of pictures; the first one's ``val`` is validated
    on."""
    settings: Annotated[PpmSettings, tyro.conf.arg(name="")] = field(default_factory=PpmSettings)
    posed: Path | None = None
    """Folder of renders at large poses: ``images/`` and ``landmarks/NAME.json`` with points and angles."""
    labels: LabelSource = "teacher"
    """Whose angles are learnt: the landmark teacher's mesh, or the 3D face fitted to it."""

    presets: ClassVar = PRESETS
    curves: ClassVar = Curves(figures={f"mae_{axis}": axis for axis in AXES}, unit="val MAE, degrees", logarithmic=True)

    def __call__(self) -> Run:
        """Trains to the end and returns the run."""
        check_labelled(*self.data)
        settings, faces = self.settings, list[PosedFace]()
        for folder in self.data:
            faces += from_store(folder, "train", self.store(folder), self.labels).faces
        if self.posed is not None:
            faces += from_posed(self.posed).faces
        val = from_store(self.data[0], "val", self.store(self.data[0]), self.labels)
        self.begin(faces_seen=len(faces))
        train = PoseData(faces, settings.ppm, settings.augment, self.seed, repeat_by_yaw(faces, settings.rare))
        torch.manual_seed(self.seed)
        network, step = PoseNetwork(settings.ppm), PoseStep(settings.loss)

        def check(average: nn.Module) -> dict[str, float]:
            return validate(average, step, val, settings.ppm, self.run / CONTACT_SHEET)

        return self.train("loop", network, step, train, check, collate, {"ppm": asdict(settings.ppm)})
