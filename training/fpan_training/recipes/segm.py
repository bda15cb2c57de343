"""SEGM trained in phases of rising resolution: most is learnt of small pictures, which cost a quarter or a ninth."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from fpan_training.data.augment import AugmentConfig
from fpan_training.engine.loop import LoopConfig
from fpan_training.engine.stages import Stage
from fpan_training.modules.segm.loss import LossConfig
from fpan_training.modules.segm.model import SegmConfig
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.recipes.data import Prepared

CLASS_WEIGHTS = (1.0, 1.0, 1.0, 1.5, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0, 1.2, 1.2, 1.2, 1.0, 1.5, 2.0, 4.0, 1.0, 1.0, 1.5)
"""Rare and small classes weigh more: glasses, eyes, brows, mouth, hats, earrings, necklaces, occlusion."""
AUGMENT = AugmentConfig(p_context=0.25, p_large_rotation=0.1)
"""A quarter of the pictures are shown as a crop of about twice the width shows them: the service cuts both."""
RARE = 0.25
"""Pictures that show glasses, hats, earrings or necklaces come up to 2.5 times as often."""


@dataclass(frozen=True)
class Phase:
    """A training at one resolution; the weights go on to the next."""

    size: int
    """Side of the pictures in pixels."""
    epochs: int
    """Of :attr:`SegmSchedule.epoch_pictures` each."""
    lr: float
    """Highest learning rate, from which it falls to 0."""
    batch_size: int = 16
    wild: bool = True
    """Whether photos with partial labels take part."""


@dataclass(frozen=True)
class SegmSchedule:
    """All phases of a network."""

    name: str
    """Its folders in the run are ``NAME-SIZE``."""
    network: SegmConfig
    phases: tuple[Phase, ...]
    epoch_pictures: int = 4500
    """Pictures of an epoch: about 10 minutes at 256 pixels on two cores."""
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(ema_decay=0.998, validate_every=4, workers=0, devices=2, accelerator="cpu")
    )
    """Two processes of one thread each: on two cores half as fast again as one of two threads."""
    rare: float = RARE

    def best(self, run: Path) -> Path:
        """The best checkpoint of the last phase."""
        return run / self._name(self.phases[-1]) / "best.pt"

    def config(self) -> SegmConfig:
        """The network at the last phase's resolution."""
        return replace(self.network, input_size=self.phases[-1].size)

    def stages(self, run: Path, data: Prepared, seed: int) -> Iterator[Stage]:
        """A stage for each phase, which starts from the best weights of the one before."""
        before: Path | None = None
        for phase in self.phases:
            training = self._training(run / self._name(phase), phase, data, before, seed)
            about = f"{self.name} at {phase.size} pixels, {phase.epochs} x {self.epoch_pictures} pictures"
            yield Stage(self._name(phase), about, training)
            before = run / self._name(phase) / "best.pt"

    def _name(self, phase: Phase) -> str:
        return f"{self.name}-{phase.size}"

    def _training(self, run: Path, phase: Phase, data: Prepared, start: Path | None, seed: int) -> SegmTraining:
        loop = replace(self.loop, epochs=phase.epochs, lr=phase.lr, batch_size=phase.batch_size, seed=seed)
        return SegmTraining(
            data.merged,
            run,
            backgrounds=data.backgrounds,
            occluders=data.occluders,
            extra=data.wild if phase.wild else (),
            extra_share=data.shares if phase.wild else (),
            epoch_pictures=self.epoch_pictures,
            start_from=start,
            rare=self.rare,
            segm=replace(self.network, input_size=phase.size),
            augment=AUGMENT,
            loss=LossConfig(class_weights=CLASS_WEIGHTS, thin=2),
            loop=loop,
        )
