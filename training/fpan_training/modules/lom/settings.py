"""Sizes and schedules of LOM's training."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.lom.data import LomAugmentConfig
from fpan_training.modules.lom.loss import LomLossConfig
from fpan_training.modules.lom.model import LomConfig
from fpan_training.modules.training import Settings

LomPreset = Literal["smoke", "cpu", "full", "paper"]


@dataclass(frozen=True)
class LomSettings(Settings):
    """Everything about a training but its data. ``cpu`` takes about 20 minutes for 2,200 faces on two cores, with half
    of the width and a quarter of the multiplications.
    """

    preset: LomPreset = "cpu"  # type: ignore[assignment]  # one more than other modules have
    """What all other settings are where they are not given. ``smoke``: seconds, to see that it works; ``cpu``: two
    hours at most on two cores; ``full``: hours on two cores, twice the width; ``paper``: the size and schedule of the
    publication, for a GPU."""
    lom: LomConfig = field(default_factory=lambda: LomConfig(width=0.5))
    loss: LomLossConfig = field(default_factory=LomLossConfig)
    augment: LomAugmentConfig = field(default_factory=LomAugmentConfig)
    landmarks: LoopConfig = field(
        default_factory=lambda: LoopConfig(epochs=36, batch_size=16, lr=2e-3, weight_decay=1e-4, validate_every=4)
    )
    """Stage 1."""
    visibility: LoopConfig = field(
        default_factory=lambda: LoopConfig(epochs=12, batch_size=32, lr=5e-3, weight_decay=1e-4, validate_every=4)
    )
    """Stage 2."""
    p_occluded: float = 0.8
    """Probability in stage 2 that something is put in front of a face; ``augment`` has that of stage 1."""


_FULL = LoopConfig(
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

PRESETS: Mapping[LomPreset, LomSettings] = {
    "smoke": LomSettings(
        "smoke",
        LomConfig(width=0.25),
        landmarks=LoopConfig.smoke(epochs=12, lr=3e-3),
        visibility=LoopConfig.smoke(epochs=4, lr=5e-3),
    ),
    "cpu": LomSettings(),
    # PFLD's whole width, 8 times the pictures of ``cpu``: hours for 9,500 faces.
    "full": LomSettings(
        "full", LomConfig(), landmarks=_FULL, visibility=replace(_FULL, epochs=16, batch_size=64, lr=5e-3)
    ),
    # PFLD 1X and its schedule (section 4: batches of 256, a fixed rate of 1e-4, decay 1e-6, 64,000 steps, which 3,300
    # faces take 5,000 epochs for); stage 1 hears nothing of visibility (Mask-FPAN). Stage 2 is not described.
    "paper": LomSettings(
        "paper",
        LomConfig(),
        LomLossConfig(linear_beyond=None, joint=0.0),
        landmarks=LoopConfig(
            epochs=5000, batch_size=256, lr=1e-4, weight_decay=1e-6, power=0.0, validate_every=50, workers=8
        ),
        visibility=LoopConfig(epochs=100, batch_size=256, lr=1e-3, weight_decay=1e-6, validate_every=10, workers=8),
    ),
}
