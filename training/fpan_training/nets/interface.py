"""What every SEGM architecture takes and gives."""

from typing import NamedTuple, Protocol

from torch import Tensor, nn


class SegmOutput(NamedTuple):
    """What a network says of a batch, at its own stride."""

    logits: Tensor
    """float (B, classes, H / stride, W / stride)."""
    auxiliary: tuple[Tensor, ...] = ()
    """Logits of each auxiliary head at a stride of its own, in training mode only."""


class SegmNetwork(Protocol):
    """A segmentation network. Input: float (B, 3, H, W), normalised by ImageNet's mean and deviation.

    It may also have ``head_parameters() -> list[nn.Parameter]``: those that its recipe trains at a higher rate
    (``LoopConfig.head_lr``).
    """

    stride: int
    """Input pixels for each pixel of the logits."""
    multiple: int
    """Height and width of the input must be multiples of it."""

    def __call__(self, images_bchw: Tensor, /) -> SegmOutput:
        """Logits of a batch; ValueError for a size that is no multiple of :attr:`multiple`."""
        ...

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Parameters that start from other data and so learn at a lower rate; empty if there are none."""
        ...
