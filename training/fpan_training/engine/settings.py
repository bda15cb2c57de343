"""Length, pace and housekeeping of the training loop."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LoopConfig:
    """Length, pace and housekeeping of a run."""

    epochs: int = 60
    batch_size: int = 8
    """Pictures of a step, over all processes together."""
    lr: float = 1e-3
    """Highest learning rate of what starts from nothing."""
    pretrained_lr: float = 0.4
    """Factor on ``lr`` for pretrained parameters."""
    head_lr: float = 1.0
    """Factor on ``lr`` for a network's ``head_parameters``. RTFormer's recipe has 10, on an ImageNet-trained body."""
    weight_decay: float = 0.02
    warmup_epochs: float = 1.0
    power: float = 0.9
    """Of the polynomial decay."""
    rewarm_steps: int = 200
    """Steps of warm-up after a resume point, whose optimizer is new."""
    ema_decay: float = 0.995
    """Of the averaged weights, which are what is evaluated and exported."""
    clip_norm: float = 5.0
    validate_every: int = 2
    """Epochs between validations."""
    checkpoint_minutes: float = 10
    """Between two of the checkpoints that are written within an epoch; one is written at the end of every epoch."""
    workers: int = 1
    """Processes that augment."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    accelerator: str = "auto"
    devices: int = 1
    """Processes on this machine. Under ``torchrun`` its own numbers count, nodes included."""

    @classmethod
    def smoke(
        cls, epochs: int, lr: float, batch_size: int = 8, ema_decay: float = 0.5, validate_every: int = 2
    ) -> "LoopConfig":
        """Of a run of seconds, whose numbers are the same wherever it runs."""
        return cls(
            epochs,
            batch_size,
            lr,
            ema_decay=ema_decay,
            validate_every=validate_every,
            workers=0,
            precision="32-true",
            accelerator="cpu",
        )
