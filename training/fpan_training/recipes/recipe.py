"""`fpan-train recipe`: does a whole run, from raw folders to its product."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from fpan.registry import Registry, open_store

from fpan_training.data.folder import DataError
from fpan_training.engine.stages import Stage, run_stages
from fpan_training.recipes import landmarks, learning_curve, portrait, shipped
from fpan_training.recipes.context import Budget, Context
from fpan_training.recipes.snapshot import take_snapshot, write_snapshot
from fpan_training.release.traffic import Traffic, bring_detector

PROGRAM = (sys.executable, "-m", "fpan_training.cli")
"""This program."""
RUNS_VARIABLE, DATA_VARIABLE = "FPAN_RUNS", "FPAN_DATA"


@dataclass(frozen=True)
class Recipe:
    """A whole run."""

    about: str
    """What it makes, in a line."""
    stages: Callable[[Context], tuple[Stage, ...]]
    """Its stages in order."""
    models: tuple[str, ...] = ()
    """Models of which it registers a version."""


RECIPES: dict[str, Recipe] = {
    "portrait": Recipe(
        "weights that may be sold, from EasyPortrait and rendered faces", portrait.stages, (portrait.MODEL,)
    ),
    "shipped": Recipe("the weights that are served, from raw folders", shipped.stages, shipped.MODELS),
    "landmarks": Recipe("LOM: landmarks of all faces at hand, and which of them are covered", landmarks.stages),
    "learning-curve": Recipe("what 50 to 4,500 labels are worth, same network and steps", learning_curve.stages),
}
"""All recipes by name."""


@dataclass(frozen=True)
class RunRecipe:
    """Does a whole run from raw folders: data, trainings, export, registration. Run it again and it goes on.

    Recipes are Python in `training/fpan_training/recipes`; docs/training/recipes.md says what each needs and takes.
    """

    name: Annotated[str, tyro.conf.Positional]
    """Of the recipe."""
    run: Path | None = None
    """Folder of the run; without it, one of the recipe's name in the folder that FPAN_RUNS names, or in ``runs``."""
    data_root: Path | None = None
    """Folder of the raw data sets; without it, the one that FPAN_DATA names."""
    budget: Budget = "full"
    """``smoke`` goes through every stage within a minute or two, on faces that it renders itself."""
    repository: str = ""
    """The model repository: a folder, or ``s3://BUCKET/PREFIX``. Without it ``model_repository``, and under ``smoke``
    one in the run's folder."""
    until: str = ""
    """Stop after the stage of this name."""
    only: str = ""
    """Do the stage of this name and nothing else: how a stage that several processes share is started."""
    snapshot: Path | None = None
    """A snapshot of a run of this recipe that an own run goes on from: `--keep` on another machine."""
    keep: Path | None = None
    """Write the run's snapshot into this folder and do nothing else: a few small files that a machine which has nothing
    else of it goes on from. What trains may go on meanwhile."""
    deploy: bool = False
    """Bring what was registered into traffic."""
    url: tuple[str, ...] = ()
    """With ``deploy``: running gateways that serve the repository. Without any, one is started, and runs until it is
    stopped."""
    detector_from: str = "model_repository"
    """Where a repository without a face detector gets it from."""
    seed: int = 0

    def __call__(self) -> Path:
        """Does what is not done yet and returns the run's folder.

        Raises:
            DataError: there is no such recipe, raw folders are missing, or the run was begun with other settings.
            NotFollowed: a gateway does not serve what is deployed.
            ValueError: no stage is called ``until``.
        """
        if self.name not in RECIPES:
            listed = "; ".join(f"{name}: {recipe.about}" for name, recipe in RECIPES.items())
            raise DataError(f"there is no recipe {self.name!r}; there are: {listed}")
        context, recipe = self._context(), RECIPES[self.name]
        if self.deploy and not recipe.models:
            raise DataError(f"the recipe {self.name!r} registers nothing that could be deployed")
        stages = recipe.stages(context)
        if self.keep is not None:
            return write_snapshot(context.run, stages, self.keep)
        if self.only:
            self._stage(stages).work()
            return context.run
        if self.snapshot is not None:
            take_snapshot(context.run, stages, self.snapshot)
        run_stages(context.run, stages, context.plan, self.until, partial(self._apart, context))
        if self.deploy and not self.until:
            registry = Registry(open_store(context.repository))
            bring_detector(registry, self.detector_from, context.run)
            cards = [registry.store.card(name, max(registry.store.versions(name))) for name in recipe.models]
            Traffic("fpan-train recipe", context.repository, self.url).bring(cards)
        return context.run

    def _stage(self, stages: Sequence[Stage]) -> Stage:
        for stage in stages:
            if stage.name == self.only:
                return stage
        raise ValueError(f"no stage is called {self.only!r}: they are {', '.join(stage.name for stage in stages)}")

    def _apart(self, context: Context, stage: Stage) -> None:
        """Does a stage in a program of its own.

        Raises:
            SystemExit: it was stopped, or has said what is wrong.
        """
        options = {"run": context.run, "data-root": context.data_root, "repository": context.repository}
        words = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
        words += ["--budget", context.budget, "--seed", str(context.seed), "--only", stage.name]
        with subprocess.Popen([*PROGRAM, "recipe", self.name, *words]) as process:
            # It ends by itself at Ctrl-C, once it has written a checkpoint; what ends this process is passed on.
            before = {
                signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
                signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, _frame: process.send_signal(number)),
            }
            try:
                status = process.wait()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
        if status:
            sys.exit(status)

    def _context(self) -> Context:
        name = self.name if self.budget == "full" else f"{self.name}-smoke"
        run = self.run or Path(os.environ.get(RUNS_VARIABLE, "runs")) / name
        if self.budget == "smoke":
            return Context(run, None, self.budget, self.repository or str(run / "models"), self.seed)
        root = self.data_root or (Path(os.environ[DATA_VARIABLE]) if DATA_VARIABLE in os.environ else None)
        if root is None:
            raise DataError(f"name the folder of the raw data sets with --data-root or in {DATA_VARIABLE}")
        return Context(run, root, self.budget, self.repository or "model_repository", self.seed)
