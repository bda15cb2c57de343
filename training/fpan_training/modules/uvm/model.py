"""UVM's networks: the U-Net that completes a UV map, and the two discriminators it is trained against.

After UV-GAN (Deng et al., CVPR 2018): the generator sees the partial texture with noise in its holes and its mirror
image, beside what is visible; a global discriminator judges the map and a local one the centre of the face. Two things
are this project's own: the U-Net has a second head for the parts' labels (Mask-FPAN, III-C); and beside its colours it
says of every texel how far they are to replace what mirroring makes of the map, so that training starts from there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from fpan_training.modules.checkpoint import read
from fpan_training.modules.uvm.mirror import mirror
from fpan_training.taxonomy import TAXONOMY

_INPUTS = 8
"""Channels of the generator's input: texture, mirrored texture, visible, mirrored visible."""
_GROUPS = 8
"""Of group norm (Wu and He 2018 take 32 of wider layers). Batch norm would tie a map to its batch, instance norm
would take the colour of the skin away."""
_SLOPE = 0.2
"""Of the leaky ReLUs (Isola et al. 2017)."""
_FIRST_SHARE_LOGIT = -2.0
"""Of the untrained generator's own colours against mirroring's: 12 %."""


@dataclass(frozen=True)
class UvmConfig:
    """Sizes of the networks."""

    size: int = 128
    """Side of the UV map in texels, a multiple of 2 ** ``depth``. UV-GAN: 256."""
    width: int = 32
    """Channels of the generator's first level; doubled a level, up to eight times that (pix2pix, Isola et al. 2017)."""
    depth: int = 5
    """Levels of the generator, each half as large as the one before."""
    critic_width: int = 16
    """Channels of the discriminators' first level, doubled a level."""
    critic_depth: int = 3
    """Levels of the discriminators. 3 judge patches of 70 texels (Isola et al. 2017)."""
    centre: tuple[float, float, float, float] = (0.2, 0.15, 0.8, 0.6)
    """The face's centre, which has a discriminator of its own: left, top, right, bottom as shares of the map. Brows to
    lower lip in the layout of :mod:`fpan_training.face3d.atlas`."""
    classes: int = len(TAXONOMY)

    def __post_init__(self) -> None:
        if self.size % 2**self.depth:
            raise ValueError(f"a map of {self.size} texels cannot be halved {self.depth} times: take a multiple")


class Completed(NamedTuple):
    """What the generator says of every texel, also of those that it was shown."""

    texture: Tensor
    """RGB, float (B, 3, H, W), 0 to 1."""
    labels: Tensor
    """Logits, float (B, classes, H, W)."""


class Judged(NamedTuple):
    """A completed batch and the discriminators' scores, near 1 for what they take for real, by patch."""

    completed: Completed
    merged: Tensor
    """The completed texture with the visible texels put back, float (B, 3, H, W)."""
    real: tuple[Tensor, Tensor]
    """Of the true maps: global, centre."""
    fake: tuple[Tensor, Tensor]
    """Of the merged maps, without a gradient for the generator."""
    fooled: tuple[Tensor, Tensor]
    """Of the merged maps, without a gradient for the discriminators."""


class Generator(nn.Module):
    """U-Net from a partial map to a whole one."""

    def __init__(self, config: UvmConfig) -> None:
        super().__init__()
        widths = [config.width * min(2**level, 8) for level in range(config.depth)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        below = _INPUTS
        for level, width in enumerate(widths):
            self.down.append(_block(below, width, 4, 2, normed=level > 0))
            below = width
        for skip in (*reversed(widths[:-1]), _INPUTS):
            width = config.width if skip == _INPUTS else skip
            self.up.append(_block(below + skip, width, 3, 1))
            below = width
        self.texture = nn.Conv2d(below, 3, 1)
        self.share = nn.Conv2d(below, 1, 1)
        nn.init.zeros_(self.share.weight)
        nn.init.constant_(cast(Tensor, self.share.bias), _FIRST_SHARE_LOGIT)
        self.labels = nn.Conv2d(below, config.classes, 1)

    def forward(self, partial_bchw: Tensor, visible_b1hw: Tensor, filled_bchw: Tensor) -> Completed:
        """Completes maps.

        Args:
            partial_bchw: RGB, float (B, 3, H, W) in 0 to 1, with noise where nothing is visible.
            visible_b1hw: 1 where a texel is to be believed, else 0; float (B, 1, H, W).
            filled_bchw: the map completed by mirroring (:mod:`.fill`), float (B, 3, H, W) in 0 to 1.
        """
        mirrored, seen = mirror(partial_bchw), mirror(visible_b1hw)
        x = torch.cat([partial_bchw, mirrored, visible_b1hw, seen], 1)
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x)
        for block in self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([x, skips.pop()], 1))
        colours, share = self.texture(x).sigmoid(), self.share(x).sigmoid()
        return Completed(filled_bchw + share * (colours - filled_bchw), self.labels(x))


