"""`fpan-train paper-report`: what every module of a run has learnt, measured, with what of it may be published."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fpan_training.engine.machine import machine
from fpan_training.engine.page import write_page
from fpan_training.files import write_whole
from fpan_training.landmarks.build import LandmarkBuild
from fpan_training.modules.dom.report import DomReport
from fpan_training.modules.lom.report import LomReport
from fpan_training.modules.ppm.report import PpmReport
from fpan_training.modules.predictions import FacePrediction
from fpan_training.modules.segm.draw_weights import draw_weights
from fpan_training.modules.segm.weights import WeightConfig
from fpan_training.modules.uvm.report import UvmReport
from fpan_training.paper.figures.faces import cover
from fpan_training.paper.figures.make import NEEDS, Figures
from fpan_training.paper.routing.modules import load_lom, load_ppm

_PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")
_PLOTS = ("ppm.png",)
"""Pictures of the reports that show no face."""
_FROM_RUN = {"curve.png": "curve", "log.jsonl": "log", "config.json": "configuration"}
"""Of a module's run, what is kept, and how the page calls it."""
_WEIGHTS, _DPI = "weights.jpg", 80
_SHOWN = {
    5: "LOM on covered faces: green landmarks are seen, red ones hidden (the paper's figure 5)",
    6: "DOM: the covered face, recovered, DOM's mask, the true mask, the face as it is (figure 6)",
    7: "UVM: picture and parts, the UV map that it shows, completed, its parts, and the head turned (figure 7)",
    11: "Mask-FPAN on faces behind hands (figure 11)",
    12: "SEGM alone on covered faces (figure 12)",
    13: "Turned heads; what SEGM alone says of them; what Mask-FPAN says of them (figure 13)",
}


