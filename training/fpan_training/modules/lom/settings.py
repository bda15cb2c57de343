"""Sizes and schedules of LOM's training."""

from dataclasses import dataclass, field, replace

from fpan_training.engine.loop import LoopConfig
from fpan_training.modules.lom.data import LomAugmentConfig
from fpan_training.modules.lom.loss import LomLossConfig
from fpan_training.modules.lom.model import LomConfig


@dataclass(frozen=True)
class LomSettings:
    """Everything about a training but its data."""

    lom: LomConfig = field(default_factory=LomConfig)
    loss: LomLossConfig = field(default_factory=LomLossConfig)
    augment: LomAugmentConfig = field(default_factory=LomAugmentConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Of stage 1, the landmarks."""
    visibility: LoopConfig = field(default_factory=LoopConfig)
    """Of stage 2."""
    p_occluded: float = 0.8
    """Probability in stage 2 that something is put in front of a face; ``augment`` has that of stage 1."""

    @classmethod
    def smoke(cls) -> "LomSettings":
        """Seconds: a quarter of the width."""
        loop = LoopConfig(
            epochs=12,
            batch_size=8,
            lr=3e-3,
            ema_decay=0.5,
            workers=0,
            precision="32-true",
            accelerator="cpu",
        )
        return cls(LomConfig(width=0.25), loop=loop, visibility=replace(loop, epochs=4, lr=5e-3))

    @classmethod
    def cpu(cls) -> "LomSettings":
        """About 20 minutes for 2,200 faces on two cores: half the width, a quarter of the multiplications."""
        loop = LoopConfig(epochs=36, batch_size=16, lr=2e-3, weight_decay=1e-4, accelerator="cpu", validate_every=4)
        visibility = LoopConfig(
            epochs=12, batch_size=32, lr=5e-3, weight_decay=1e-4, accelerator="cpu", validate_every=4
        )
        return cls(LomConfig(width=0.5), loop=loop, visibility=visibility)

    @classmethod
    def full(cls) -> "LomSettings":
        """Hours for 9,500 faces on two cores: PFLD's whole width, 8 times the pictures of ``cpu``."""
        loop = LoopConfig(
            epochs=60,
            batch_size=32,
            lr=2e-3,
            weight_decay=1e-4,
            ema_decay=0.998,
            accelerator="cpu",
            validate_every=4,
            workers=0,
            devices=2,
        )
        return cls(LomConfig(width=1.0), loop=loop, visibility=replace(loop, epochs=16, batch_size=64, lr=5e-3))

    @classmethod
    def paper(cls) -> "LomSettings":
        """PFLD 1X and its schedule (section 4: batches of 256, a fixed rate of 1e-4, decay 1e-6, 64,000 steps, which
        3,300 faces take 5,000 epochs for); stage 1 hears nothing of visibility (Mask-FPAN). Stage 2 is not described.
        """
        loop = LoopConfig(
            epochs=5000, batch_size=256, lr=1e-4, weight_decay=1e-6, power=0.0, validate_every=50, workers=8
        )
        visibility = LoopConfig(epochs=100, batch_size=256, lr=1e-3, weight_decay=1e-6, validate_every=10, workers=8)
        return cls(loss=LomLossConfig(linear_beyond=None, joint=0.0), loop=loop, visibility=visibility)
