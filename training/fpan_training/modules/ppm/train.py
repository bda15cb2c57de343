"""`fpan-train train ppm`: trains the head pose network on faces whose pose is known."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from matplotlib.figure import Figure
from torch import nn

from fpan_training.data.check import check_labelled
from fpan_training.engine.loop import LoopConfig, Run, fit
from fpan_training.engine.resume_point import bring_resume_point
from fpan_training.landmarks import FaceStore
from fpan_training.modules.ppm.data import PoseAugmentConfig, PoseData, PosedFace, collate, repeat_by_yaw
from fpan_training.modules.ppm.evaluate import measure
from fpan_training.modules.ppm.loss import PoseLossConfig
from fpan_training.modules.ppm.model import AXES, PoseNetwork, PpmConfig
from fpan_training.modules.ppm.sources import LabelSource, from_posed, from_store
from fpan_training.modules.ppm.step import PoseStep

Preset = Literal["smoke", "cpu", "paper"]


@dataclass(frozen=True)
class PpmSettings:
    """Everything about a training but its data."""

    ppm: PpmConfig = field(default_factory=PpmConfig)
    loss: PoseLossConfig = field(default_factory=PoseLossConfig)
    augment: PoseAugmentConfig = field(default_factory=PoseAugmentConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    rare: float = 0.2
    """Faces of a yaw, in bins of 15 degrees, that fewer than this share have come more often; 0: each comes once."""

    @classmethod
    def smoke(cls) -> "PpmSettings":
        """Seconds: small crops, from scratch."""
        loop = LoopConfig(
            epochs=8,
            batch_size=8,
            lr=2e-3,
            ema_decay=0.5,
            workers=0,
            precision="32-true",
            accelerator="cpu",
        )
        return cls(PpmConfig(input_size=64, pretrained=False), loop=loop)

    @classmethod
    def cpu(cls) -> "PpmSettings":
        """About 10 minutes for 3,000 faces on two cores."""
        return cls(loop=LoopConfig(epochs=6, batch_size=32, lr=1e-3, precision="32-true", accelerator="cpu"))

    @classmethod
    def paper(cls) -> "PpmSettings":
        """Hopenet's crop, epochs and rate (section 4: 224 pixels, 25 epochs, 1e-5), on this project's backbone."""
        loop = LoopConfig(epochs=25, batch_size=64, lr=1e-5, pretrained_lr=1.0, weight_decay=0.0, workers=8)
        return cls(PpmConfig(input_size=224), loop=loop)


@dataclass(frozen=True)
class PpmTraining:
    """Trains PPM, the head's pose from a face crop. Run it again with the same folder and it goes on where it stopped.

    A folder of pictures with a ``split.json`` gives its ``train``, any other all of its pictures.
    """

    data: tuple[Path, ...]
    """Data sets or plain folders of pictures; the first one's ``val`` is validated on."""
    faces: Path
    """Folder of stores of `fpan-train landmarks`, one by the name of each data set."""
    run: Path
    """Folder of the run: checkpoints, log and curve."""
    posed: Path | None = None
    """Folder of renders at large poses: ``images/`` and ``landmarks/NAME.json`` with points and angles."""
    labels: LabelSource = "teacher"
    """Whose angles are learnt: the landmark teacher's mesh, or the 3D face fitted to it."""
    preset: Preset = "cpu"
    """``smoke``: seconds; ``cpu``: about 10 minutes on two cores; ``paper``: Hopenet's schedule."""
    head: Literal["bins", "sixd"] = "bins"
    """``bins``: Hopenet; ``sixd``: 6-D rotation with the geodesic loss (6DRepNet)."""
    epochs: int | None = None
    """In place of the preset's."""
    seed: int = 0
    resume_from: Path | None = None
    """A resume point (`fpan-train resume-point`) that a new run goes on from."""

    def settings(self) -> PpmSettings:
        """The preset with what was asked for besides."""
        chosen: PpmSettings = {"smoke": PpmSettings.smoke, "cpu": PpmSettings.cpu, "paper": PpmSettings.paper}[
            self.preset
        ]()
        epochs = chosen.loop.epochs if self.epochs is None else self.epochs
        return replace(
            chosen,
            ppm=replace(chosen.ppm, head=self.head),
            loop=replace(chosen.loop, epochs=epochs, seed=self.seed),
        )

    def __call__(self) -> Run:
        """Trains to the end and returns the run."""
        check_labelled(*self.data)
        settings = self.settings()
        faces: list[PosedFace] = []
        for folder in self.data:
            faces += from_store(folder, "train", FaceStore(self.faces / folder.name), self.labels).faces
        if self.posed is not None:
            faces += from_posed(self.posed).faces
        val = from_store(self.data[0], "val", FaceStore(self.faces / self.data[0].name), self.labels)
        seed = settings.loop.seed
        train = PoseData(faces, settings.ppm, settings.augment, seed, repeat_by_yaw(faces, settings.rare))
        torch.manual_seed(seed)
        network = PoseNetwork(settings.ppm)
        run = Run(self.run)
        bring_resume_point(self.resume_from, {"": run.folder})
        run.folder.mkdir(parents=True, exist_ok=True)
        described = {**asdict(self), **asdict(settings), "faces_seen": len(faces)}
        (run.folder / "config.json").write_text(json.dumps(described, indent=2, default=_name) + "\n")
        step = PoseStep(settings.loss)

        def validate(average: nn.Module) -> dict[str, float]:
            errors = measure(average, step, val, settings.ppm)
            figures = {f"mae_{axis}": errors.mae(axis) for axis in AXES}
            draw_curve(run.history, run.folder / "curve.png")
            return {"score": -errors.mean(), **figures}

        return fit(network, step, train, validate, run, settings.loop, collate, {"ppm": asdict(settings.ppm)})


def draw_curve(history: list[dict[str, float]], path: Path) -> None:
    """Draws the loss and the errors on the validation faces over the epochs."""
    if not history:
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy([r["epoch"] for r in history], [r["loss"] for r in history], label="training loss")
    validated = [r for r in history if "score" in r]
    for axis in AXES:
        right.plot([r["epoch"] for r in validated], [r[f"mae_{axis}"] for r in validated], marker=".", label=axis)
    right.set_ylabel("val MAE, degrees")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    figure.savefig(path, dpi=110)


def _name(path: Path) -> str:
    """Folders are written by their last name: where they lie on one machine is of no use on another."""
    return path.name
