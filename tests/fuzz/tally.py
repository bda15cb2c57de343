"""How many inputs each part of the fuzzing had, and what became of them."""

import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import linear_regression

HANG_S = 20.0
"""Whoever has no answer after so long, in seconds, has met a hang: the service's own deadline is half of it."""
_CALLERS = 4
_LOOK_S = 0.5
"""How often the memory is looked at, in seconds."""
_SHOWN = 5
"""Faults that a failed test shows."""
MIB = 2**20


class Fault(AssertionError):
    """An answer that nobody may get."""


@dataclass
class Part:
    """One kind of input."""

    name: str
    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """Answers by what they were: a status, or the name of an error."""
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest_s: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def note(self, outcome: str, seconds: float) -> None:
        """Counts one input."""
        with self._lock:
            self.inputs += 1
            self.outcomes[outcome] += 1
            self.slowest_s = max(self.slowest_s, seconds)

    def meet(self, ask: Callable[[], str]) -> None:
        """Hands in one input.

        Args:
            ask: does it; what it returns is the outcome.

        Raises:
            Fault: it met one, or no answer in time.
        """
        began = time.perf_counter()
        outcome = "fault"
        try:
            outcome = ask()
        finally:
            self.note(outcome, time.perf_counter() - began)
        took = time.perf_counter() - began
        if took > HANG_S:
            raise Fault(f"an answer after {took:.1f} s")

    def each(self, numbers: Iterable[int], ask: Callable[[int], str], callers: int = _CALLERS) -> None:
        """Hands in an input for each number, several at a time; goes on when it meets a fault."""

        def one(number: int) -> None:
            try:
                self.meet(lambda: ask(number))
            except Exception as error:  # whatever a client raises is a fault of the service's
                where = traceback.format_exception_only(error)[-1].strip()
                with self._lock:
                    self.faults.append(f"{self.name}, input {number}: {where}")

        with self.timed(), ThreadPoolExecutor(callers) as pool:
            for _ in pool.map(one, numbers):
                pass

    @contextmanager
    def timed(self) -> Iterator[None]:
        """A block whose time is this part's."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began

    def check(self) -> None:
        """Whether there were inputs, and no fault among them.

        Raises:
            AssertionError: the first faults.
        """
        assert self.inputs, f"{self.name}: nothing was handed in"
        shown = "\n".join(self.faults[:_SHOWN])
        assert not self.faults, f"{self.name}: {len(self.faults)} faults in {self.inputs} inputs\n{shown}"

    def told(self) -> str:
        """One line about it."""
        rate = self.inputs / self.seconds if self.seconds else 0.0
        return f"{self.name}: {self.inputs} inputs, {rate:.0f}/s, slowest {self.slowest_s:.2f} s; {self.words()}"

    def words(self) -> str:
        """The outcomes, the most frequent first."""
        return ", ".join(f"{outcome} {count}" for outcome, count in self.outcomes.most_common())


@dataclass
class Run:
    """All parts of one round, and the service's memory meanwhile."""

    name: str
    seed: int
    """Of all that is made up; added to the numbers of broken pictures."""
    parts: dict[str, Part] = field(default_factory=dict)
    samples: list[tuple[int, int]] = field(default_factory=list)
    """Inputs so far, and the service's resident memory in bytes then."""

    def part(self, name: str) -> Part:
        """A part of this run."""
        return self.parts.setdefault(name, Part(name))

    @property
    def inputs(self) -> int:
        """Of all parts."""
        return sum(part.inputs for part in self.parts.values())

    @property
    def seconds(self) -> float:
        """Of all parts."""
        return sum(part.seconds for part in self.parts.values())

    @contextmanager
    def watching(self, resident: Callable[[], int]) -> Iterator[None]:
        """A block during which the memory is looked at."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(_LOOK_S):
                self.samples.append((self.inputs, resident()))

        self.samples.append((self.inputs, resident()))
        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()

    @property
    def grown_mib(self) -> float:
        """From the first look to the last, in MiB."""
        return (self.samples[-1][1] - self.samples[0][1]) / MIB

    @property
    def slope_mib(self) -> float:
        """How much the memory rises in 10,000 inputs, by the straight line through all looks, in MiB."""
        inputs, resident = zip(*self.samples, strict=True)
        return linear_regression(inputs, resident).slope * 10_000 / MIB if len(set(inputs)) > 1 else 0.0