class Critics(nn.Module):
    """The global discriminator and the one of the face's centre."""

    def __init__(self, config: UvmConfig) -> None:
        super().__init__()
        self.whole = _critic(config)
        self.middle = _critic(config)
        left, top, right, bottom = (round(share * config.size) for share in config.centre)
        self.rows, self.columns = slice(top, bottom), slice(left, right)

    def forward(self, texture_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of patches of maps, RGB float (B, 3, H, W): of the whole map, and of its centre."""
        return self.whole(texture_bchw), self.middle(texture_bchw[:, :, self.rows, self.columns])


class UvGan(nn.Module):
    """Generator and discriminators. One forward is all of a training step, so that one loop and one optimiser do."""

    def __init__(self, config: UvmConfig) -> None:
        super().__init__()
        self.config = config
        self.generator = Generator(config)
        self.critics = Critics(config)

    def forward(
        self, partial_bchw: Tensor, visible_b1hw: Tensor, filled_bchw: Tensor, truth_bchw: Tensor, known_b1hw: Tensor
    ) -> Judged:
        """Completes maps and has both them and the truth judged.

        Args:
            partial_bchw: as for :class:`Generator`.
            visible_b1hw: as for :class:`Generator`.
            filled_bchw: as for :class:`Generator`.
            truth_bchw: the maps before anything was hidden, float (B, 3, H, W) in 0 to 1.
            known_b1hw: 1 where ``truth_bchw`` is known. The discriminators see nothing else of either.
        """
        completed = self.generator(partial_bchw, visible_b1hw, filled_bchw)
        merged = torch.where(visible_b1hw > 0, partial_bchw, completed.texture)
        shown = merged * known_b1hw
        frozen = {name: parameter.detach() for name, parameter in self.critics.named_parameters()}
        return Judged(
            completed,
            merged,
            real=self.critics(truth_bchw * known_b1hw),
            fake=self.critics(shown.detach()),
            fooled=functional_call(self.critics, frozen, (shown,)),
        )


def build(config: UvmConfig) -> UvGan:
    """The networks of a config, untrained."""
    return UvGan(config)


def load(checkpoint: Path) -> UvGan:
    """The networks of a checkpoint of ``fpan-train train uvm``, in evaluation mode.

    Raises:
        DataError: the checkpoint is another module's.
    """
    stored = read(checkpoint, "uvm")
    network = build(UvmConfig(**{**stored["uvm"], "centre": tuple(stored["uvm"]["centre"])}))
    network.load_state_dict(stored["network"])
    return network.eval()


def _block(inputs: int, outputs: int, kernel: int, stride: int, normed: bool = True) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=not normed)
    norm = [nn.GroupNorm(_GROUPS, outputs)] if normed else []
    return nn.Sequential(conv, *norm, nn.LeakyReLU(_SLOPE))


def _critic(config: UvmConfig) -> nn.Sequential:
    blocks: list[nn.Module] = []
    below = 3
    for level in range(config.critic_depth):
        width = config.critic_width * min(2**level, 8)
        blocks.append(_block(below, width, 4, 2, normed=level > 0))
        below = width
    return nn.Sequential(*blocks, _block(below, 2 * below, 4, 1), nn.Conv2d(2 * below, 1, 4, 1, 1))
