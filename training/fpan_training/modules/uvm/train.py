"""`fpan-train train uvm`: trains the completion of UV maps on near-frontal faces."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import DataLoader

from fpan_training.data.check import check_labelled
from fpan_training.engine.loop import LoopConfig, Run, fit
from fpan_training.engine.plots import overlay
from fpan_training.engine.resume_point import bring_resume_point
from fpan_training.modules.dom.plots import to_bytes, write_rows
from fpan_training.modules.dom.step import psnr_inside
from fpan_training.modules.uvm.data import UvPairs, collate
from fpan_training.modules.uvm.identity import lom_identity
from fpan_training.modules.uvm.loss import UvmLossConfig
from fpan_training.modules.uvm.maps import MapsConfig, build_maps
from fpan_training.modules.uvm.model import UvGan, UvmConfig, build
from fpan_training.modules.uvm.step import UvmStep, colours, complete_batch, hidden
from fpan_training.taxonomy import TAXONOMY

VAL_SEED = 20_18
"""Of what is hidden on the validation maps: the same in every run, whatever the run's own seed."""
_SHOWN = 8
"""Rows of the contact sheet."""

Preset = Literal["smoke", "cpu", "paper"]


@dataclass(frozen=True)
class UvmSettings:
    """Everything about a training but its data."""

    uvm: UvmConfig = field(default_factory=UvmConfig)
    maps: MapsConfig = field(default_factory=MapsConfig)
    loss: UvmLossConfig = field(default_factory=UvmLossConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    @classmethod
    def smoke(cls) -> "UvmSettings":
        """Seconds."""
        loop = LoopConfig(
            epochs=2, batch_size=4, ema_decay=0.9, workers=0, precision="32-true", accelerator="cpu", validate_every=1
        )
        return cls(UvmConfig.smoke(), MapsConfig(hidden_views=2, occluded_views=1), loop=loop)

    @classmethod
    def cpu(cls) -> "UvmSettings":
        """About a quarter of an hour on two cores for 600 faces, of which some minutes to unwrap them."""
        return cls(UvmConfig.cpu(), loop=LoopConfig(epochs=8, lr=1e-3, weight_decay=1e-4))

    @classmethod
    def paper(cls) -> "UvmSettings":
        """UV-GAN's 256 texels; rate and epochs of pix2pix (Isola et al. 2017: 2e-4, 200 epochs)."""
        loop = LoopConfig(epochs=200, batch_size=32, lr=2e-4, weight_decay=0.0, ema_decay=0.999, workers=8)
        return cls(UvmConfig.paper(), loop=loop)


@dataclass(frozen=True)
class UvmTraining:
    """Trains UVM: it completes what a pose or an occluder hides of a face's UV map, texture and parts.

    Faces are unwrapped once and kept in the run. Run it again with the same folder and it goes on where it stopped.
    """

    data: tuple[Path, ...]
    """Data sets, or plain folders of pictures, which teach texture only; the first one's ``val`` is validated on."""
    faces: Path
    """Folder of stores of `fpan-train landmarks`, one by the name of each data set."""
    run: Path
    """Folder of the run: UV maps, checkpoints, log, curve and contact sheet."""
    lom: Path | None = None
    """LOM's checkpoint, whose features say whether a completed face is still the same person."""
    occluders: Path | None = None
    """Folder of cut-outs with alpha, which hide parts of faces. Without one, occluders are drawn."""
    preset: Preset = "cpu"
    """``smoke``: seconds; ``cpu``: about a quarter of an hour on two cores; ``paper``: UV-GAN's size."""
    epochs: int | None = None
    """In place of the preset's."""
    seed: int = 0
    resume_from: Path | None = None
    """A resume point (`fpan-train resume-point`) that a new run goes on from."""

    def settings(self) -> UvmSettings:
        """The preset with what was asked for besides."""
        presets = {"smoke": UvmSettings.smoke, "cpu": UvmSettings.cpu, "paper": UvmSettings.paper}
        chosen = presets[self.preset]()
        epochs = chosen.loop.epochs if self.epochs is None else self.epochs
        return replace(chosen, loop=replace(chosen.loop, epochs=epochs, seed=self.seed))

    def __call__(self) -> Run:
        """Trains to the end and returns the run."""
        check_labelled(*self.data)
        settings = self.settings()
        run = Run(self.run)
        bring_resume_point(self.resume_from, {"": run.folder})
        run.folder.mkdir(parents=True, exist_ok=True)
        maps = build_maps(self.data, self.faces, run.folder / "maps", settings.uvm.size, settings.maps, self.occluders)
        described = {**asdict(self), **asdict(settings), "maps_seen": len(maps.train)}
        (run.folder / "config.json").write_text(json.dumps(described, indent=2, default=_name) + "\n")
        train = UvPairs(maps.train, settings.loop.seed, training=True)
        val = UvPairs(maps.val, VAL_SEED, training=False)
        torch.manual_seed(settings.loop.seed)
        network = build(settings.uvm)
        identity = None if self.lom is None else lom_identity(self.lom)
        step = UvmStep(settings.loss, identity)

        def validate(average: nn.Module) -> dict[str, float]:
            figures = validate_uvm(cast(UvGan, average), val, settings.loop.batch_size, run.folder / "contact.png")
            curve(run.history, run.folder / "curve.png")
            return figures

        done = fit(network, step, train, validate, run, settings.loop, collate, {"uvm": asdict(settings.uvm)})
        curve(run.history, run.folder / "curve.png")
        return done


def validate_uvm(network: UvGan, val: UvPairs, batch_size: int, sheet: Path | None = None) -> dict[str, float]:
    """PSNR in dB of what was hidden, mean over maps, which is the score; the same of mirroring; and how much of the
    hidden labels the label head gets right. Draws partial map, completed map, truth and the head's labels.
    """
    ours: list[float] = []
    mirrored: list[float] = []
    right = known = 0
    rows = []
    for batch in DataLoader(val, batch_size, collate_fn=collate):
        texture, completed = complete_batch(network, batch)
        texture = texture.cpu()
        where = hidden(batch)
        truth = colours(batch.texture)
        ours += psnr_inside(texture, truth, where)
        mirrored += psnr_inside(colours(batch.filled), truth, where)
        labels = completed.labels.argmax(1).cpu()
        asked = (where[:, 0] > 0) & (batch.labels != TAXONOMY.ignore)
        right += int((labels == batch.labels)[asked].sum())
        known += int(asked.sum())
        for shown, partial, whole, parts in zip(texture, batch.partial, batch.texture, labels, strict=True):
            painted = overlay(whole.numpy(), parts.numpy().astype(np.uint8), TAXONOMY)
            rows.append(np.concatenate([partial.numpy(), to_bytes(shown), whole.numpy(), painted], 1))
    if sheet is not None:
        write_rows(rows[:: max(1, len(rows) // _SHOWN)][:_SHOWN], sheet)
    score = float(np.mean(ours))
    labels_right = {"labels_right": right / known} if known else {}
    return {"score": score, "psnr": score, "psnr_mirror": float(np.mean(mirrored)), **labels_right}


def curve(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draws both sides' losses and the PSNR, beside mirroring's, over the epochs."""
    if not history:
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in ("generator", "discriminator"):
        left.plot([r["epoch"] for r in history], [r[name] for r in history], label=name)
    validated = [r for r in history if "score" in r]
    for name, title in (("psnr", "completed"), ("psnr_mirror", "mirrored")):
        right.plot([r["epoch"] for r in validated], [r[name] for r in validated], marker=".", label=title)
    right.set_ylabel("val PSNR of what was hidden, dB")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def _name(path: Path) -> str:
    """Folders are written by their last name: where they lie on one machine is of no use on another."""
    return path.name
