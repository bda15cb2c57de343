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
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from fpan_training.data.loader import EpochSampler
from fpan_training.engine.checkpoint import TrainingState, save
from fpan_training.engine.optimizer import parameter_groups, schedule
from fpan_training.engine.progress import RunProgress
from fpan_training.engine.run import CONFIG_FILE, Run
from fpan_training.engine.settings import LoopConfig
from fpan_training.engine.stopping import Interrupted, StopRequest, TrainingStopped, outlive_signals
from fpan_training.engine.tracking import Tracker, tracked


class Module(Protocol):
    """What the loop needs of a module of the paper."""

    def train(self, network: nn.Module, batch: Any, /) -> dict[str, Tensor]:
        """The losses of a batch; the one called ``loss`` is minimised."""
        ...


Validate = Callable[[nn.Module], dict[str, float]]
"""Figures of a network on the validation pictures; ``score`` is what checkpoints are chosen by (higher is better)."""


def fit(
    network: nn.Module,
    module: Module,
    dataset: Any,
    validate: Validate,
    run: Run,
    config: LoopConfig,
    collate: Callable[[Any], Any],
    describe: dict[str, Any],
    seed: int = 0,
) -> Run:
    """Trains to the end of ``config.epochs``, from the step of ``last.pt`` where there is one, or of a resume point.

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
        seed: of the order of the pictures, and of what the step draws by chance.

    Raises:
        ValueError: there are too few items for one batch; a batch cannot be shared evenly; what is to go on is another
            network's, or a resume point whose epochs are all done.
        RuntimeError: a gradient (under ``16-mixed`` a loss) or a validation score is not finite. What was kept until
            then stays: the same call goes on from there.
        TrainingStopped: SIGINT or SIGTERM came; ``last.pt`` was written after the batch that was at work. During a
            validation that is at once, and the same call repeats the validation.

    With ``MLFLOW_TRACKING_URI`` the run is recorded there too (:mod:`fpan_training.engine.tracking`).

    Several processes (``devices``, or ``torchrun``) share every batch, and the run's folder, which all of them read.
    """
    if len(dataset) < config.batch_size:
        raise ValueError(f"{len(dataset)} pictures do not fill a batch of {config.batch_size}")
    run.folder.mkdir(parents=True, exist_ok=True)
    task = _Task(network, module, dataset, validate, run, config, collate, describe, seed)
    fabric = launch(config)
    settings = _settings(run, config, describe)
    record = tracked(run.folder, settings, lambda: run.history) if fabric.global_rank == 0 else nullcontext()
    with record as tracker, StopRequest.listening() as stop:
        _Training(task, fabric, tracker, stop).go_on()
    return run


@dataclass(frozen=True)
class _Task:
    """What :func:`fit` is given."""

    network: nn.Module
    module: Module
    dataset: Any
    validate: Validate
    run: Run
    config: LoopConfig
    collate: Callable[[Any], Any]
    describe: dict[str, Any]
    seed: int


