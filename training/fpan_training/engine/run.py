"""A run's folder: what lies in it, and what of it a run goes on from."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from fpan_training.engine.checkpoint import TrainingState, load
from fpan_training.files import write_whole

CONFIG_FILE = "config.json"
"""In a run's folder: the settings of the command that trains it."""
RESUME_FILE = "resume_fp16.pt"
"""In a run's folder: the resume point that it goes on from where it has no ``last.pt``."""


@dataclass
class Run:
    """A run's folder: ``last.pt`` to resume from, ``best.pt`` by validation, ``log.jsonl``, ``curve.png``."""

    folder: Path
    history: list[dict[str, float]] = field(default_factory=list)
    elsewhere: int = 0
    """Epochs of the history that were trained before a resume point: their weights are not here."""

    @property
    def last(self) -> Path:
        """Everything needed to go on."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """Averaged weights with the best validation score."""
        return self.folder / "best.pt"

    def log(self, row: dict[str, float]) -> None:
        """Adds a row to the history and writes it down."""
        self.history.append(row)
        lines = "".join(json.dumps(r) + "\n" for r in self.history)
        write_whole(self.folder / "log.jsonl", lines.encode())

    @property
    def resume(self) -> Path:
        """The resume point that it goes on from where there is no ``last``."""
        return self.folder / RESUME_FILE

    @property
    def begun(self) -> bool:
        """Whether there is something to go on from."""
        return self.last.is_file() or self.resume.is_file()

    @property
    def best_row(self) -> dict[str, float] | None:
        """The row of the history whose weights are in ``best``; None before the first validation."""
        scored = [row for row in self.history if "score" in row and row["epoch"] > self.elsewhere]
        return max(scored, key=lambda row: row["score"], default=None)

    @property
    def best_score(self) -> float:
        """The score of ``best``; -inf before the first validation."""
        return float("-inf") if self.best_row is None else self.best_row["score"]

    def take_up(self, state: TrainingState, epochs: int) -> None:
        """Puts the network, and how far the run has come, as its checkpoint or else its resume point has it.

        Raises:
            ValueError: the weights are another network's, or the resume point's ``epochs`` are all done.
        """
        if not self.begun:
            return
        path = self.last if self.last.is_file() else self.resume
        stored = load(path)
        try:
            if path == self.last:
                state.load(stored)
            else:
                state.restart(stored)
        except RuntimeError as error:
            raise ValueError(
                f"the weights in {path} are another network's: give the options that they were trained with, or a new "
                "--run"
            ) from error
        if path == self.resume and state.epoch >= epochs:
            raise ValueError(f"{path} is of a run that is done: it has {state.epoch} of {epochs} epochs")
        self.history = stored["history"]
        self.elsewhere = 0 if state.restarted is None else state.restarted[0]
