"""`fpan-train finetune`: a registered version goes on learning, from few pictures of one's own."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from pydantic import TypeAdapter

from fpan_training.data.augment import AugmentConfig
from fpan_training.data.check import check
from fpan_training.data.folder import is_shards
from fpan_training.data.mixture import MixedData, Part
from fpan_training.data.split import SplitConfig, ensure_split
from fpan_training.engine.run import Run
from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.segm.checkpoint import load_network, read_config
from fpan_training.modules.segm.evaluate import validate
from fpan_training.modules.segm.keep import DistillConfig
from fpan_training.modules.segm.loss import LossConfig
from fpan_training.modules.segm.settings import SegmSettings
from fpan_training.modules.segm.start import take_start
from fpan_training.modules.segm.step import SegmStep
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

FEWEST = 50
"""Pictures, train and val together, below which no gain was measured."""
_PASSES, _AT_PICTURES = 20, 40
"""Passes over as many training pictures; with more pictures, passes fall with the root of their number."""
_FEWEST_PASSES = 4
REHEARSAL = 0.5
"""Share of an epoch's pictures that ``extra`` makes up together where no shares are given."""


@dataclass(frozen=True)
class Finetune:
    """Trains a registered version on labelled pictures of your own, 50 or more, without forgetting what their masks do
    not tell apart. Run it again with the same run folder and it goes on where it stopped.
    """

    data: str | Path
    """Your pictures: ``images/`` and ``masks/``, with ``dataset.json`` where the masks do not tell every class apart.
    Without ``split.json`` a fifth is drawn for validation, and the file is written."""
    run: Path
    """Folder of the run: checkpoints, log, curve and contact sheet."""
    version: Annotated[str, tyro.conf.arg(name="from")] = "champion"
    """Where to start: ``champion``, ``challenger``, ``shadow`` or the number of a version."""
    repository: str = "model_repository"
    """The model repository: a folder or ``s3://BUCKET/PREFIX``."""
    name: str = "segm"
    """Model in it."""
    extra: tuple[str, ...] = ()
    """Data sets to rehearse meanwhile, such as those that the version was made from."""
    extra_share: tuple[float, ...] = ()
    """What part of an epoch's pictures each of ``extra`` makes up; empty: half of it, in equal parts."""
    backgrounds: Path | None = None
    """Folder of pictures that replace the background."""
    occluders: Path | None = None
    """Folder of cut-outs with alpha that are pasted over faces and labelled ``occlusion``."""
    licences: dict[str, str] = field(default_factory=dict)
    """Terms of folders of pictures that do not say them in a ``dataset.json``, by the folders' names."""
    ignore_list: tuple[Path, ...] = ()
    """Lists of faulty labels in the form of `fpan-train audit`, as far as people agree."""
    keep: DistillConfig = field(default_factory=lambda: DistillConfig(weight=1.0, norms=True))
    split: SplitConfig = field(default_factory=SplitConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            epochs=0, batch_size=4, lr=2e-4, pretrained_lr=0.25, ema_decay=0.98, validate_every=4
        )
    )
    """Length and pace; 0 epochs: as many as suit the number of pictures."""
    seed: int = 0

    def __call__(self) -> Run:
        """Trains to the end, tells whether it was worth it, and returns the run.

        Raises:
            DataError: something is wrong with the data; all of it is named.
            RepositoryError: the version is missing, was changed, or has no checkpoint.
        """
        # Before the split is written: it would be one of pictures that cannot be used.
        check(self.data, *self.extra)
        if not is_shards(self.data):
            ensure_split(Path(self.data), self.split)
        training = self.training()
        began = self._score_of_start(training)
        run = training()
        best = run.best_row
        assert best is not None
        told = f"val score {began:.4f} at the start, {run.best_score:.4f} after epoch {best['epoch']:.0f}"
        print(told if run.best_score > began else f"{told}: this is no better, keep the version that it started from")
        return run

    def training(self) -> SegmTraining:
        """The training that this stands for, once the version has been copied into the run's folder."""
        train, val = (Part.open(self.data, split) for split in ("train", "val"))
        pictures = len(train.pictures) + len(val.pictures)
        if pictures < FEWEST:
            print(f"{pictures} pictures are few: a gain was measured from {FEWEST} on")
        start = take_start(self.repository, self.name, self.version, self.run)
        share = REHEARSAL / max(1, len(self.extra))
        plain = train.space.plain
        return SegmTraining(
            data=(self.data, *self.extra),
            run=self.run,
            seed=self.seed,
            backgrounds=self.backgrounds,
            occluders=self.occluders,
            licences=self.licences,
            share=self.extra_share or (share,) * len(self.extra),
            ignore_list=self.ignore_list,
            start_from=start.checkpoint,
            keep=self.keep,
            labelled_classes=len(train.space.declared) if plain else CELEBA19_CLASSES,
            settings=SegmSettings(
                segm=read_config(start.config["segm"]),
                augment=self.augment,
                loss=TypeAdapter(LossConfig).validate_python(start.config["loss"]),
                loop=replace(self.loop, epochs=self.loop.epochs or passes(len(train.pictures))),
            ),
        )

    def _score_of_start(self, training: SegmTraining) -> float:
        assert training.start_from is not None
        weights = torch.load(training.start_from, map_location="cpu", weights_only=True)["network"]
        network = load_network(training.settings.segm, weights)
        val = MixedData((Part.open(self.data, "val"),), training.settings.segm.input_size)
        return validate(network, SegmStep(TAXONOMY), val, training.labelled_classes, None)["score"]


def passes(pictures: int) -> int:
    """How often each training picture should come: 20 times with 40 pictures, 10 with 160, 4 with 1,000 or more."""
    return max(_FEWEST_PASSES, round(_PASSES * math.sqrt(_AT_PICTURES / pictures)))
