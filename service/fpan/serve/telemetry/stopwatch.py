"""Time by stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the time of named stages."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Times what runs inside."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - began)

    def add(self, stage: str, seconds: float) -> None:
        """Adds time measured elsewhere."""
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    @property
    def milliseconds(self) -> dict[str, float]:
        """By stage, in the order in which they were first met."""
        return {stage: round(seconds * 1000, 3) for stage, seconds in self._seconds.items()}