@dataclass(frozen=True)
class PaperReport:
    """Measures LOM, DOM, UVM and PPM of a run of `fpan-train paper` and draws the paper's figures.

    The reports with all their pictures lie in the run, in ``reports/``. The page that is written shows faces in the
    figures only, which are drawn of ``pictures``: tables, plots, curves and logs can be published wherever those can.
    """

    run: Path
    """Folder of a run of `fpan-train paper`, done up to ``routed`` at least."""
    data: Path
    """The labelled data set that it was trained on; its ``val`` is measured."""
    unlabelled: Path
    """The unlabelled one."""
    pictures: tuple[Path, ...]
    """Photos or renders with a face each that may be published: the figures show them."""
    out: Path = Path("docs/results/modules.md")
    """Page to write; everything else goes to a folder of the same name."""
    ablation: Path | None = None
    """Folder of runs of `fpan-train ablate`: gives SEGM alone and the whole of Mask-FPAN for figures 7 and 11 to 13."""
    youtube: Path | None = None
    """For LOM: face crops with 68 landmarks."""
    aflw: Path | None = None
    """For PPM: AFLW2000-3D pictures with their ``.mat`` files."""
    fasseg: Path | None = None
    """For PPM: FASSEG's posed faces."""
    backgrounds: Path | None = None
    """As for `fpan-train paper`."""
    occluders: Path | None = None
    """As for `fpan-train paper`."""

    def __call__(self) -> Path:
        """Measures what is not measured yet, and writes the page."""
        for data in (self.youtube, self.aflw, self.fasseg):
            if data is not None:
                LandmarkBuild(data, self._faces / data.name)()
        self._folder.mkdir(parents=True, exist_ok=True)
        makers: dict[str, Callable[[], object]] = {
            "lom": self._lom,
            "dom": self._dom,
            "uvm": self._uvm,
            "ppm": self._ppm,
        }
        for name, make in makers.items():
            if not self._page(name).is_file():
                make()
            self._publish(name)
        self._publish_page(self.run / "routed" / "routing.md")
        shutil.copyfile(self.run / "routed" / "counts.json", self._folder / "routing.json")
        figures = self._figures()
        return write_page(self.out, "The modules of the paper, trained here", self._lines(figures))

    @property
    def _folder(self) -> Path:
        return self.out.with_suffix("")

    @property
    def _faces(self) -> Path:
        return self.run / "faces"

    def _page(self, module: str) -> Path:
        return self.run / "reports" / module / f"{module}.md"

    def _run(self, module: str) -> Path:
        return self.run / module

    def _best(self, module: str) -> Path:
        return self._run(module) / "best.pt"

    def _lom(self) -> None:
        out = self._page("lom").parent
        LomReport(self._run("lom"), self.data, out, self._faces, self.youtube, self.backgrounds, self.occluders)()

    def _dom(self) -> None:
        out = self._page("dom").parent
        DomReport(self._run("dom"), self.data, out, self._faces, self.backgrounds, self.occluders)()

    def _uvm(self) -> None:
        UvmReport(self._run("uvm"), self.data, self._page("uvm").parent, self._faces, self.occluders)()

    def _ppm(self) -> None:
        out = self._page("ppm").parent
        PpmReport(self._run("ppm"), self.data, out, self._faces, self.aflw, self.fasseg)()

    def _publish(self, module: str) -> None:
        """Copies a module's page, tables and plots, and the log and curve of its training."""
        page = self._page(module)
        self._publish_page(page)
        for path in sorted(page.parent.iterdir()):
            if path.suffix == ".csv" or path.name in _PLOTS:
                shutil.copyfile(path, self._folder / path.name)
        for name in _FROM_RUN:
            source = self._run(module) / name
            if source.is_file():
                shutil.copyfile(source, self._folder / f"{module}-{name}")

    def _publish_page(self, page: Path) -> None:
        text = published(page.read_text(encoding="utf-8"), _PLOTS)
        write_whole(self._folder / page.name, text.encode())

    def _figures(self) -> list[int]:
        """Draws those that there are checkpoints for, and the weights of Eq. 2; returns the figures' numbers."""
        out = self._folder / "figures"
        figures = Figures(
            self.pictures,
            out,
            lom=self._best("lom"),
            dom=self._best("dom"),
            uvm=self._best("uvm"),
            segm=self._of_ablation("uvm"),
            baseline=self._of_ablation("segm"),
        )
        figures()
        lom, ppm = load_lom(self._best("lom")), load_ppm(self._best("ppm"))
        weighed = []
        for face in figures.faces:
            image = cover(face, figures.assets, 0).image
            said = lom(image, face.points)
            weighed.append((image, FacePrediction(*said, ppm(image, said.points))))
        draw_weights(weighed, WeightConfig(lambda_o=1.0, lambda_p=1.0)).savefig(out / _WEIGHTS, dpi=_DPI)
        return [number for number in NEEDS if (out / f"figure{number}.jpg").is_file()]

    def _of_ablation(self, row: str) -> Path | None:
        found = [] if self.ablation is None else sorted(self.ablation.glob(f"{row}-lite_fpn-seed0/best.pt"))
        return found[0] if found else None

    @cached_property
    def _minutes(self) -> dict[str, float]:
        """How long each stage took."""
        done = sorted((self.run / "done").glob("*.json"), key=lambda path: path.stat().st_mtime)
        return {path.stem: json.loads(path.read_text())["seconds"] / 60 for path in done}

    def _lines(self, figures: list[int]) -> list[str]:
        folder = self._folder.name
        lines = [
            "    fpan-train paper --preset cpu --data celeba19 --unlabelled celeba_unlabelled ... --run RUN",
            "    fpan-train paper-report --run RUN --data celeba19 --unlabelled celeba_unlabelled ...",
            "",
            f"On {machine()}. Stages that were trained, and how long each took while other work went on beside them:",
            "",
            "| stage | minutes | measured | training |",
            "|---|---|---|---|",
        ]
        for stage, minutes in self._minutes.items():
            kept = [
                f"[{title}]({folder}/{stage}-{name})"
                for name, title in _FROM_RUN.items()
                if (self._folder / f"{stage}-{name}").is_file()
            ]
            page = {"routed": "routing.md"}.get(stage, f"{stage}.md")
            measured = f"[{stage}]({folder}/{page})" if (self._folder / page).is_file() else ""
            lines.append(f"| {stage} | {minutes:.1f} | {measured} | {', '.join(kept)} |")
        lines += ["", "What they do for SEGM: [ablation](ablation.md).", ""]
        for number in figures:
            lines += [f"{_SHOWN[number]}:", "", f"![figure {number}]({folder}/figures/figure{number}.jpg)", ""]
        lines += ["The weights that LOM and PPM give to SEGM's loss (Eq. 2), over covered faces:", ""]
        lines += [f"![weights]({folder}/figures/{_WEIGHTS})", ""]
        return lines[:-1]


def published(page: str, plots: tuple[str, ...]) -> str:
    """A report without its pictures of faces, which lie with the run; those called ``plots`` stay."""

    def shown(match: re.Match[str]) -> str:
        if match[1] in plots:
            return match[0]
        return f"(`{match[1]}` shows faces that are not for publication: it lies in the run.)"

    return _PICTURE.sub(shown, page)
