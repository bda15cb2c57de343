"""What the trainings of all modules share: their options, presets and folders, and the shared loop with its curves."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import nn

from fpan_training.data.folder import name_of
from fpan_training.engine import plots
from fpan_training.engine.loop import Module, Validate, fit
from fpan_training.engine.resume_point import bring_resume_point
from fpan_training.engine.run import CONFIG_FILE, Run
from fpan_training.files import write_whole
from fpan_training.landmarks.store import FaceStore

Preset = Literal["smoke", "cpu", "paper"]
CONTACT_SHEET, CURVE = "contact.png", "curve.png"
"""In a run's folder: predictions on validation pictures, and the log as a picture."""


@dataclass(frozen=True)
class Settings:
    """Everything about a training but its data. The defaults of every module are those of the preset ``cpu``."""

    preset: Preset = "cpu"
    """What all other settings are where they are not given. ``smoke``: seconds, to see that it works; ``cpu``: two
    hours at most on two cores; ``paper``: the size and schedule of the publication, for a GPU."""


@dataclass(frozen=True)
class Training:
    """A training of one module, in one or more stages. Run it again with the same folder and it goes on."""

    data: tuple[str | Path, ...]
    """Data sets; the first one's ``val`` is validated on."""
    run: Path
    """Folder of the run: checkpoints, log, curve, contact sheet and ``config.json``. Earlier stages have folders of
    their names in it."""
    faces: Path | None = None
    """Folder of stores of `fpan-train landmarks`, one for each data set by its name."""
    resume_from: Path | None = None
    """A resume point (`fpan-train resume-point`) that a new run goes on from."""
    seed: int = 0
    """Of the first weights and of all that is drawn by chance."""
    settings: Settings = field(default_factory=Settings)

    presets: ClassVar[Mapping[Any, Any]]
    """The module's settings by preset."""
    stages: ClassVar[tuple[str, ...]] = ("loop",)
    """In order, by the names that their loops have in the settings."""
    curves: ClassVar[plots.Curves] = plots.Curves()
    """What of the history is drawn."""

    def folder(self, stage: str) -> Path:
        """Of a stage's own run; the last one's is the run's."""
        return self.run if stage == self.stages[-1] else self.run / stage

    def store(self, data: str | Path) -> FaceStore:
        """The landmarks of a data set.

        Raises:
            ValueError: no folder of stores was named.
        """
        return FaceStore(stores_in(self.faces) / name_of(data))

    def begin(self, **told: object) -> None:
        """Makes the run's folder with its ``config.json`` (options, settings and what else is ``told``), and puts the
        resume point where its stage goes on from it.
        """
        self.run.mkdir(parents=True, exist_ok=True)
        options = asdict(self)
        settings = options.pop("settings")
        text = json.dumps({**options, **settings, **told}, indent=2, default=name_of) + "\n"
        write_whole(self.run / CONFIG_FILE, text.encode())
        bring_resume_point(self.resume_from, {stage: self.folder(stage) for stage in self.stages})

    def begun(self, stage: str) -> bool:
        """Whether a stage has something to go on from, so that those before it are not needed any more."""
        return Run(self.folder(stage)).begun

    def train(
        self,
        stage: str,
        network: nn.Module,
        step: Module,
        data: Any,
        validate: Validate,
        collate: Callable[[Any], Any],
        describe: dict[str, Any],
    ) -> Run:
        """A stage in the shared loop, of which :func:`fit` says what the arguments are."""
        run = Run(self.folder(stage))

        def validated(average: nn.Module) -> dict[str, float]:
            plots.curve(run.history, run.folder / CURVE, self.curves)
            return validate(average)

        loop = getattr(self.settings, stage)
        fit(network, step, data, validated, run, loop, collate, {**describe, "stage": stage}, self.seed)
        plots.curve(run.history, run.folder / CURVE, self.curves)
        return run


@dataclass(frozen=True)
class CoveredTraining(Training):
    """A training on faces that something is put before."""

    backgrounds: Path | None = None
    """Folder of pictures: backgrounds, and textures of occluders."""
    occluders: Path | None = None
    """Folder of cut-outs with alpha, a folder for each family. Without it, occluders are drawn."""


def stores_in(faces: Path | None) -> Path:
    """The folder of stores.

    Raises:
        ValueError: none was named.
    """
    if faces is None:
        raise ValueError("--faces is needed: the folder of what `fpan-train landmarks` found in each data set")
    return faces
