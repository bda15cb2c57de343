"""`fpan-train cost`: what a picture costs exported networks, timed in turns: what else runs slows all of them alike."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray

from fpan_training.data.folder import DataError
from fpan_training.engine.machine import machine
from fpan_training.engine.page import table
from fpan_training.release.export.onnx_file import INPUT, open_session

_WARM = 3
"""Pictures before those that are timed."""


@dataclass(frozen=True)
class Cost:
    """Times exported networks in turns, one picture at a time on one thread, and prints medians of processor time.

    `fpan-train cost model_repository/segm/2/model.onnx runs/landmarks/report/lom_int8.onnx` tells what LOM costs beside
    the served network.
    """

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """ONNX files whose input is ``images``, uint8 (batch, side, side, 3); all are compared with the first."""
    rounds: int = 50
    """Times that each is run."""

    def __call__(self) -> str:
        """Prints and returns a Markdown table.

        Raises:
            DataError: a file is missing, or takes other inputs.
        """
        taken = self.measure()
        first = float(np.median(taken[0]))
        rows = [
            (
                "/".join(path.parts[-3:]),
                f"{np.median(times):.2f}",
                " to ".join(f"{value:.2f}" for value in np.percentile(times, (25, 75))),
                f"{np.median(times) / first:.3f}",
            )
            for path, times in zip(self.files, taken, strict=True)
        ]
        head = ("file", "ms of a processor, median", "half of them within", "against the first")
        text = "\n".join([*table(head, rows), "", f"{self.rounds} rounds in turns, one thread, on {machine()}."])
        print(text)
        return text

    def measure(self) -> list[NDArray[np.float64]]:
        """Milliseconds of processor time of each run of each file, float64 (rounds,)."""
        sessions = []
        for path in self.files:
            if not path.is_file():
                raise DataError(f"{path} does not exist")
            session = open_session(path, 1)
            (taken, *more) = session.get_inputs()
            if more or taken.name != INPUT or len(taken.shape) != 4 or not isinstance(taken.shape[1], int):
                raise DataError(f"{path} does not take `{INPUT}` of a fixed size alone")
            picture = np.random.default_rng(0).integers(0, 256, (1, *taken.shape[1:]), np.uint8)
            sessions.append((session, picture))
        times = np.zeros((len(sessions), self.rounds + _WARM))
        for turn in range(self.rounds + _WARM):
            for number, (session, picture) in enumerate(sessions):
                began = time.process_time()
                session.run(None, {INPUT: picture})
                times[number, turn] = (time.process_time() - began) * 1e3
        return list(times[:, _WARM:])
