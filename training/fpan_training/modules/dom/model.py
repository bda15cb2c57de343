"""DOM's network: the robust LSTM autoencoder of Zhao et al. (IEEE TIP 2017), which Mask-FPAN's figure 6 shows.

A multi-scale spatial LSTM reads patches of the occluded face; two LSTM channels unfold its last states, one into the
face without occlusion and one into where it is occluded.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpan_training.modules.checkpoint import read
from fpan_training.modules.dom.comparison import Comparison
from fpan_training.modules.dom.lstm import PeepholeLstm, SpatialLstm, State

_MID_GREY = 0.5
_LOGIT_MARGIN = 0.02
"""A mean face is kept this far from black and white, where its logit would be infinite."""


@dataclass(frozen=True)
class RlaConfig:
    """Sizes of the autoencoder. The defaults are :data:`RLA_SMALL`."""

    size: int = 64
    """Side of the square picture in pixels. Zhao et al.: 128."""
    channels: int = 3
    """3: colour, which SEGM needs; 1: grey, as in Zhao et al."""
    hidden: int = 480
    """Units of every LSTM layer. Zhao et al.: 2048."""
    layers: int = 2
    """Of the encoder and of each decoder channel (Zhao et al.)."""
    grid: int = 2
    """Positions along each side. Zhao et al.: 2."""
    stride: int = 32
    """Pixels between positions. Zhao et al.: 64."""
    patch: int = 32
    """Side of the fine patch in pixels; the coarse one covers twice that and is halved. Zhao et al.: 32."""
    steps: int = 8
    """Of the decoder (Zhao et al.)."""
    coupled: bool = True
    """The occlusion channel sees the face channel's hidden state of the same step (Zhao et al., the joint model)."""

    def __post_init__(self) -> None:
        reach = (self.grid - 1) * self.stride + self.patch
        if reach > self.size or 2 * self.patch > self.size:
            raise ValueError(
                f"{self.grid} positions of {self.patch} pixels every {self.stride}, and patches of twice the size, "
                f"do not fit into {self.size} pixels"
            )
        if self.patch % 4 or self.stride % 2 or self.size % 2:
            raise ValueError("size and stride must be multiples of 2 and patch of 4: coarse patches are halved")
        if min(self.grid, self.layers, self.steps) < 1:
            raise ValueError("grid, layers and steps are at least 1")


RLA_PAPER = RlaConfig(size=128, channels=1, hidden=2048, grid=2, stride=64, patch=32)
"""As published: 310,509,568 parameters, and 293,732,352 with ``coupled`` off (the published 310.5 M and 293.7 M)."""
RLA_SMALL = RlaConfig()
"""What trains in a quarter of an hour on two cores, in colour: 34.8 M parameters."""
RLA_SMOKE = RlaConfig(size=32, hidden=64, grid=2, stride=16, patch=16, steps=3)
"""For tests."""


class RlaOutput(NamedTuple):
    """What the decoder says, by step: T steps, or 1 if only the last was asked for."""

    faces: Tensor
    """Reconstructed faces in [0, 1], float (B, T, C, size, size)."""
    mask_logits: Tensor | None
    """Logits of being occluded, float (B, T, 1, size, size); None without the occlusion channel."""


class Channel(nn.Module):
    """A channel of the decoder: stacked LSTMs without input from outside, and a readout that adds up over the steps."""

    def __init__(self, config: RlaConfig, channels: int, driven: bool) -> None:
        super().__init__()
        h = config.hidden
        below = [h if driven else 0, *[h] * (config.layers - 1)]
        self.layers = nn.ModuleList(PeepholeLstm(inputs, h) for inputs in below)
        self.readout = nn.Linear(h, channels * config.size**2)
        # Smaller by the number of steps that are added up: a random face should not drown the mean face at the start.
        nn.init.uniform_(self.readout.weight, -(h**-0.5) / config.steps, h**-0.5 / config.steps)
        nn.init.zeros_(self.readout.bias)
        self.shape = (channels, config.size, config.size)
        self.steps = config.steps
        self.driven = driven

    def forward(self, encoded: list[State], drive: list[Tensor] | None = None) -> tuple[list[Tensor], Tensor]:
        """Unfolds the encoder's states.

        The first step is the encoder's state itself, layers in reversed order; each further one is an update.

        Args:
            encoded: the encoder's states, first layer first.
            drive: for each step float (B, hidden), what the first layer sees.

        Returns:
            The first layer's hidden states, by step, and the last layer's, float (B, steps, hidden).
        """
        states = list(reversed(encoded))
        first, last = [states[0].hidden], [states[-1].hidden]
        for step in range(1, self.steps):
            below = drive[step] if drive is not None and self.driven else None
            for n, layer in enumerate(self.layers):
                states[n] = layer(below, states[n])
                below = states[n].hidden
            first.append(states[0].hidden)
            last.append(states[-1].hidden)
        return first, torch.stack(last, 1)

    def logits(self, hidden_bth: Tensor, every_step: bool) -> Tensor:
        """What the steps' readouts add up to, float (B, T, C, size, size); only after the last unless ``every_step``.

        The readout is linear: the sum is taken before it, so that only what is asked for is read out.
        """
        summed = hidden_bth.float().cumsum(1)
        counts = torch.arange(1, summed.shape[1] + 1, device=summed.device, dtype=summed.dtype)
        if not every_step:
            summed, counts = summed[:, -1:], counts[-1:]
        added = F.linear(summed, self.readout.weight).float() + counts[:, None] * self.readout.bias
        return added.reshape(*added.shape[:2], *self.shape)

    def start_at(self, probabilities: Tensor) -> None:
        """Sets the readout's bias so that the last step's answer starts at this, float (C, size, size) in [0, 1]."""
        safe = probabilities.clamp(_LOGIT_MARGIN, 1 - _LOGIT_MARGIN)
        with torch.no_grad():
            # It is added in every step.
            self.readout.bias.copy_(torch.logit(safe).flatten() / self.steps)


