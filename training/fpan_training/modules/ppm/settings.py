"""Size and schedule of PPM's training."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.ppm.data import PoseAugmentConfig
from fpan_training.modules.ppm.loss import PoseLossConfig
from fpan_training.modules.ppm.model import PpmConfig
from fpan_training.modules.training import Preset, Settings


@dataclass(frozen=True)
class PpmSettings(Settings):
    """Everything about a training but its data. ``cpu`` takes about 10 minutes for 3,000 faces on two cores."""

    ppm: PpmConfig = field(default_factory=PpmConfig)
    loss: PoseLossConfig = field(default_factory=PoseLossConfig)
    augment: PoseAugmentConfig = field(default_factory=PoseAugmentConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(epochs=6, batch_size=32, precision="32-true"))
    rare: float = 0.2
    """Faces of a yaw, in bins of 15 degrees, that fewer than this share have come more often; 0: each comes once."""


PRESETS: Mapping[Preset, PpmSettings] = {
    # Small crops, from scratch.
    "smoke": PpmSettings("smoke", PpmConfig(input_size=64, pretrained=False), loop=LoopConfig.smoke(epochs=8, lr=2e-3)),
    "cpu": PpmSettings(),
    # Hopenet's crop, epochs and rate (section 4: 224 pixels, 25 epochs, 1e-5), on this project's backbone.
    "paper": PpmSettings(
        "paper",
        PpmConfig(input_size=224),
        loop=LoopConfig(epochs=25, batch_size=64, lr=1e-5, pretrained_lr=1.0, weight_decay=0.0, workers=8),
    ),
}
