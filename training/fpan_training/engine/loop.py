"""The one training loop: epochs, schedule, averaged weights, checkpoints and log. It knows no module of the paper.

A module gives a network, a step (its losses for a batch) and a validation; device, precision and several processes
are Lightning Fabric's.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from fpan_training.data.loader import EpochSampler
from fpan_training.engine.progress import track
from fpan_training.engine.tracking import Tracker, tracked
from fpan_training.files import write_whole

CONFIG_FILE = "config.json"
"""In a run's folder: the settings of the command that trains it."""


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
    ema_decay: float = 0.995
    """Of the averaged weights, which are what is evaluated and exported."""
    clip_norm: float = 5.0
    validate_every: int = 2
    """Epochs between validations."""
    workers: int = 1
    """Processes that augment."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    accelerator: str = "auto"
    devices: int = 1
    """Processes on this machine. Under ``torchrun`` its own numbers count, nodes included."""
    seed: int = 0


class Module(Protocol):
    """What the loop needs of a module of the paper."""

    def train(self, network: nn.Module, batch: Any, /) -> dict[str, Tensor]:
        """The losses of a batch; the one called ``loss`` is minimised."""
        ...


Validate = Callable[[nn.Module], dict[str, float]]
"""Figures of a network on the validation pictures; ``score`` is what checkpoints are chosen by (higher is better)."""


@dataclass
class Run:
    """A run's folder: ``last.pt`` to resume from, ``best.pt`` by validation, ``log.jsonl``, ``curve.png``."""

    folder: Path
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def last(self) -> Path:
        """Everything needed to go on."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """Averaged weights with the best validation score."""
        return self.folder / "best.pt"

    def log(self, row: dict[str, float]) -> None:
        """Adds a row to the history and writes it down."""
        self.history.append(row)
        lines = "".join(json.dumps(r) + "\n" for r in self.history)
        write_whole(self.folder / "log.jsonl", lines.encode())

    @property
    def best_score(self) -> float:
        """The best validation score so far; -inf before the first."""
        return max((r["score"] for r in self.history if "score" in r), default=float("-inf"))


def fit(
    network: nn.Module,
    module: Module,
    dataset: Any,
    validate: Validate,
    run: Run,
    config: LoopConfig,
    collate: Callable[[Any], Any],
    describe: dict[str, Any],
) -> Run:
    """Trains to the end of ``config.epochs``, from ``last.pt`` where there is one.

    Args:
        network: what is trained.
        module: its step.
        dataset: a map-style data set whose index is ``pass * len(dataset) + item``, as :class:`EpochSampler` says; its
            ``repeats``, where it has any, say how often each item comes in an epoch.
        validate: called with the averaged network after every ``config.validate_every`` epochs and the last.
        run: where everything is kept.
        config: length and pace. A run that is resumed under another one follows the new one from there.
        collate: makes a batch of items.
        describe: stored in every checkpoint: what is needed to build the network again.

    Raises:
        ValueError: there are too few items for one batch, or a batch cannot be shared evenly.
        RuntimeError: a gradient (under ``16-mixed`` a loss) or a validation score is not finite. What was kept until
            then stays: the same call tries the epoch again.

    With ``MLFLOW_TRACKING_URI`` the run is recorded there too (:mod:`fpan_training.engine.tracking`).

    Several processes (``devices``, or ``torchrun``) share every batch, and the run's folder, which all of them read.
    """
    if len(dataset) < config.batch_size:
        raise ValueError(f"{len(dataset)} pictures do not fill a batch of {config.batch_size}")
    run.folder.mkdir(parents=True, exist_ok=True)
    fabric = launch(config)
    settings = _settings(run, config, describe)
    with tracked(run.folder, settings, lambda: run.history) if fabric.global_rank == 0 else nullcontext() as tracker:
        return _train(fabric, network, module, dataset, validate, run, config, collate, describe, tracker)


def _train(
    fabric: Fabric,
    network: nn.Module,
    module: Module,
    dataset: Any,
    validate: Validate,
    run: Run,
    config: LoopConfig,
    collate: Callable[[Any], Any],
    describe: dict[str, Any],
    tracker: Tracker | None,
) -> Run:
    fabric.seed_everything(config.seed, workers=True, verbose=False)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        network = cast(Any, nn.SyncBatchNorm).convert_sync_batchnorm(network)
    # On the device before it is copied, so that the average is there too.
    network = cast(nn.Module, cast(Any, network).to(fabric.device, memory_format=torch.channels_last))
    optimizer = torch.optim.AdamW(parameter_groups(network, config), config.lr, betas=(0.9, 0.999))
    blend = cast(Any, get_ema_multi_avg_fn)(config.ema_decay)
    average = AveragedModel(network, multi_avg_fn=blend, use_buffers=True)
    share = (fabric.global_rank, fabric.world_size)
    sampler = EpochSampler(len(dataset), config.seed, getattr(dataset, "repeats", None), share)
    own = config.batch_size // fabric.world_size
    loader = DataLoader(dataset, own, sampler=sampler, num_workers=config.workers, collate_fn=collate, drop_last=True)
    steps = len(loader) * config.epochs
    warmup = max(1, round(len(loader) * config.warmup_epochs))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warmup) * (1 - min(step, steps - 1) / steps) ** config.power
    )
    epoch = _resume(run, network, average, optimizer, schedule, fabric.strategy.precision)
    # Float16's gradients overflow now and then; the scaler leaves such a step out and scales less from there.
    scaled = bool(fabric.strategy.precision.state_dict())
    model, optimizer = fabric.setup(network, optimizer)
    batches = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
    while epoch < config.epochs:
        sampler.epoch = epoch
        torch.manual_seed(_epoch_seed(config.seed, epoch, fabric.global_rank))
        began = time.monotonic()
        model.train()
        sums: dict[str, float] = {}
        count = 0
        for batch in track(batches, f"epoch {epoch + 1}/{config.epochs}"):
            losses = module.train(model, batch)
            if scaled and not losses["loss"].isfinite():
                raise RuntimeError(
                    f"the loss of a batch of epoch {epoch + 1} is non-finite: lower `lr`, or take bf16-mixed"
                )
            fabric.backward(losses["loss"])
            fabric.clip_gradients(model, optimizer, max_norm=config.clip_norm, error_if_nonfinite=not scaled)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
            average.update_parameters(network)
            count += 1
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.item()
        epoch += 1
        row = {"epoch": float(epoch), "lr": float(max(schedule.get_last_lr()))}
        means = {name: torch.tensor(total / max(1, count)) for name, total in sums.items()}
        row |= {name: float(mean) for name, mean in cast(Any, fabric.all_reduce(means)).items()}
        row["seconds"] = time.monotonic() - began
        row["pictures_per_second"] = count * config.batch_size / row["seconds"]
        if fabric.global_rank == 0:
            better = False
            if epoch % config.validate_every == 0 or epoch == config.epochs:
                average.eval()
                figures = validate(average.module)
                _require_score(figures, average.module, epoch)
                better = figures["score"] > run.best_score
                row |= figures
            run.log(row)
            if better:
                save(run.best, {"network": average.module.state_dict(), "epoch": epoch, **describe})
            state = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
            parts = {name: part.state_dict() for name, part in state.items()}
            parts["precision"] = fabric.strategy.precision.state_dict()
            save(run.last, {**parts, "epoch": epoch, "history": run.history, **describe})
            if tracker is not None:
                tracker.epoch(run.history)
        fabric.print("  ".join(f"{k} {v:.4g}" for k, v in row.items()))
        fabric.barrier()
    return run


def launch(config: LoopConfig) -> Fabric:
    """The processes of a run, this one among them.

    Raises:
        ValueError: a batch cannot be shared evenly.
    """
    devices, nodes = config.devices, 1
    if TorchElasticEnvironment.detect():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    world = devices * nodes
    if config.batch_size % world:
        raise ValueError(f"a batch of {config.batch_size} cannot be shared evenly by {world} processes")
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if world > 1 else "auto",
        precision=config.precision,
    )
    fabric.launch()
    return fabric


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


def _settings(run: Run, config: LoopConfig, describe: dict[str, Any]) -> dict[str, Any]:
    """What a run is told to do: its own ``config.json`` or that of the run that it is a stage of, and the loop's."""
    files = (run.folder / CONFIG_FILE, run.folder.parent / CONFIG_FILE)
    said: dict[str, Any] = next((json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()), {})
    return {**said, **describe, "loop": asdict(config)}