class Rla(nn.Module):
    """The robust LSTM autoencoder."""

    def __init__(self, config: RlaConfig) -> None:
        super().__init__()
        self.config = config
        patches = 2 * config.channels * config.patch**2
        below = [patches, *[config.hidden] * (config.layers - 1)]
        self.encoder = nn.ModuleList(SpatialLstm(inputs, config.hidden) for inputs in below)
        self.face = Channel(config, config.channels, driven=False)
        self.occlusion = Channel(config, 1, driven=config.coupled)

    def forward(self, images_bchw: Tensor, *, detect: bool = True, every_step: bool = True) -> RlaOutput:
        """Removes and detects occlusion.

        Args:
            images_bchw: float (B, channels, size, size) in [0, 1].
            detect: run the occlusion channel, too.
            every_step: read out every step, not only the last.

        Raises:
            ValueError: the pictures have another shape.
        """
        states = self.encode(images_bchw)
        first, last = self.face(states)
        faces = torch.sigmoid(self.face.logits(last, every_step))
        if not detect:
            return RlaOutput(faces, None)
        _, last = self.occlusion(states, first)
        return RlaOutput(faces, self.occlusion.logits(last, every_step))

    def encode(self, images_bchw: Tensor) -> list[State]:
        """The last position's state in each layer of the encoder."""
        features = self.patches(images_bchw)
        states = []
        for layer in self.encoder:
            features, state = layer(features)
            states.append(state)
        return states

    def patches(self, images_bchw: Tensor) -> Tensor:
        """The fine and the coarse patch of every position, about mid grey: float (B, grid, grid, features).

        A coarse patch shares its centre with the fine one unless it would reach over the picture's edge.
        """
        c = self.config
        if images_bchw.shape[1:] != (c.channels, c.size, c.size):
            raise ValueError(f"the network takes (B, {c.channels}, {c.size}, {c.size}), not {tuple(images_bchw.shape)}")
        fine = images_bchw - _MID_GREY
        coarse = F.avg_pool2d(fine, 2)
        starts = [n * c.stride for n in range(c.grid)]
        around = [min(max(s - c.patch // 2, 0), c.size - 2 * c.patch) // 2 for s in starts]

        def cut(source: Tensor, at: list[int]) -> Tensor:
            rows = [torch.stack([source[..., y : y + c.patch, x : x + c.patch].flatten(1) for x in at], 1) for y in at]
            return torch.stack(rows, 1)

        return torch.cat([cut(fine, starts), cut(coarse, around)], -1)


class DomNetwork(nn.Module):
    """What is trained: the autoencoder, and the comparison of its answer with the picture for pseudo-labels."""

    def __init__(self, config: RlaConfig) -> None:
        super().__init__()
        self.rla = Rla(config)
        self.comparison = Comparison(config.channels)

    def forward(
        self, images_bchw: Tensor, *, detect: bool = True, every_step: bool = True
    ) -> tuple[RlaOutput, Tensor | None]:
        """The autoencoder's answer and, with ``detect``, the comparison's logits, float (B, 1, size, size)."""
        output = cast(RlaOutput, self.rla(images_bchw, detect=detect, every_step=every_step))
        if output.mask_logits is None:
            return output, None
        return output, self.comparison(images_bchw, output.faces[:, -1], output.mask_logits[:, -1])

    def head_parameters(self) -> list[nn.Parameter]:
        """What starts from nothing in stage 2: it may learn faster than what stage 1 has trained."""
        return [*self.rla.occlusion.parameters(), *self.comparison.parameters()]


def load(checkpoint: Path) -> DomNetwork:
    """The network of a checkpoint that ``fpan-train train dom`` made, in evaluation mode.

    Raises:
        DataError: it is not DOM's.
    """
    stored = read(checkpoint, "dom")
    network = DomNetwork(RlaConfig(**stored["dom"]))
    network.load_state_dict(stored["network"])
    return network.eval()


def compose(occluded: Tensor, recovered: Tensor, mask: Tensor) -> Tensor:
    """Zhao et al.'s joint answer: (1 - m) x_occ + m x_rec. Mask 0 gives the one and 1 the other, to the bit."""
    return (1 - mask) * occluded + mask * recovered
