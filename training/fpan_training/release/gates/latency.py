"""How long the candidate takes for one picture on one core, alone and against the champion."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from fpan.contract import GateResult

from fpan_training.release.gates.contender import SERVED_OUTPUTS, EvaluatedModel
from fpan_training.release.gates.trial import GateInputs

_WARM_UP = 3
"""Runs that are not counted."""
_MS = 1000


@dataclass(frozen=True)
class Latency:
    """How slow a candidate may be: one picture, one thread, ONNX Runtime (bfloat16: OpenVINO).

    What is counted is the time of the processor, which is that of the clock where nothing else runs: a machine that has
    more to do refuses no version that another day it would let through.
    """

    ratio: float = 1.25
    """Of the candidate's median to the champion's. Both are measured in turns: what else runs slows both."""
    budget_ms: float = 250.0
    """Of the median, in milliseconds, on the machine that registers."""
    rounds: int = 30
    """Runs of each that are counted."""

    def __call__(self, trial: GateInputs) -> Iterator[GateResult]:
        """Milliseconds against the budget, and their ratio to the champion's."""
        contenders = [who for who in (trial.candidate, trial.champion) if who is not None]
        medians = medians_ms(contenders, self.rounds)
        side = trial.candidate.input_size
        how = f"median of {self.rounds} runs, one picture of {side} x {side}, one thread"
        yield GateResult.of("latency", medians[0], "at most", self.budget_ms, how, "ms")
        if trial.champion is None:
            yield GateResult.unopposed("latency ratio", f"{trial.model} has no champion to compare with")
            return
        evidence = f"{medians[0]:.1f} ms against {medians[1]:.1f} ms of {trial.champion.title}, measured in turns"
        yield GateResult.of("latency ratio", medians[0] / medians[1], "at most", self.ratio, evidence)


def medians_ms(contenders: list[EvaluatedModel], rounds: int) -> list[float]:
    """Median processor time of each for one picture on one thread, in milliseconds; they take turns."""
    rng = np.random.default_rng(0)
    runs = []
    for who in contenders:
        picture = rng.integers(0, 256, (1, who.input_size, who.input_size, 3), dtype=np.uint8)
        runs.append((who.runner(threads=1), picture))
    times = np.zeros((_WARM_UP + rounds, len(contenders)))
    for row in times:
        for i, (run, picture) in enumerate(runs):
            begin = time.process_time()
            run(SERVED_OUTPUTS, picture)
            row[i] = time.process_time() - begin
    return [float(median) for median in np.median(times[_WARM_UP:], axis=0) * _MS]
