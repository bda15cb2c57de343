"""`fpan-train train dom`: trains the de-occlusion module on aligned faces, in the two stages of Zhao et al."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from torch import nn
from torch.utils.data import DataLoader

from fpan_training.data.assets import Assets, Split
from fpan_training.data.check import check
from fpan_training.data.folder import DataError
from fpan_training.engine.loop import LoopConfig, Run, fit
from fpan_training.engine.resume_point import bring_resume_point
from fpan_training.landmarks.store import FaceStore
from fpan_training.modules.dom.data import CropConfig, Faces, Occlude, OcclusionData, collate
from fpan_training.modules.dom.loss import LossConfig
from fpan_training.modules.dom.model import RLA_PAPER, RLA_SMALL, RLA_SMOKE, DomNetwork, RlaConfig
from fpan_training.modules.dom.plots import curve, sheet
from fpan_training.modules.dom.step import DomStep, to_input, validate
from fpan_training.modules.lom.clean import CLEAN_FILE, CleanConfig, CleanFaces
from fpan_training.occlusion.generator import OcclusionConfig, OcclusionGenerator
from fpan_training.taxonomy import TAXONOMY

VAL_SEED = 20_17
"""Of the occlusions on the validation pictures: the same in every run, whatever the run's own seed."""
NO_GLASSES = OcclusionConfig(glasses=0.0)
"""In the taxonomy glasses are a part, not an occlusion, and many clean faces wear them: DOM leaves them on."""
_SHOWN = 12
"""Rows of the contact sheet."""

_CPU = LoopConfig(batch_size=64, lr=1e-3, weight_decay=1e-4, ema_decay=0.99, validate_every=3, clip_norm=1.0)


