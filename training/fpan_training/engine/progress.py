"""How far things are: a live bar in a terminal; elsewhere silence, but for a few lines of a run that trains."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
_MEASURED_STEPS = 20
"""After so many steps a run's pace is told; the first is not among them, since it starts the loaders."""


def track(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Yields the items while a bar shows how far they are."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        count = total if total is not None else getattr(items, "__len__", lambda: None)()
        yield from bar.track(items, total=count, description=title)


class RunProgress:
    """How far a run is that trains. In a terminal a bar over all of its steps shows when the run ends; elsewhere one
    line tells its pace and its end once they are known. A short line follows every epoch.
    """

    def __init__(
        self,
        title: str,
        epochs: int,
        steps_per_epoch: int,
        batch_size: int,
        done: int,
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A run of ``epochs`` epochs, of which ``done`` steps are done. Nothing at all is written unless ``shown``."""
        self._title, self._epochs, self._per_epoch, self._batch_size = title, epochs, steps_per_epoch, batch_size
        self._before = self._done = done
        self._shown, self._clock = shown and done < self._steps, clock
        self._began: float | None = None
        console = Console(stderr=True)
        self._terminal = console.is_terminal
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not (self._shown and self._terminal))
        self._task = self._bar.add_task(title, total=self._steps, completed=done, left="")

    def __enter__(self) -> "RunProgress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def step(self) -> None:
        """A step is done."""
        self._done += 1
        if self._began is None:
            self._began, self._before = self._clock(), self._done
            return
        epoch = min(self._epochs, self._done // self._per_epoch + 1)
        left = _words(self._seconds_left)
        self._bar.update(
            self._task, completed=self._done, description=f"{self._title}  epoch {epoch}/{self._epochs}", left=left
        )
        if self._done - self._before == _MEASURED_STEPS and not self._terminal:
            pace = _MEASURED_STEPS * self._batch_size / (self._clock() - self._began)
            end = datetime.now().astimezone() + timedelta(seconds=self._seconds_left)
            self._say(
                f"{self._title}: {pace:.3g} pictures/s, {self._epochs} epochs of {self._per_epoch} steps;"
                f" done in {left}, at about {end:%Y-%m-%d %H:%M}"
            )

    def epoch(self, row: Mapping[str, float], figures: Mapping[str, float]) -> None:
        """An epoch is done: its row in the log, and the figures that were measured after it. Those of a single class or
        kind, whose names have a ``/``, are left to the log.
        """
        shown = {"loss": row["loss"], **{name: value for name, value in figures.items() if "/" not in name}}
        words = [f"epoch {row['epoch']:.0f}/{self._epochs}", *(f"{name} {value:.4g}" for name, value in shown.items())]
        words.append(f"{row['pictures_per_second']:.3g} pictures/s")
        if self._done < self._steps and self._done > self._before:
            words.append(f"{_words(self._seconds_left)} left")
        self._say("  ".join(words))

    @property
    def _steps(self) -> int:
        return self._epochs * self._per_epoch

    @property
    def _seconds_left(self) -> float:
        """By the steps of this process, validations and checkpoints between them included."""
        assert self._began is not None
        return (self._clock() - self._began) / (self._done - self._before) * (self._steps - self._done)

    def _say(self, line: str) -> None:
        if self._shown:
            print(line, flush=True)


def _words(seconds: float) -> str:
    """A length of time as people say it: ``9 h 20 min``, ``4 min``, ``35 s``."""
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
