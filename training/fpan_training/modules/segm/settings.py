"""Sizes and schedule of SEGM's training."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fpan_training.data.augment import AugmentConfig
from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.segm.loss import LossConfig
from fpan_training.modules.segm.model import SegmConfig
from fpan_training.modules.training import Preset, Settings
from fpan_training.nets.lite_fpn import LiteFpnConfig


@dataclass(frozen=True)
class SegmSettings(Settings):
    """Everything about a training but its data. ``cpu`` takes about 100 minutes for 2,400 pictures on two cores."""

    segm: SegmConfig = field(default_factory=SegmConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(epochs=30))
    rare: float = 0.0
    """Pictures of a class that fewer than this share of the pictures show come more often; 0: each comes once."""


PRESETS: Mapping[Preset, SegmSettings] = {
    "smoke": SegmSettings(
        "smoke",
        SegmConfig(input_size=64, lite_fpn=LiteFpnConfig((8, 8, 8, 8, 8), pretrained=False, dropout=0)),
        loop=LoopConfig.smoke(epochs=24, lr=1e-2, ema_decay=0.8),
    ),
    "cpu": SegmSettings(),
    # CelebAMask-HQ's 24,000 training pictures at the input size of its published baselines.
    "paper": SegmSettings(
        "paper",
        SegmConfig(input_size=512),
        loop=LoopConfig(epochs=60, batch_size=16, ema_decay=0.999, workers=8),
    ),
}
