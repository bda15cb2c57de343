"""Sizes and schedules of DOM's training."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.dom.data import CropConfig
from fpan_training.modules.dom.loss import LossConfig
from fpan_training.modules.dom.model import RLA_PAPER, RLA_SMALL, RLA_SMOKE, RlaConfig
from fpan_training.modules.training import Preset, Settings
from fpan_training.occlusion.generator import OcclusionConfig

NO_GLASSES = OcclusionConfig(glasses=0.0)
"""In the taxonomy glasses are a part, not an occlusion, and many clean faces wear them: DOM leaves them on."""
_CPU = LoopConfig(batch_size=64, lr=1e-3, weight_decay=1e-4, ema_decay=0.99, validate_every=3, clip_norm=1.0)


@dataclass(frozen=True)
class DomSettings(Settings):
    """Everything about a training but its data. ``cpu`` takes a quarter of an hour on two cores."""

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


_SMOKE = LoopConfig.smoke(epochs=4, lr=1e-3)
# Zhao et al.'s network, batch, rate (5e-6) and decay (1e-4); their 100,000 steps a stage are 12,500 epochs of 2,048
# pictures, given as such. Grey, so without use for SEGM.
_PAPER = LoopConfig(epochs=12_500, batch_size=256, lr=5e-6, weight_decay=1e-4, validate_every=50)

PRESETS: Mapping[Preset, DomSettings] = {
    "smoke": DomSettings("smoke", RLA_SMOKE, stage1=_SMOKE, stage2=_SMOKE),
    "cpu": DomSettings(),
    "paper": DomSettings("paper", RLA_PAPER, loss=LossConfig(last=0.0, mask=0.0), stage1=_PAPER, stage2=_PAPER),
}
