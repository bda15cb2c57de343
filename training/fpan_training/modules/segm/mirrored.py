"""A network asked twice, of the picture and of its mirror image: what it says no longer depends on the side."""

from typing import cast

import torch
from fpan.contract import Taxonomy
from torch import Tensor, nn

from fpan_training.nets.interface import SegmNetwork, SegmOutput


class Mirrored(nn.Module):
    """The mean of a network's logits over both, left and right exchanged in the second; for evaluation mode.

    Strided convolutions are not symmetric, and a network trained on mirrored pictures is so in part only. It costs
    twice as much.
    """

    partners: Tensor

    def __init__(self, network: nn.Module, taxonomy: Taxonomy) -> None:
        super().__init__()
        self.network = network.eval()
        inner = cast(SegmNetwork, network)
        self.stride, self.multiple = inner.stride, inner.multiple
        self.register_buffer("partners", torch.tensor([c.partner for c in taxonomy.classes]), persistent=False)

    def forward(self, images_bchw: Tensor) -> SegmOutput:
        """See :class:`fpan_training.nets.interface.SegmNetwork`."""
        network = cast(SegmNetwork, self.network)
        straight = network(images_bchw).logits
        mirrored = network(images_bchw.flip(3)).logits.flip(3).index_select(1, self.partners)
        return SegmOutput((straight + mirrored) / 2)

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """None: it is not trained."""
        return []
