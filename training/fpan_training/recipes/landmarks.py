"""The recipe of LOM: a first one takes labelled faces for clean, the second asks the first which faces are."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from fpan_training.engine.machine import machine
from fpan_training.engine.page import table, write_page
from fpan_training.engine.stages import Stage
from fpan_training.face3d.rendered import FACES
from fpan_training.landmarks.build import LandmarkBuild
from fpan_training.modules.lom.clean import CleanConfig
from fpan_training.modules.lom.report import LomReport
from fpan_training.modules.lom.settings import PRESETS
from fpan_training.modules.lom.train import LomTraining
from fpan_training.recipes.context import Context
from fpan_training.recipes.data import TrainingSets, prepare, require

YOUTUBE = "youtube_landmarks68"
"""Measured on, never learnt from."""
MASKED = "maskedface500"
"""Its masks mark what covers its faces."""
SHARES = {
    "ccp_wide": 0.08,
    "lfw_parts": 0.2,
    MASKED: 0.08,
    "figaro": 0.05,
    "facesynthetics100": 0.02,
    "celeba_unlabelled": 0.12,
}
"""Of an epoch's faces: those in the wild come more often than there are, since what is measured is in the wild."""
EPOCH_FACES = 9000
FIRST_EPOCHS = 12
"""Of the first round, which only has to tell clean faces: a third of its preset's."""
TAKEN = ("celeba", "facesynthetics100")
"""Counted as clean in the first round: few of them are covered, and their labels could not tell."""
PAGE = Path("docs/results/landmarks.md")
_BEFORE = {"nme": 0.0470, "youtube/68": 0.0913, "youtube/the teacher": 0.0697, "auc/val": 0.900, "auc/heldout": 0.943}
"""Of docs/results/modules/lom.md: 2,158 faces, occluded ones among them taken for clean; val of 83 faces."""
_ROWS = (
    ("NME, val, %", "nme", 100, "3.5"),
    (f"NME, {YOUTUBE}, %", "youtube/68", 100, "7.8"),
    ("the same of the teacher", "youtube/the teacher", 100, ""),
    ("AUC of covered landmarks, val", "auc/val", 1, ""),
    ("the same, held-out occluders", "auc/heldout", 1, ".97"),
    ("false alarms at 90 % found, held out, %", "alarms/heldout", 100, "5"),
    (f"AUC, {MASKED} val, as labelled", f"auc/{MASKED}, as labelled", 1, ""),
    (f"false alarms at 90 % found, {MASKED}, %", f"alarms/{MASKED}, as labelled", 100, ""),
)
"""What is read, its name in a report's ``lom.json``, its factor, and what is to be reached."""


