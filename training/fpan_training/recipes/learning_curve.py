"""The recipe of the learning curve: what labels are worth, with the same network and the same number of steps."""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from fpan_training.data.subset import subset
from fpan_training.engine.machine import machine
from fpan_training.engine.page import table, write_page
from fpan_training.engine.settings import LoopConfig
from fpan_training.engine.stages import Stage
from fpan_training.modules.segm.loss import LossConfig
from fpan_training.modules.segm.model import SegmConfig
from fpan_training.modules.segm.settings import SegmSettings
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.nets.lite_fpn import LiteFpnConfig
from fpan_training.recipes.context import Context
from fpan_training.recipes.data import RENDERED_SIDE, TrainingSets, prepare
from fpan_training.recipes.segm import AUGMENT, CLASS_WEIGHTS, RARE

COUNTS = ((50, 3), (200, 3), (800, 1), (4500, 1))
"""Labels, and how many times they are drawn and trained on."""
PAGE = Path("docs/results/learning-curve.md")
_PARTS = ("eye_g", "hat", "ear_r", "neck_l")


@dataclass(frozen=True)
class _Run:
    labels: int
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.labels}-labels-seed{self.seed}"


def stages(context: Context) -> tuple[Stage, ...]:
    """The recipe: a run for each number of labels and seed, and the page."""
    smoke = context.budget == "smoke"
    counts = ((8, 2), (16, 1)) if smoke else COUNTS
    runs = tuple(_Run(labels, seed) for labels, seeds in counts for seed in range(seeds))
    stages = [Stage("data", "data sets, merged and aligned", lambda: prepare(context))]
    for run in runs:
        about = f"{run.labels} labels, seed {run.seed}"
        stages.append(Stage(run.name, about, partial(_train, context, run), 1 if smoke else 2))
    page = context.run / PAGE.name if smoke else PAGE
    stages.append(Stage("page", "table and plot", lambda: report(context.run, runs, page)))
    return tuple(stages)


def _train(context: Context, run: _Run) -> None:
    _training(context, run)()


def _training(context: Context, run: _Run) -> SegmTraining:
    sets, smoke = TrainingSets.of(context), context.budget == "smoke"
    size = RENDERED_SIDE if smoke else 128
    network = LiteFpnConfig((16, 16, 16, 32, 32), dropout=0) if smoke else LiteFpnConfig()
    loop = LoopConfig(
        epochs=1 if smoke else 16,
        batch_size=8 if smoke else 16,
        lr=3e-3,
        ema_decay=0.9 if smoke else 0.998,
        validate_every=4,
        workers=0,
        accelerator="cpu",
        devices=1 if smoke else 2,
    )
    return SegmTraining(
        (subset(sets.full, context.run / "subsets" / run.name, run.labels, run.seed),),
        context.run / run.name,
        seed=run.seed,
        backgrounds=sets.backgrounds,
        occluders=sets.occluders,
        epoch_pictures=24 if smoke else 4500,
        settings=SegmSettings(
            segm=SegmConfig(input_size=size, lite_fpn=network),
            augment=replace(AUGMENT, p_context=0),
            loss=LossConfig(class_weights=CLASS_WEIGHTS, thin=2),
            loop=loop,
            rare=0.0 if smoke else RARE,
        ),
    )


def report(folder: Path, runs: tuple[_Run, ...], page: Path) -> Path:
    """Writes the page and its plot from the logs of the runs; returns the page."""
    found = {run: _last(folder / run.name / "log.jsonl") for run in runs}
    rows = [
        [
            run.labels,
            run.seed,
            f"{row['miou']:.3f}",
            f"{row['mean_f1']:.3f}",
            *(f"{row[f'f1/{part}']:.2f}" if f"f1/{part}" in row else "-" for part in _PARTS),
        ]
        for run, row in found.items()
    ]
    plot = page.with_suffix(".png")
    lines = [
        "    fpan-train recipe learning-curve",
        "",
        f"On {machine()}. LiteFPN at 128 x 128 pixels, the same number of steps for all; measured at that size on the",
        "validation pictures, after the last epoch.",
        "",
        *table(("labels", "seed", "mIoU", "mean F1", "glasses", "hat", "earring", "necklace"), rows),
        "",
        f"![mean F1 and mIoU against labels]({plot.name})",
    ]
    write_page(page, "What labels are worth", lines)
    _plot({run: (row["miou"], row["mean_f1"]) for run, row in found.items()}, plot)
    return page


def _last(log: Path) -> dict[str, float]:
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return dict([row for row in rows if "miou" in row][-1])


def _plot(scores: dict[_Run, tuple[float, float]], path: Path) -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    labels = [run.labels for run in scores]
    for column, name in enumerate(("mIoU", "mean F1")):
        axes.plot(labels, [each[column] for each in scores.values()], "o", label=name)
    axes.set_xscale("log")
    axes.set_xlabel("labelled pictures")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
