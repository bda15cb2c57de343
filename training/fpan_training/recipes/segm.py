"""SEGM trained in phases of rising resolution: most is learnt of small pictures, which cost a quarter or a ninth."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from fpan_training.data.augment import AugmentConfig
from fpan_training.engine.settings import LoopConfig
from fpan_training.engine.stages import Stage
from fpan_training.modules.segm.loss import LossConfig
from fpan_training.modules.segm.model import SegmConfig
from fpan_training.modules.segm.settings import SegmSettings
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.recipes.context import Context
from fpan_training.recipes.data import LICENCES, UNLABELLED_SHARE, TrainingSets

CLASS_WEIGHTS = (1.0, 1.0, 1.0, 1.5, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0, 1.2, 1.2, 1.2, 1.0, 1.5, 2.0, 4.0, 1.0, 1.0, 1.5)
"""Rare and small classes weigh more: glasses, eyes, brows, mouth, hats, earrings, necklaces, occlusion."""
AUGMENT = AugmentConfig(p_context=0.25, p_large_rotation=0.1)
"""A quarter of the pictures are shown as a crop of about twice the width shows them: the service cuts both."""
FAULTY = Path(__file__).with_name("faulty_labels_celeba.json")
"""Hands and microphones painted as skin, and the like, in the fully labelled faces: listed by `fpan-train audit`,
confirmed by eye."""
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
    teacher: bool = False
    """Whether it learns from soft labels too, and so from pictures without any other."""
    soft: float = 0.5
    """Share of the soft labels in the cross-entropy."""
    epoch_pictures: int = 4500
    """Pictures of an epoch: about 5 minutes at 256 pixels on two cores for a network of 1 GMAC."""
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(ema_decay=0.998, validate_every=4, workers=0, devices=2, accelerator="cpu")
    )
    """Two processes of one thread each: on two cores half as fast again as one of two threads."""
    rare: float = RARE

    paste: bool = True
    """Whether worn things are put on faces."""

    def run(self, context: Context) -> Path:
        """Folder of the last phase's run."""
        return context.run / self._name(self.phases[-1])

    def stages(self, context: Context) -> Iterator[Stage]:
        """A stage for each phase, which starts from the best weights of the one before."""
        before: Path | None = None
        for phase in self.phases:
            about = f"{self.name} at {phase.size} pixels, {phase.epochs} x {self.epoch_pictures} pictures"
            training = self._training(context, phase, before)
            yield Stage(self._name(phase), about, training, training.settings.loop.devices)
            before = context.run / self._name(phase) / "best.pt"

    def _name(self, phase: Phase) -> str:
        return f"{self.name}-{phase.size}"

    def _training(self, context: Context, phase: Phase, start: Path | None) -> SegmTraining:
        sets = TrainingSets.of(context)
        extra, shares = (sets.wild, sets.wild_shares) if phase.wild else ((), ())
        if self.teacher:
            extra, shares = (*extra, sets.unlabelled), (*shares, UNLABELLED_SHARE)
        used = {folder.name for folder in (sets.full, *extra, sets.backgrounds, sets.occluders) if folder is not None}
        loop = replace(self.loop, epochs=phase.epochs, lr=phase.lr, batch_size=phase.batch_size)
        return SegmTraining(
            (sets.full, *extra),
            context.run / self._name(phase),
            seed=context.seed,
            backgrounds=sets.backgrounds,
            occluders=sets.occluders,
            parts=part_bank(context) if self.paste else None,
            licences={name: terms for name, terms in LICENCES.items() if name in used},
            share=shares,
            epoch_pictures=self.epoch_pictures,
            ignore_list=() if context.data_root is None else (FAULTY,),
            decoded_side=0 if context.data_root is None else phase.size * 3 // 2,
            start_from=start,
            soft=soft_labels(context) if self.teacher else None,
            settings=SegmSettings(
                segm=replace(self.network, input_size=phase.size),
                augment=AUGMENT,
                loss=LossConfig(class_weights=CLASS_WEIGHTS, soft=self.soft, thin=2),
                loop=loop,
                rare=self.rare,
            ),
        )


def part_bank(context: Context) -> Path:
    """File of the worn things that are cut out of a run's labelled pictures."""
    return context.run / "data" / "parts.npz"


def soft_labels(context: Context) -> Path:
    """Folder of what a run's teacher says of each data set."""
    return context.run / "soft"
