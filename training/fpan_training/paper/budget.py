"""How far each preset goes: counts, sizes and SEGM's schedule. The modules have presets of the same names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fpan_training.engine.loop import LoopConfig
from fpan_training.modules.segm.model import SegmConfig
from fpan_training.modules.segm.weights import WeightConfig
from fpan_training.nets.lite_fpn import LiteFpnConfig

Preset = Literal["smoke", "cpu", "paper"]


@dataclass(frozen=True)
class TrainingBudget:
    """What a preset asks of the stages that are not a module's training."""

    segm: SegmConfig
    loop: LoopConfig
    """Of SEGM."""
    variants: int = 3
    """Occluded pictures made of each labelled one."""
    poses: int = 1
    """Turned pictures made of each labelled one."""
    unwrap_unlabelled: bool = True
    """Whether UVM learns texture from the unlabelled faces too: unwrapping one takes a second or two."""
    weights: WeightConfig = field(default_factory=lambda: WeightConfig(lambda_o=1.0, lambda_p=1.0))
    """Eq. 2."""
    extra_share: tuple[float, float] = (0.25, 0.25)
    """What part of SEGM's epoch the routed and the turned pictures make up."""


RENDERED = 24
"""Pictures that the smoke preset renders for want of data, labelled and unlabelled ones each."""
RENDERED_SIDE = 64
"""Their side in pixels."""

BUDGETS: Mapping[Preset, TrainingBudget] = {
    "smoke": TrainingBudget(
        SegmConfig(input_size=RENDERED_SIDE, lite_fpn=LiteFpnConfig((8, 8, 8, 8, 8), pretrained=False, dropout=0)),
        LoopConfig(epochs=24, batch_size=8, lr=1e-2, ema_decay=0.8, workers=0, precision="32-true", accelerator="cpu"),
        variants=1,
    ),
    # Some 12 pictures a second on two cores: about 100 minutes.
    "cpu": TrainingBudget(SegmConfig(), LoopConfig(epochs=30), unwrap_unlabelled=False),
    # CelebAMask-HQ's 24,000 training pictures at the input size of its published baselines.
    "paper": TrainingBudget(
        SegmConfig(input_size=512), LoopConfig(epochs=60, batch_size=16, ema_decay=0.999, workers=8)
    ),
}