@dataclass(frozen=True)
class DomTraining:
    """Trains DOM: first the reconstruction, then both channels (Eq. 1). Run it again with the same run folder and it
    goes on where it stopped. The defaults are the preset ``cpu``: a quarter of an hour on two cores.
    """

    data: tuple[Path, ...]
    """Folders of aligned square faces; ``split.json`` and ``masks/`` are used where there are any. One at least has a
    split ``val``."""
    run: Path
    """Folder of the run; that of stage 1 is ``stage1`` inside."""
    backgrounds: Path | None = None
    """Folder of pictures that textures are taken from."""
    occluders: Path | None = None
    """Folder of cut-outs with alpha. Without one, occluders are drawn."""
    faces: Path | None = None
    """Folder of landmark stores, one a data set and of its name, as `fpan-train landmarks` makes them."""
    clean: Annotated[CleanConfig, tyro.conf.arg(name="")] = field(default_factory=CleanConfig)
    """Which faces are clean, where labels cannot tell; others are left out."""
    rla: RlaConfig = RLA_SMALL
    """The autoencoder."""
    occlusion: OcclusionConfig = NO_GLASSES
    """What covers the faces."""
    crop: CropConfig = field(default_factory=CropConfig)
    """How clean faces are moved."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Of stage 2."""
    stage1: LoopConfig = field(default_factory=lambda: replace(_CPU, epochs=20))
    """Reconstruction alone: mean squared error of the face."""
    stage2: LoopConfig = field(default_factory=lambda: replace(_CPU, epochs=18, lr=5e-4, head_lr=4.0))
    """Both channels; ``head_lr`` is of those that stage 1 leaves alone, the occlusion channel and the comparison."""
    resume_from: Path | None = None
    """A resume point (`fpan-train resume-point`) that a new run goes on from."""

    @classmethod
    def smoke(cls, data: tuple[Path, ...], run: Path) -> "DomTraining":
        """Seconds."""
        short = LoopConfig(epochs=3, batch_size=8, workers=0, precision="32-true", ema_decay=0.5, accelerator="cpu")
        return cls(data, run, rla=RLA_SMOKE, stage1=short, stage2=short)

    @classmethod
    def paper(cls, data: tuple[Path, ...], run: Path) -> "DomTraining":
        """Zhao et al.'s network, batch, rate (5e-6) and decay (1e-4); their 100,000 steps a stage are 12,500 epochs of
        2,048 pictures, given as such. Grey, so without use for SEGM.
        """
        long = LoopConfig(epochs=12_500, batch_size=256, lr=5e-6, weight_decay=1e-4, validate_every=50)
        return cls(data, run, rla=RLA_PAPER, loss=LossConfig(last=0.0, mask=0.0), stage1=long, stage2=long)

    def __call__(self) -> Run:
        """Trains both stages to the end and returns the second's run."""
        check(*(folder for folder in self.data if (folder / "masks").is_dir()))
        network, train, val = self.prepare(
            generator(self.occlusion, self.backgrounds, self.occluders, "train"),
            generator(self.occlusion, self.backgrounds, self.occluders, "val"),
        )
        return self.fit(network, train, val)

    def prepare(self, occlude: Occlude, occlude_val: Occlude) -> tuple[DomNetwork, OcclusionData, OcclusionData]:
        """The network with its readout at the mean face, and the two data sets.

        Raises:
            DataError: there is nothing to train on, or nothing to validate on.
        """
        stores = stores_of(self.faces, self.data)
        size = self.rla.size
        clean = CleanFaces(self.clean, self.run / CLEAN_FILE)
        faces = Faces.open(self.data, "train", size, stores, clean)
        train = OcclusionData(faces, size, occlude, TAXONOMY, self.crop, self.stage1.seed)
        val_faces = Faces.open(self.data, "val", size, stores, clean)
        val = OcclusionData(val_faces, size, occlude_val, TAXONOMY, seed=VAL_SEED)
        if len(faces) < self.stage1.batch_size:
            raise DataError(f"{len(faces)} pictures do not fill a batch of {self.stage1.batch_size}: add folders")
        torch.manual_seed(self.stage1.seed)
        network = DomNetwork(self.rla)
        network.rla.face.start_at(mean_face(faces, self.rla))
        return network, train, val

    def fit(self, network: DomNetwork, train: OcclusionData, val: OcclusionData) -> Run:
        """Stage 1, then stage 2 from its best weights; stage 2 alone where it has begun."""
        folders = {"stage1": self.run / "stage1", "stage2": self.run}
        bring_resume_point(self.resume_from, folders)
        self.run.mkdir(parents=True, exist_ok=True)
        (self.run / "config.json").write_text(json.dumps(asdict(self), indent=2, default=_name) + "\n")
        second = Run(folders["stage2"])
        if not second.begun:
            # What stage 1 has no loss for is left out of it wholly: decay would shrink it, and gradients are waited for
            # where several processes train.
            for parameter in network.head_parameters():
                parameter.requires_grad_(False)
            first = self._stage(network, train, val, Run(folders["stage1"]), self.stage1, joint=False)
            for parameter in network.head_parameters():
                parameter.requires_grad_(True)
            best = torch.load(first.best, map_location="cpu", weights_only=True)["network"]
            network.load_state_dict(best)
        return self._stage(network, replace(train, seed=self.stage2.seed + 1), val, second, self.stage2, joint=True)

    def _stage(
        self, network: DomNetwork, train: OcclusionData, val: OcclusionData, run: Run, loop: LoopConfig, *, joint: bool
    ) -> Run:
        step = DomStep(self.rla.channels, joint, self.loss)

        def check(average: nn.Module) -> dict[str, float]:
            curve(run.history, run.folder / "curve.png")
            batches = list(DataLoader(val, loop.batch_size, collate_fn=collate))
            sheet(average, step, batches, run.folder / "contact.png", _SHOWN)
            return validate(average, step, batches)

        describe = {"dom": asdict(self.rla), "stage": "stage2" if joint else "stage1"}
        done = fit(network, step, train, check, run, loop, collate, describe)
        curve(run.history, run.folder / "curve.png")
        return done


def stores_of(faces: Path | None, data: Sequence[Path]) -> list[FaceStore | None]:
    """The landmark stores of data sets: folders of the same names in ``faces``; None where there is none."""
    return [FaceStore(faces / d.name) if faces is not None and (faces / d.name).is_dir() else None for d in data]


def generator(
    config: OcclusionConfig, backgrounds: Path | None, occluders: Path | None, split: Split
) -> OcclusionGenerator:
    """The occlusion generator with the occluders of a split."""
    return OcclusionGenerator(config, Assets.open(backgrounds, occluders, split), TAXONOMY)


def mean_face(faces: Faces, config: RlaConfig) -> torch.Tensor:
    """The mean of the clean faces, float (C, size, size) in [0, 1]."""
    mean = faces.images.mean(0, dtype=np.float64)
    shrunk = mean.reshape(config.size, mean.shape[0] // config.size, config.size, -1, 3).mean((1, 3))
    return to_input(torch.from_numpy(shrunk)[None], config.channels)[0]


def load(checkpoint: Path) -> DomNetwork:
    """The network of a checkpoint, in evaluation mode.

    Raises:
        DataError: it is not DOM's.
    """
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if "dom" not in stored:
        raise DataError(f"{checkpoint} is no checkpoint of DOM: give the best.pt of `fpan-train train dom`")
    network = DomNetwork(RlaConfig(**stored["dom"]))
    network.load_state_dict(stored["network"])
    return network.eval()


def _name(path: Path) -> str:
    """Folders are written by their last name: where they lie on one machine is of no use on another."""
    return path.name
