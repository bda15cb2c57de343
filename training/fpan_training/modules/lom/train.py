"""`fpan-train train lom`: trains the landmark and occlusion network in its two stages."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from fpan_training.data.assets import Split
from fpan_training.data.check import check
from fpan_training.data.folder import DataError
from fpan_training.data.mixture import pictures_of_an_epoch
from fpan_training.engine.loop import LoopConfig, Run, fit
from fpan_training.engine.resume_point import bring_resume_point
from fpan_training.landmarks import FaceStore
from fpan_training.modules.lom.clean import CLEAN_FILE, CleanConfig, CleanFaces
from fpan_training.modules.lom.data import (
    EYE_CORNERS,
    LomAugmentConfig,
    LomData,
    MarkedFace,
    Occluder,
    class_flags,
    collate,
    mean_shape,
)
from fpan_training.modules.lom.evaluate import point_errors, predict_crops, visibility_figures
from fpan_training.modules.lom.loss import class_rarity
from fpan_training.modules.lom.model import Lom
from fpan_training.modules.lom.occluders import open_occluder
from fpan_training.modules.lom.settings import LomSettings
from fpan_training.modules.lom.step import LomStep

Preset = Literal["smoke", "cpu", "full", "paper"]
_FIRST_WEIGHTS = 0.01
"""Of the landmarks' layer, against its usual ones: the network starts from the mean face."""


@dataclass(frozen=True)
class LomTraining:
    """Trains LOM: first the landmarks, then, with these frozen, their visibility. Run it again with the same folder and
    it goes on where it stopped.

    A folder of pictures with a ``split.json`` gives its ``train``, any other all of its pictures. The run's ``best.pt``
    is that of the second stage; ``landmarks/`` and ``visibility/`` are the stages' own runs.
    """

    data: tuple[Path, ...]
    """Data sets, whose masks may tell any classes apart, or plain folders of pictures; the first one's ``val`` is
    validated on."""
    faces: Path
    """Folder of stores of `fpan-train landmarks`, one by the name of each data set."""
    run: Path
    """Folder of the run."""
    backgrounds: Path | None = None
    """Pictures whose parts become textures of occluders."""
    occluders: Path | None = None
    """Cut-outs with alpha; without them, occluders are drawn."""
    shares: tuple[float, ...] = ()
    """What part of an epoch's faces each data set but the first makes up; empty: every face once."""
    epoch_faces: int = 0
    """Faces of an epoch; 0: every face of the first data set once."""
    clean: Annotated[CleanConfig, tyro.conf.arg(name="")] = field(default_factory=CleanConfig)
    """Which faces teach that landmarks are visible; all teach where landmarks are."""
    preset: Preset = "cpu"
    """``smoke``: seconds; ``cpu``: about 20 minutes on two cores; ``full``: hours, twice the width; ``paper``: PFLD's
    width and schedule."""
    epochs: int | None = None
    """Of stage 1, in place of the preset's."""
    seed: int = 0
    resume_from: Path | None = None
    """A resume point (`fpan-train resume-point`) that a new run goes on from."""

    def settings(self) -> LomSettings:
        """The preset with what was asked for besides."""
        presets = {
            "smoke": LomSettings.smoke,
            "cpu": LomSettings.cpu,
            "full": LomSettings.full,
            "paper": LomSettings.paper,
        }
        chosen = presets[self.preset]()
        epochs = chosen.loop.epochs if self.epochs is None else self.epochs
        return replace(
            chosen,
            loop=replace(chosen.loop, epochs=epochs, seed=self.seed),
            visibility=replace(chosen.visibility, seed=self.seed),
        )

    def __call__(self) -> Run:
        """Trains both stages to the end and returns the second's run.

        Raises:
            DataError: something is wrong with the data, or nobody tells of any face that nothing covers it.
            ValueError: shares that do not fit the data sets.
        """
        check(*(folder for folder in self.data if (folder / "masks").is_dir()))
        settings, clean = self.settings(), CleanFaces(self.clean, self.run / CLEAN_FILE)
        sets = [clean.faces(folder, "train", FaceStore(self.faces / folder.name)) for folder in self.data]
        val = clean.faces(self.data[0], "val", FaceStore(self.faces / self.data[0].name))
        faces = [face for part in sets for face in part]
        for part, name in ((faces, "train"), (val, "val")):
            if all(face.covered is None for face in part):
                raise DataError(
                    f"nobody tells which faces of {name} are clean, so that none teaches which landmarks are visible: "
                    "name a LOM with --clean-by, data sets with --clean-data, or pictures with --clean-list"
                )
        counts = [len(part) for part in sets]
        wanted = pictures_of_an_epoch(counts, self.shares, self.epoch_faces)
        repeats = np.repeat(np.array(wanted) / counts, counts)
        bring_resume_point(self.resume_from, {stage: self.run / stage for stage in ("landmarks", "visibility")})
        self.run.mkdir(parents=True, exist_ok=True)
        described = {**asdict(self), **asdict(settings), "faces_seen": len(faces)}
        (self.run / "config.json").write_text(json.dumps(described, indent=2, default=_name) + "\n")

        def occluder(split: Split) -> Occluder:
            return open_occluder(self.backgrounds, self.occluders, split)

        run = train_stages(settings, faces, val, occluder, self.run, None if (repeats == 1).all() else repeats)
        shutil.copyfile(run.best, self.run / "best.pt")
        return run


