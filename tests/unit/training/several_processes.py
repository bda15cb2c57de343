"""Trains a small network in the shared loop, and takes the gradients of a batch of every module, for
`test_processes.py`, which runs this alone and under torchrun.

Batch norm is in evaluation mode, as several processes on CPUs need it: its statistics would be each process's own.
"""

import sys
from pathlib import Path
from typing import Any, cast

import torch
from fpan_training.engine.loop import fit, launch
from fpan_training.engine.run import Run
from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.segm import SegmOutput
from fpan_training.modules.segm.step import SegmStep
from fpan_training.taxonomy import TAXONOMY
from torch import Tensor, nn
from torch.utils.data import Dataset

from tests.unit.training.small_modules import MODULES, small

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


def gradients(name: str) -> dict[str, dict[str, Tensor]]:
    """The gradients, by parameter, and the losses of a batch that the processes share."""
    module = small(name)
    fabric = launch(CONFIG)
    network, _ = fabric.setup(module.network, torch.optim.SGD(module.network.parameters(), 1e-3))
    network.train()
    for part in module.network.modules():
        if isinstance(part, (nn.BatchNorm2d, nn.Dropout, nn.Dropout2d)):
            part.eval()
    share = range(fabric.global_rank, len(module.data), fabric.world_size)
    losses = module.step.train(network, module.collate([module.data[i] for i in share]))
    fabric.backward(losses["loss"])
    found = {key: p.grad for key, p in module.network.named_parameters() if p.grad is not None}
    means = cast(Any, fabric.all_reduce({key: loss.detach() for key, loss in losses.items()}))
    return {"gradients": found, "losses": means}


def main(folder: Path) -> None:
    """Trains in ``folder``, and writes the gradients of all modules there."""
    torch.manual_seed(0)
    step = SegmStep(TAXONOMY)
    fit(Network(), step, Noise(), lambda network: {"score": 0.0}, Run(folder), CONFIG, collate, {})
    found = {name: gradients(name) for name in MODULES}
    if launch(CONFIG).global_rank == 0:
        torch.save(found, folder / "gradients.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
