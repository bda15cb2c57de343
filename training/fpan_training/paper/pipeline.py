"""`fpan-train paper`: both stages of the paper's figure 2, from pictures to SEGM."""

from dataclasses import dataclass
from pathlib import Path

from fpan_training.data.check import check_labelled
from fpan_training.data.folder import DataError, name_of
from fpan_training.engine.stages import keep_plan, run_stages
from fpan_training.modules.training import Preset
from fpan_training.paper.stages import Sources, Stages, render_sources, rendered_sources


@dataclass(frozen=True)
class Paper:
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
        keep_plan(self.run, self._plan)
        sources = self.sources if brought else render_sources(self.run, self.seed)
        if brought:
            check_labelled(sources.data)
        stages = Stages(self.run, sources, self.preset, self.seed).all()
        run_stages(self.run, stages, self._plan, self.until)
        return self.run

    @property
    def _plan(self) -> dict[str, object]:
        given = {name: getattr(self, name) for name in ("data", "unlabelled", "backgrounds", "occluders")}
        return {"preset": self.preset, "seed": self.seed} | {
            name: path and name_of(path) for name, path in given.items()
        }

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