def _epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """Of dropout and the like: from the epoch, not from what was drawn before, so that a resumed run draws the same."""
    return int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1)[0])


def _require_score(figures: dict[str, float], network: nn.Module, epoch: int) -> None:
    """Raises RuntimeError for a score by which no checkpoint can be chosen, and says where it may come from."""
    if math.isfinite(figures["score"]):
        return
    broken = [name for name, value in network.state_dict().items() if not value.isfinite().all()]
    cause = (
        f"the averaged weights are not finite, {broken[0]} first: look at the losses in log.jsonl, and lower `lr`"
        if broken
        else "the weights are finite, so look at the validation pictures: none may show what the score is measured on"
    )
    raise RuntimeError(f"the validation score after epoch {epoch} is {figures['score']}: {cause}. Measured: {figures}")


def _resume(run: Run, network: nn.Module, average: AveragedModel, optimizer: Any, schedule: Any, precision: Any) -> int:
    if not run.last.is_file():
        return 0
    state = torch.load(run.last, map_location="cpu", weights_only=True)
    for name, part in {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}.items():
        part.load_state_dict(state[name])
    # The scale of float16's gradients; other precisions, and runs that began with another, have none.
    if state.get("precision"):
        precision.load_state_dict(state["precision"])
    run.history = state["history"]
    return int(state["epoch"])


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint whole or not at all."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def batches_of(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Lists of up to ``size`` items in order."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
