"""The optimizer's parameter groups, and how their rates go up and down."""

from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from fpan_training.engine.checkpoint import TrainingState
from fpan_training.engine.settings import LoopConfig


def parameter_groups(network: nn.Module, config: LoopConfig) -> list[dict[str, Any]]:
    """AdamW's groups, highest rate first: pretrained parameters and heads apart, biases and norms without decay."""
    factors: dict[int, float] = {}
    for name, factor in (("pretrained_parameters", config.pretrained_lr), ("head_parameters", config.head_lr)):
        factors |= {id(parameter): factor for parameter in getattr(network, name, list)()}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        groups.setdefault((factors.get(id(parameter), 1.0), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.lr * factor,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (factor, decays), parameters in sorted(groups.items(), key=lambda item: (-item[0][0], item[0][1]))
    ]


def schedule(optimizer: torch.optim.Optimizer, config: LoopConfig, per_epoch: int, state: TrainingState) -> LambdaLR:
    """Warm-up and polynomial decay of every group's rate, from the step that the run has come to."""
    steps = per_epoch * config.epochs
    begins = [(0, max(1, round(per_epoch * config.warmup_epochs)))]
    if state.restarted is not None:
        begins.append((state.restarted[0] * per_epoch + state.restarted[1], max(1, config.rewarm_steps)))

    def pace(step: int) -> float:
        warm = min((step + 1 - begin) / length for begin, length in begins)
        return float(min(1.0, warm) * (1 - min(step, steps - 1) / steps) ** config.power)

    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return LambdaLR(optimizer, pace, last_epoch=state.epoch * per_epoch + state.step - 1)