class _Training:
    """A run in one of its processes, as far as ``last.pt`` says that it has come."""

    def __init__(self, task: _Task, fabric: Fabric, tracker: Tracker | None, stop: StopRequest) -> None:
        config, run = task.config, task.run
        fabric.seed_everything(task.seed, workers=True, verbose=False)
        network = task.network
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            network = cast(Any, nn.SyncBatchNorm).convert_sync_batchnorm(network)
        # On the device before it is copied, so that the average is there too.
        network = cast(nn.Module, cast(Any, network).to(fabric.device, memory_format=torch.channels_last))
        optimizer = torch.optim.AdamW(parameter_groups(network, config), config.lr, betas=(0.9, 0.999))
        blend = cast(Any, get_ema_multi_avg_fn)(config.ema_decay)
        average = AveragedModel(network, multi_avg_fn=blend, use_buffers=True)
        state = TrainingState(network, average, optimizer, fabric.strategy.precision, config.batch_size)
        run.take_up(state, config.epochs)
        share = (fabric.global_rank, fabric.world_size)
        self.sampler = EpochSampler(len(task.dataset), task.seed, getattr(task.dataset, "repeats", None), share)
        loader = DataLoader(
            task.dataset,
            config.batch_size // fabric.world_size,
            sampler=self.sampler,
            num_workers=config.workers,
            collate_fn=task.collate,
            drop_last=True,
            worker_init_fn=outlive_signals,
        )
        self.schedule = schedule(optimizer, config, len(loader), state)
        # Float16's gradients overflow now and then; the scaler leaves such a step out and scales less from there.
        self.scaled = bool(fabric.strategy.precision.state_dict())
        self.model, self.optimizer = fabric.setup(network, optimizer)
        self.batches = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
        self.task, self.fabric, self.tracker, self.stop, self.state = task, fabric, tracker, stop, state
        self.first = fabric.global_rank == 0
        """Whether this process validates and writes for all."""
        self.saved_at = time.monotonic()

    def go_on(self) -> None:
        """Trains what is left."""
        config, steps, state = self.task.config, len(self.batches), self.state
        title = "/".join(self.task.run.folder.absolute().parts[-2:])
        done = state.epoch * steps + state.step
        with RunProgress(title, config.epochs, steps, config.batch_size, done, self.first) as progress:
            while state.epoch < config.epochs:
                self._train_epoch(progress)
                self._end_epoch(progress)

    def _train_epoch(self, progress: RunProgress) -> None:
        """The batches of the epoch that are left."""
        state, config = self.state, self.task.config
        self.sampler.epoch, self.sampler.skip = state.epoch, state.step * config.batch_size
        began = time.monotonic() - state.seconds
        self.model.train()
        for batch in self.batches:
            torch.manual_seed(_step_seed(self.task.seed, state.epoch, state.step, self.fabric.global_rank))
            for name, value in self._train_batch(batch).items():
                state.sums[name] = state.sums.get(name, 0.0) + value.item()
            state.step += 1
            state.seconds = time.monotonic() - began
            progress.step()
            if state.step < len(self.batches):
                self._check_in()

    def _train_batch(self, batch: Any) -> dict[str, Tensor]:
        losses = self.task.module.train(self.model, batch)
        if self.scaled and not losses["loss"].isfinite():
            raise RuntimeError(
                f"the loss of a batch of epoch {self.state.epoch + 1} is non-finite: lower `lr`, or take bf16-mixed"
            )
        self.fabric.backward(losses["loss"])
        limit = self.task.config.clip_norm
        self.fabric.clip_gradients(self.model, self.optimizer, max_norm=limit, error_if_nonfinite=not self.scaled)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        self.state.average.update_parameters(self.state.network)
        return losses

    def _end_epoch(self, progress: RunProgress) -> None:
        """Validates the epoch where it is time to, and writes its row."""
        state = self.state
        means = self._mean_of_processes({name: total / state.step for name, total in state.sums.items()})
        row = {"epoch": state.epoch + 1.0, "lr": float(max(self.schedule.get_last_lr())), **means}
        row["seconds"] = state.seconds
        row["pictures_per_second"] = state.step * self.task.config.batch_size / state.seconds
        figures = self._validate(row) if self.first else {}
        # Where the first process was interrupted, all stop before the epoch's end; else all go on together.
        (interrupted,) = self._highest(int(figures is None))
        if interrupted:
            self._check_in()
        state.begin_epoch(state.epoch + 1)
        if self.first:
            self._write()
            if self.tracker is not None:
                self.tracker.epoch(self.task.run.history)
        progress.epoch(row, figures or {})
        self._check_in()

    def _validate(self, row: dict[str, float]) -> dict[str, float] | None:
        """The figures, none where it is not time for them, once the log has them; None: a signal came before that."""
        state, task, epoch = self.state, self.task, self.state.epoch + 1
        figures: dict[str, float] = {}
        better = False
        if epoch % task.config.validate_every == 0 or epoch == task.config.epochs:
            state.average.eval()
            try:
                with self.stop.interrupting():
                    figures = task.validate(state.average.module)
            except Interrupted:
                return None
            _require_score(figures, state.average.module, epoch)
            better = figures["score"] > task.run.best_score
        task.run.log(row | figures)
        if better:
            save(task.run.best, {"network": state.average.module.state_dict(), "epoch": epoch, **task.describe})
        return figures

    def _check_in(self) -> None:
        """Between two batches: writes ``last.pt`` where it is time to, and stops where a signal asks for it.

        Raises:
            TrainingStopped: it does.
        """
        minutes = (time.monotonic() - self.saved_at) / 60
        due = self.first and self.state.step > 0 and minutes >= self.task.config.checkpoint_minutes
        due_anywhere, number = self._highest(int(due), self.stop.number)
        if due_anywhere or number:
            self.state.sums = self._mean_of_processes(self.state.sums)
            if self.first:
                self._write()
        if number:
            epoch, step = self.state.epoch, self.state.step
            epochs = self.task.config.epochs
            at = f"epoch {epoch + 1}/{epochs}, step {step}" if step else f"the end of epoch {epoch}/{epochs}"
            raise TrainingStopped(number, f"stopped at {at}: the same command goes on from there" if self.first else "")

    def _write(self) -> None:
        save(self.task.run.last, {**self.state.dump(), "history": self.task.run.history, **self.task.describe})
        self.saved_at = time.monotonic()

    def _highest(self, *numbers: int) -> tuple[int, ...]:
        """Of every number the highest in any process, so that all of them do the same."""
        if self.fabric.world_size == 1:
            return numbers
        highest = cast(Any, self.fabric.all_reduce(torch.tensor(numbers), reduce_op="max"))
        return tuple(int(number) for number in highest)

    def _mean_of_processes(self, values: dict[str, float]) -> dict[str, float]:
        if self.fabric.world_size == 1:
            return values
        tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
        return {name: float(mean) for name, mean in cast(Any, self.fabric.all_reduce(tensors)).items()}


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


def _settings(run: Run, config: LoopConfig, describe: dict[str, Any]) -> dict[str, Any]:
    """What a run is told to do: its own ``config.json`` or that of the run that it is a stage of, and the loop's."""
    files = (run.folder / CONFIG_FILE, run.folder.parent / CONFIG_FILE)
    said: dict[str, Any] = next((json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()), {})
    return {**said, **describe, "loop": asdict(config)}


def _step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """Of dropout and the like: from the step, not from what was drawn before, so that a resumed run draws the same."""
    return int(np.random.SeedSequence((seed, epoch, step, rank)).generate_state(1)[0])


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