@dataclass(frozen=True)
class Landmarks:
    """The recipe's folders and stages."""

    context: Context

    @property
    def _smoke(self) -> bool:
        return self.context.budget == "smoke"

    @property
    def _sets(self) -> TrainingSets:
        return TrainingSets.of(self.context)

    @property
    def _data(self) -> tuple[Path, ...]:
        """What is learnt from. Of other wild sets the teacher knows too little: its points end at 50 degrees of yaw."""
        sets = self._sets
        return sets.all if self._smoke else (sets.full, *(data for data in sets.all[1:] if data.name in SHARES))

    @property
    def _faces(self) -> Path:
        """Landmark stores, one for each data set by its name."""
        return self.context.run / "faces"

    @property
    def _youtube(self) -> Path | None:
        root = self.context.data_root
        return None if root is None else root / YOUTUBE

    def stages(self) -> tuple[Stage, ...]:
        """In order."""
        page = self.context.run / PAGE.name if self._smoke else PAGE
        return (
            Stage("data", "data sets, merged and aligned", self._prepare),
            Stage("points", "landmarks and pose of every face, by the teacher", self._points),
            self._round(1, "LOM on all faces; labelled ones are taken for clean"),
            self._round(2, "LOM on all faces; the first round tells which are clean"),
            Stage("report-1", "errors and hidden landmarks told, round 1", self._report(1)),
            Stage("report-2", "the same of round 2, and its form in eight bits", self._report(2)),
            Stage("page", "both beside each other", lambda: self._page(page)),
        )

    def _prepare(self) -> None:
        if self.context.data_root is not None:
            require(self.context.data_root, (YOUTUBE,))
        prepare(self.context)
        if self._smoke:
            # Of rendered faces the landmarks are known.
            for data in self._data:
                shutil.copytree(data / FACES, self._faces / data.name, dirs_exist_ok=True)

    def _points(self) -> None:
        for data in (*self._data, *([] if self._youtube is None else [self._youtube])):
            LandmarkBuild(data, self._faces / data.name, processes=1 if self._smoke else 2)()

    def _round(self, round_: int, about: str) -> Stage:
        training = self.training(round_)
        return Stage(f"round-{round_}", about, training, training.settings.landmarks.devices)

    def training(self, round_: int) -> LomTraining:
        """The first or the second LOM."""
        sets = self._sets
        first = self.context.run / "round-1" / "best.pt"
        clean = CleanConfig(clean_data=(sets.full.name, *TAKEN)) if round_ == 1 else CleanConfig(clean_by=first)
        training = LomTraining(
            self._data,
            self.context.run / f"round-{round_}",
            self._faces,
            seed=self.context.seed,
            backgrounds=sets.backgrounds,
            occluders=sets.occluders,
        )
        if self._smoke:
            # So short a training is sure of nothing.
            once = {stage: replace(getattr(PRESETS["smoke"], stage), epochs=1) for stage in LomTraining.stages}
            settings, clean = replace(PRESETS["smoke"], **once), replace(clean, clean_certainty=0.2)
            return replace(training, settings=settings, clean=clean)
        settings = PRESETS["full"]
        if round_ == 1:
            settings = replace(PRESETS["cpu"], landmarks=replace(PRESETS["cpu"].landmarks, epochs=FIRST_EPOCHS))
        share = tuple(SHARES[data.name] for data in self._data[1:])
        return replace(training, settings=settings, share=share, epoch_pictures=EPOCH_FACES, clean=clean)

    def _report(self, round_: int) -> LomReport:
        run, sets = self.context.run, self._sets
        return LomReport(
            run / f"round-{round_}",
            sets.full,
            run / f"report-{round_}",
            self._faces,
            self._youtube,
            sets.backgrounds,
            sets.occluders,
            None if self._smoke else next(data for data in sets.wild if data.name == MASKED),
            export=round_ == 2 and not self._smoke,
            threads=1 if self._smoke else 2,
        )

    def _page(self, page: Path) -> Path:
        """Writes the page of results."""
        rounds = [json.loads((self.context.run / f"report-{n}" / "lom.json").read_text("utf-8")) for n in (1, 2)]

        def cell(figures: dict[str, float], key: str, factor: int) -> str:
            value = figures.get(key)
            return "" if value is None else f"{value * factor:.{2 if factor > 1 else 3}f}"

        rows = [
            [name, *(cell(figures, key, factor) for figures in (_BEFORE, *rounds)), hold]
            for name, key, factor, hold in _ROWS
        ]
        told = (self.context.run / "report-2" / "lom.md").read_text(encoding="utf-8").splitlines()
        lines = [
            "    fpan-train recipe landmarks",
            "",
            f"On {machine()}. Learnt from {len(self._data)} data sets; val has {rounds[0]['pictures']:.0f} faces,",
            "83 before. Landmarks of val are the teacher's: the error says how well it is imitated. Occluders are",
            "pasted on val; what really covers a face there counts as visible.",
            "",
            *table(("measure", "before", "round 1", "round 2", "to be reached"), rows),
            "",
            *(line for line in told if line.startswith("In eight bits")),
        ]
        return write_page(page, "Landmarks, and which of them are covered", lines)


def stages(context: Context) -> tuple[Stage, ...]:
    """The recipe."""
    return Landmarks(context).stages()