def train_stages(
    settings: LomSettings,
    faces: list[MarkedFace],
    val: tuple[MarkedFace, ...],
    occluder: Callable[[Split], Occluder],
    folder: Path,
    repeats: NDArray[np.float64] | None = None,
) -> Run:
    """Trains both stages in folders of their own and returns the second's run. The first is left out where the second
    has begun.

    Args:
        settings: sizes and schedules.
        faces: to learn from.
        val: to choose by: stage 1 by NME, stage 2 by the AUC of covered landmarks.
        occluder: makes the generator for ``train`` and ``val``.
        folder: of the run.
        repeats: how often each face comes in an epoch, float (faces,); None: each once. Stage 2 leaves out those whose
            visibility nobody tells.
    """
    margin, seed = settings.lom.margin, settings.loop.seed
    torch.manual_seed(seed)
    network = Lom(settings.lom)
    start_from_mean(network, mean_shape(faces, margin))
    training, measuring = occluder("train"), occluder("val")

    def stage(
        step: LomStep, augment: LomAugmentConfig, loop: LoopConfig, validate: Callable[..., dict[str, float]]
    ) -> Run:
        run = Run(folder / step.stage)
        used = [i for i, face in enumerate(faces) if step.stage == "landmarks" or face.covered is not None]
        often = None if repeats is None else repeats[used]
        data = LomData([faces[i] for i in used], margin, training, augment, seed, often)

        def validated(average: nn.Module) -> dict[str, float]:
            draw_curve(run.history, run.folder / "curve.png")
            return validate(average)

        describe = {"lom": asdict(settings.lom), "stage": step.stage}
        return fit(network, step, data, validated, run, loop, collate, describe)

    clean, covered = LomData(val, margin), LomData(val, margin, measuring)

    def by_nme(average: nn.Module) -> dict[str, float]:
        predictions = predict_crops(average, clean)
        errors = point_errors("val", predictions.points, predictions.truth, EYE_CORNERS)
        return {"score": -float(errors.interocular.mean()), "nme": float(errors.interocular.mean())}

    def by_auc(average: nn.Module) -> dict[str, float]:
        predictions = predict_crops(average, covered)
        figures = visibility_figures(predictions.visibility, predictions.covered)
        return {"score": figures.auc, "auc": figures.auc, "f1": figures.f1}

    rarity = class_rarity(class_flags(faces, settings.augment.p_occluded), settings.loss)
    if not Run(folder / "visibility").begun:
        first = stage(LomStep("landmarks", settings.loss, rarity), settings.augment, settings.loop, by_nme)
        network.load_state_dict(torch.load(first.best, map_location="cpu", weights_only=True)["network"])
    network.freeze_landmarks()
    second = replace(settings.augment, p_occluded=settings.p_occluded)
    return stage(LomStep("visibility", settings.loss), second, settings.visibility, by_auc)


def start_from_mean(network: Lom, shape: NDArray[np.float32]) -> None:
    """Makes an untrained network say the mean landmarks, float32 (264, 2) in shares of the crop's side."""
    with torch.no_grad():
        network.landmarks.weight.mul_(_FIRST_WEIGHTS)
        network.landmarks.bias.copy_(torch.from_numpy(shape).flatten())


def draw_curve(history: list[dict[str, float]], path: Path) -> None:
    """Draws the loss and the figures on the validation faces over the epochs."""
    if not history:
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy([r["epoch"] for r in history], [r["loss"] for r in history], label="training loss")
    validated = [r for r in history if "score" in r]
    for name in ("nme", "auc", "f1"):
        if validated and name in validated[0]:
            right.plot([r["epoch"] for r in validated], [r[name] for r in validated], marker=".", label=f"val {name}")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    figure.savefig(path, dpi=110)


def _name(path: Path) -> str:
    """Folders are written by their last name: where they lie on one machine is of no use on another."""
    return path.name
