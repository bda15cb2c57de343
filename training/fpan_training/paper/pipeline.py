"""`fpan-train train`: both stages of the paper's figure 2, from pictures to SEGM."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from fpan_training.data.check import check_labelled
from fpan_training.data.folder import DataError
from fpan_training.engine.loop import write_whole
from fpan_training.modules.segm.data import name_of
from fpan_training.paper.budget import Preset
from fpan_training.paper.stages import Sources, Stages, render_sources, rendered_sources

_DONE, _PLAN = "done", "plan.json"


@dataclass(frozen=True)
class Train:
    """Trains the whole paper: LOM, DOM, UVM and PPM, then SEGM on what they make of the pictures (figure 2).

    Everything lies in the run's folder, a folder for each stage. Stop it whenever you like: run again, it goes on where
    it was. With the preset ``smoke`` and no data it renders a small data set of its own.
    """

    run: Path
    """Folder of the run."""
    data: Path | None = None
    """Labelled, aligned faces: ``images/``, ``masks/``, ``split.json`` with ``train`` and ``val``."""
    unlabelled: Path | None = None
    """Aligned faces without labels, some of them occluded."""
    backgrounds: Path | None = None
    """Folder of pictures that replace backgrounds and give textures."""
    occluders: Path | None = None
    """Folder of cut-outs with alpha, a folder for each family. Without it, shapes are drawn."""
    preset: Preset = "cpu"
    """``smoke``: a minute or two; ``cpu``: about three hours on two cores; ``paper``: GPUs."""
    until: str = ""
    """Stop after the stage of this name."""
    seed: int = 0

    def __call__(self) -> Path:
        """Does what is not done yet and returns the run's folder.

        Raises:
            DataError: there is no data, something is wrong with it, or the run was begun with other data or settings.
            ValueError: no stage is called ``until``.
        """
        brought = self._brought
        self._keep_plan()
        sources = self.sources if brought else render_sources(self.run, self.seed)
        if brought:
            check_labelled(sources.data)
        stages = Stages(self.run, sources, self.preset, self.seed).all()
        names = [stage.name for stage in stages]
        if self.until and self.until not in names:
            raise ValueError(f"no stage is called {self.until!r}: they are {', '.join(names)}")
        (self.run / _DONE).mkdir(parents=True, exist_ok=True)
        for number, stage in enumerate(stages, 1):
            mark = self.run / _DONE / f"{stage.name}.json"
            print(f"{number}/{len(stages)} {stage.name}: {stage.about}{' (done)' if mark.is_file() else ''}")
            if not mark.is_file():
                began = time.monotonic()
                stage.work()
                write_whole(mark, json.dumps({"seconds": round(time.monotonic() - began, 1)}).encode())
            if stage.name == self.until:
                break
        return self.run

    def _keep_plan(self) -> None:
        """Refuses to go on with a run of other data or settings, whose stages would count as done."""
        plan: dict[str, object] = {"preset": self.preset, "seed": self.seed}
        given = {name: getattr(self, name) for name in ("data", "unlabelled", "backgrounds", "occluders")}
        plan |= {name: path and name_of(path) for name, path in given.items()}
        file = self.run / _PLAN
        text = json.dumps(plan, indent=2) + "\n"
        if file.is_file() and file.read_text(encoding="utf-8") != text:
            raise DataError(f"{self.run} was begun with other data or settings ({file}): name another --run")
        self.run.mkdir(parents=True, exist_ok=True)
        write_whole(file, text.encode())

    @property
    def _brought(self) -> bool:
        """Whether the data were named.

        Raises:
            DataError: some were, or none where none can be rendered.
        """
        if self.data is not None and self.unlabelled is not None:
            return True
        if self.preset != "smoke" or self.data is not None or self.unlabelled is not None:
            raise DataError(
                "name both --data and --unlabelled; --preset smoke without either renders pictures of its own"
            )
        return False

    @property
    def sources(self) -> Sources:
        """What it trains on; what it renders is there once it has begun."""
        if self.data is None or self.unlabelled is None:
            return rendered_sources(self.run)
        return Sources(self.data, self.unlabelled, self.backgrounds, self.occluders)
