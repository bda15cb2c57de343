"""`fpan-train segm`: trains a segmentation network on a folder of labelled faces."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from fpan_training import plots
from fpan_training.data import Augment, AugmentConfig, FaceFolder, SegmentationData, collate
from fpan_training.data.assets import Assets
from fpan_training.data.loader import repeat_factors
from fpan_training.evaluate import Confusion
from fpan_training.loop import LoopConfig, Run, fit
from fpan_training.segm.loss import LossConfig
from fpan_training.segm.model import SegmConfig, build
from fpan_training.segm.step import SegmStep
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY


@dataclass(frozen=True)
class SegmTraining:
    """Trains SEGM. Run it again with the same run folder and it goes on where it stopped."""

    data: Path
    """Folder of aligned faces: ``images/``, ``masks/``, ``split.json`` with ``train`` and ``val``."""
    run: Path
    """Folder of the run: checkpoints, log, curve and contact sheet."""
    backgrounds: Path | None = None
    """Folder of pictures that replace the background."""
    occluders: Path | None = None
    """Folder of cut-outs with alpha that are pasted over faces and labelled ``occlusion``."""
    start_from: Path | None = None
    """Checkpoint whose weights a new run starts from."""
    labelled_classes: int = CELEBA19_CLASSES
    """Classes that the masks tell apart: ids 0 to one less. Validation counts those."""
    rare: float = 0.0
    """Pictures of a class that fewer than this share of the pictures show come more often; 0: each comes once."""
    segm: SegmConfig = field(default_factory=SegmConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __call__(self) -> Run:
        """Trains to the end and returns the run."""
        size = self.segm.input_size
        assets = Assets.open(self.backgrounds, self.occluders)
        augment = Augment(TAXONOMY, size, self.augment, assets)
        folder = FaceFolder.open(self.data, "train")
        repeats = repeat_factors(folder, self.rare, self.labelled_classes)
        train = SegmentationData(folder, size, augment, self.loop.seed, repeats)
        val = SegmentationData(FaceFolder.open(self.data, "val"), size)
        torch.manual_seed(self.loop.seed)
        network = build(self.segm)
        if self.start_from is not None:
            network.load_state_dict(torch.load(self.start_from, map_location="cpu", weights_only=True)["network"])
        run = Run(self.run)
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "config.json").write_text(json.dumps(asdict(self), indent=2, default=_name) + "\n")
        if self.loss.class_weights and len(self.loss.class_weights) != self.segm.classes:
            raise ValueError(f"{len(self.loss.class_weights)} class weights for {self.segm.classes} classes")
        step = SegmStep(TAXONOMY, self.loss)

        def validate(average: nn.Module) -> dict[str, float]:
            plots.curve(run.history, run.folder / "curve.png")
            return validate_segm(average, step, val, self.labelled_classes, run.folder / "contact.png")

        describe = {"segm": asdict(self.segm)}
        return fit(network, step, train, validate, run, self.loop, collate, describe)


def validate_segm(
    network: nn.Module, step: SegmStep, val: SegmentationData, classes: int, sheet: Path | None, batch_size: int = 8
) -> dict[str, float]:
    """Scores, mIoU and mean F1, on the validation pictures; their mean is the score. Draws a contact sheet."""
    confusion = Confusion(classes, TAXONOMY.ignore)
    rows = []
    with torch.inference_mode():
        for images, labels in DataLoader(val, batch_size, collate_fn=collate):
            predicted = step.validate(network, (images, labels), confusion)
            rows += list(zip(images.numpy(), labels.numpy(), predicted.numpy(), strict=True))
    if sheet is not None:
        plots.contact_sheet(rows[:: max(1, len(rows) // 12)][:12], TAXONOMY, sheet)
    scores = confusion.scores()
    # Without the classes that no picture has: NaN is no JSON.
    known = [(c, float(f)) for c, f in zip(TAXONOMY.classes, scores.f1, strict=False) if not np.isnan(f)]
    named = {f"f1/{c.name}": f for c, f in known}
    return {"score": (scores.miou + scores.mean_f1) / 2, "miou": scores.miou, "mean_f1": scores.mean_f1, **named}


def _name(path: Path) -> str:
    """Folders are written by their last name: where they lie on one machine is of no use on another."""
    return path.name
