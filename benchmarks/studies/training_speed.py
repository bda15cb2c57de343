"""Pictures a second of SEGM's training on processors, and what each of its ways of saving time brings.

``python -m benchmarks.studies.training_speed`` prints a table of ``docs/training/recipes.md``: forward, backward and
update of LiteFPN on noise, one thread, all ways in turn, medians over the rounds. Nothing else may run meanwhile.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from fpan_training.engine.machine import machine
from fpan_training.modules.segm.loss import LossConfig, segm_loss
from fpan_training.nets.efficientnet_lite import DepthwiseConv2d
from fpan_training.nets.interface import SegmOutput
from fpan_training.nets.lite_fpn import LiteFpn, LiteFpnConfig
from torch import nn

CLASSES = 20
BATCHES = {128: 16, 256: 8}
"""Pictures of a step by their side."""


def step(size: int, precision: torch.dtype, depthwise: bool, thin: bool) -> Callable[[], None]:
    """A training step.

    Args:
        size: side of the pictures in pixels.
        precision: of all but depthwise convolutions.
        depthwise: whether those stay in float32.
        thin: whether one of every 2 x 2 pixels counts in the loss.
    """
    network = LiteFpn(CLASSES, LiteFpnConfig(pretrained=False)).train().to(memory_format=torch.channels_last)
    if not depthwise:
        for module in network.modules():
            if isinstance(module, DepthwiseConv2d):
                module.__class__ = nn.Conv2d
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    images = torch.randn(BATCHES[size], 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (BATCHES[size], size, size), dtype=torch.uint8)
    config = LossConfig(thin=2 if thin else 1)

    def work() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = network(images).logits
        segm_loss(SegmOutput(logits), labels, config)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    work()
    work()
    return work


WAYS: dict[str, tuple[torch.dtype, bool, bool]] = {
    "float32": (torch.float32, True, False),
    "bfloat16": (torch.bfloat16, False, False),
    "and depthwise in float32": (torch.bfloat16, True, False),
    "and `thin`": (torch.bfloat16, True, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{machine()}\n\n| side | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    for size, pictures in BATCHES.items():
        steps = {name: step(size, *way) for name, way in WAYS.items()}
        speeds: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(rounds):
            for name, work in steps.items():
                began = time.perf_counter()
                work()
                speeds[name].append(pictures / (time.perf_counter() - began))
        cells = [f"{statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f})" for each in speeds.values()]
        print(f"| {size} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
