"""What a run is while it trains, and the files that hold it: tensors and plain data only. Loading them runs no code,
and code that is renamed leaves them readable.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import Precision
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel


@dataclass
class TrainingState:
    """All of a run that changes while it trains."""

    network: nn.Module
    average: AveragedModel
    optimizer: Optimizer
    precision: Precision
    """Holds the scale of float16's gradients; other precisions have none."""
    batch_size: int
    """Pictures of a step, over all processes together."""
    epoch: int = 0
    """Epochs that are done."""
    step: int = 0
    """Batches of the epoch after them that are done."""
    sums: dict[str, float] = field(default_factory=dict)
    """Of the losses of these batches."""
    seconds: float = 0.0
    """That these batches took."""
    restarted: tuple[int, int] | None = None
    """Epoch and step at which the run went on from a resume point, with a new optimizer; None: it did not."""

    def dump(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "batch_size": self.batch_size,
            "epoch": self.epoch,
            "step": self.step,
            "sums": dict(self.sums),
            "seconds": self.seconds,
            "restarted": self.restarted,
        }

    def load(self, stored: dict[str, Any]) -> None:
        """Takes over what :meth:`dump` gave, but not the rates and decays of another setting of the run.

        An epoch that was begun with batches of another size begins anew, with the weights as they are.
        """
        own = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        self.network.load_state_dict(stored["network"])
        self.average.load_state_dict(stored["average"])
        self.optimizer.load_state_dict(stored["optimizer"])
        for group, options in zip(self.optimizer.param_groups, own, strict=True):
            group.update(options)
        # A run may have begun in another precision.
        if stored.get("precision"):
            self.precision.load_state_dict(stored["precision"])
        self.restarted = stored.get("restarted")
        self._take_position(stored)

    def restart(self, stored: dict[str, Any]) -> None:
        """Takes over a resume point: network and average begin with its weights, the optimizer anew."""
        self.network.load_state_dict(stored["network"])
        self.average.module.load_state_dict(stored["network"])
        # Else the first step would put the network in the average's place.
        self.average.n_averaged.fill_(1)
        self._take_position(stored)
        self.restarted = (self.epoch, self.step)

    def _take_position(self, stored: dict[str, Any]) -> None:
        self.begin_epoch(stored["epoch"])
        if stored.get("batch_size") == self.batch_size:
            self.step, self.sums, self.seconds = stored["step"], dict(stored["sums"]), stored["seconds"]

    def begin_epoch(self, epoch: int) -> None:
        """``epoch`` epochs are done, and nothing of the next."""
        self.epoch, self.step, self.sums, self.seconds = epoch, 0, {}, 0.0


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU."""
    stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return stored


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint whole or not at all."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)
