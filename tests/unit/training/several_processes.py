"""Trains a small network in the shared loop, for `test_processes.py`, which runs this alone and under torchrun.

Batch norm is in evaluation mode, as several processes on CPUs need it: its statistics would be each process's own.
"""

import sys
from pathlib import Path

import torch
from fpan_training.loop import LoopConfig, Run, fit
from fpan_training.segm import SegmOutput
from fpan_training.segm.step import SegmStep
from fpan_training.taxonomy import TAXONOMY
from torch import Tensor, nn
from torch.utils.data import Dataset

CONFIG = LoopConfig(
    epochs=2, batch_size=4, lr=1e-2, validate_every=1, workers=0, precision="32-true", accelerator="cpu"
)


class Network(nn.Module):
    """Two convolutions and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(4, len(TAXONOMY), 1)

    def forward(self, images_bchw: Tensor) -> SegmOutput:
        self.body[1].eval()
        return SegmOutput(self.head(self.body(images_bchw)))


class Noise(Dataset[tuple[Tensor, Tensor]]):
    """Pictures of noise; of each another share of the pixels is unknown, so that means of means are no means."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(index)
        image = torch.randint(256, (16, 16, 3), generator=draw, dtype=torch.uint8)
        labels = torch.randint(len(TAXONOMY), (16, 16), generator=draw, dtype=torch.uint8)
        labels[: index % 10 + 2] = TAXONOMY.ignore
        return image, labels


def collate(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Stacks a batch."""
    images, labels = zip(*pairs, strict=True)
    return torch.stack(images), torch.stack(labels)


def main(folder: Path) -> None:
    """Trains in ``folder``."""
    torch.manual_seed(0)
    step = SegmStep(TAXONOMY)
    fit(Network(), step, Noise(), lambda network: {"score": 0.0}, Run(folder), CONFIG, collate, {})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
