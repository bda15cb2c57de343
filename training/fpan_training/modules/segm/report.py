"""`fpan-train report segm`: trained networks side by side on the validation pictures."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from fpan.contract import Evaluation

from fpan_training.data.folder import FaceFolder
from fpan_training.engine.page import write_page
from fpan_training.evaluate.segmentation import evaluate
from fpan_training.modules.segm.checkpoint import load_network, read_config
from fpan_training.modules.segm.cost import macs
from fpan_training.modules.segm.step import SegmStep
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

_KEPT = ("log.jsonl", "curve.png", "config.json")
_HEAD = (
    "network",
    "input",
    "parameters",
    "GMAC",
    "epochs",
    "pictures seen",
    "best epoch",
    "val mIoU (95 %)",
    "val mean F1 (95 %)",
)


@dataclass(frozen=True)
class _Result:
    """One run's figures."""

    name: str
    cells: tuple[str, ...]
    evaluation: Evaluation
    started_from: str
    """Checkpoint of an earlier run; empty for none."""


@dataclass(frozen=True)
class SegmReport:
    """Evaluates the best checkpoint of every run and writes the table, with logs and curves beside it."""

    runs: tuple[Path, ...]
    """Folders of runs."""
    data: Path
    """The labelled pictures; their ``val`` split is evaluated."""
    out: Path = Path("docs/results/segm.md")
    """File to write; logs and curves go to a folder of the same name."""
    data_name: str = "celeba19"

    def __call__(self) -> Path:
        """Writes the table and returns its path."""
        folder = self.out.with_suffix("")
        results = []
        for run in self.runs:
            results.append(self._result(run))
            (folder / run.name).mkdir(parents=True, exist_ok=True)
            for name in _KEPT:
                if (run / name).is_file():
                    shutil.copyfile(run / name, folder / run.name / name)
        return write_page(self.out, "SEGM: the networks side by side", self._lines(results))

    def _result(self, run: Path) -> _Result:
        checkpoint = torch.load(run / "best.pt", map_location="cpu", weights_only=True)
        history = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        config = read_config(checkpoint["segm"])
        network = load_network(config, checkpoint["network"])
        step, size = SegmStep(TAXONOMY), config.input_size
        val = FaceFolder.open(self.data, "val")
        evaluation, _ = evaluate(
            lambda image: step.label(network, image, size), val, "val", size, CELEBA19_CLASSES, TAXONOMY
        )
        seen = sum(row["pictures_per_second"] * row["seconds"] for row in history)
        cells = (
            config.architecture,
            str(size),
            f"{sum(p.numel() for p in network.parameters()):,}",
            f"{macs(network, size) / 1e9:.2f}",
            f"{history[-1]['epoch']:.0f}",
            f"{seen:,.0f}",
            str(checkpoint["epoch"]),
            f"{evaluation.miou:.4f} ({evaluation.miou_interval[0]:.3f} to {evaluation.miou_interval[1]:.3f})",
            f"{evaluation.mean_f1:.4f} ({evaluation.mean_f1_interval[0]:.3f} to {evaluation.mean_f1_interval[1]:.3f})",
        )
        started_from = json.loads((run / "config.json").read_text())["start_from"] or ""
        return _Result(run.name, cells, evaluation, str(started_from))

    def _lines(self, results: list[_Result]) -> list[str]:
        names = " ".join(result.name for result in results)
        folder = self.out.stem
        return [
            "## The networks",
            "",
            f"`fpan-train report segm --runs {names} --data {self.data_name}`: validation pictures, label maps "
            "compared at the network's input size, intervals by bootstrap over pictures. mIoU over 19 classes with the "
            "background, mean F1 over the 18 of the foreground. A row's budget is what its run was given, not the same "
            "for all.",
            "",
            f"| {' | '.join(_HEAD)} |",
            "|" + "---|" * len(_HEAD),
            *(f"| {' | '.join(result.cells)} |" for result in results),
            "",
            *(
                f"`{result.name}` started from the weights of an earlier, shorter run (`{result.started_from}`), whose "
                "pictures are not counted."
                for result in results
                if result.started_from
            ),
            "",
            "## F1 by class",
            "",
            f"| class | {' | '.join(result.cells[0] for result in results)} |",
            "|" + "---|" * (len(results) + 1),
            *(
                f"| {c.title} | {' | '.join(_figure(r.evaluation.f1.get(c.name)) for r in results)} |"
                for c in TAXONOMY.classes[:CELEBA19_CLASSES]
            ),
            "",
            "## Curves",
            "",
            *(f"![{result.name}]({folder}/{result.name}/curve.png)" for result in results),
        ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
