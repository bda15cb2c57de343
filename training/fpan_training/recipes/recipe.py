"""`fpan-train recipe`: does a whole run, from raw folders to its product."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fpan_training.data.folder import DataError
from fpan_training.engine.stages import Stage, run_stages
from fpan_training.recipes import portrait, shipped
from fpan_training.recipes.context import Budget, Context

RUNS_VARIABLE, DATA_VARIABLE = "FPAN_RUNS", "FPAN_DATA"
Stages = Callable[[Context], tuple[Stage, ...]]

RECIPES: Mapping[str, tuple[str, Stages]] = {
    "portrait": ("weights that may be sold, from EasyPortrait and rendered faces", portrait.stages),
    "shipped": ("the weights that are served, from raw folders", shipped.stages),
}
"""All recipes by name: what each makes, and its stages in order."""


@dataclass(frozen=True)
class RunRecipe:
    """Does a whole run from raw folders: data, trainings, export, registration. Run it again and it goes on.

    Recipes are Python in `training/fpan_training/recipes`; docs/training/recipes.md says what each needs and takes.
    """

    name: Annotated[str, tyro.conf.Positional]
    """Of the recipe."""
    run: Path | None = None
    """Folder of the run; without it, the recipe's name in the folder that FPAN_RUNS names."""
    data_root: Path | None = None
    """Folder of the raw data sets; without it, the one that FPAN_DATA names."""
    budget: Budget = "full"
    """``smoke`` goes through every stage within a minute or two, on faces that it renders itself."""
    repository: str = "model_repository"
    """The model repository: a folder, or ``s3://BUCKET/PREFIX``. Under ``smoke`` one in the run's folder."""
    until: str = ""
    """Stop after the stage of this name."""
    seed: int = 0

    def __call__(self) -> Path:
        """Does what is not done yet and returns the run's folder.

        Raises:
            DataError: there is no such recipe, raw folders are missing, or the run was begun with other settings.
            ValueError: no stage is called ``until``.
        """
        if self.name not in RECIPES:
            listed = "; ".join(f"{name}: {about}" for name, (about, _) in RECIPES.items())
            raise DataError(f"there is no recipe {self.name!r}; there are: {listed}")
        context = self._context()
        run_stages(context.run, RECIPES[self.name][1](context), context.plan, self.until)
        return context.run

    def _context(self) -> Context:
        run = self.run
        if run is None:
            if RUNS_VARIABLE not in os.environ:
                raise DataError(f"name the folder of the run with --run, or that of all runs in {RUNS_VARIABLE}")
            run = Path(os.environ[RUNS_VARIABLE]) / (self.name if self.budget == "full" else f"{self.name}-smoke")
        if self.budget == "smoke":
            return Context(run, None, self.budget, str(run / "models"), self.seed)
        root = self.data_root or (Path(os.environ[DATA_VARIABLE]) if DATA_VARIABLE in os.environ else None)
        if root is None:
            raise DataError(f"name the folder of the raw data sets with --data-root or in {DATA_VARIABLE}")
        return Context(run, root, self.budget, self.repository, self.seed)
