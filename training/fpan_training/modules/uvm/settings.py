"""Sizes and schedule of UVM's training."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.training import Preset, Settings
from fpan_training.modules.uvm.loss import UvmLossConfig
from fpan_training.modules.uvm.maps import MapsConfig
from fpan_training.modules.uvm.model import UvmConfig


@dataclass(frozen=True)
class UvmSettings(Settings):
    """Everything about a training but its data. ``cpu`` takes about a quarter of an hour on two cores for 600 faces, of
    which some minutes to unwrap them.
    """

    uvm: UvmConfig = field(default_factory=UvmConfig)
    maps: MapsConfig = field(default_factory=MapsConfig)
    loss: UvmLossConfig = field(default_factory=UvmLossConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(epochs=8, lr=1e-3, weight_decay=1e-4))


PRESETS: Mapping[Preset, UvmSettings] = {
    "smoke": UvmSettings(
        "smoke",
        UvmConfig(size=64, width=8, depth=4, critic_width=8, critic_depth=2),
        MapsConfig(hidden_views=2, occluded_views=1),
        loop=LoopConfig.smoke(epochs=2, lr=1e-3, batch_size=4, ema_decay=0.9, validate_every=1),
    ),
    "cpu": UvmSettings(),
    # UV-GAN's 256 texels; widths and depths of pix2pix's U-Net and patch discriminator (Isola et al. 2017), and its
    # rate and epochs (2e-4, 200).
    "paper": UvmSettings(
        "paper",
        UvmConfig(size=256, width=64, depth=8, critic_width=64),
        loop=LoopConfig(epochs=200, batch_size=32, lr=2e-4, weight_decay=0.0, ema_decay=0.999, workers=8),
    ),
}
