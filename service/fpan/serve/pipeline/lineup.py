"""Who answers now: the networks that requests may ask for, exchanged while requests run."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpan.contract import ModelCard
from fpan.serve.errors import NotFound
from fpan.serve.pipeline.segmenter import Segmenter
from fpan.serve.pipeline.split import Split
from fpan.serve.pipeline.types import Detection


class Detector(Protocol):
    """Finds faces."""

    async def find(
        self, picture: NDArray[np.uint8], max_faces: int | None = None, deadline: float | None = None
    ) -> list[Detection]:
        """Faces of a picture, RGB uint8 (H, W, 3), the largest first."""
        ...


@dataclass(frozen=True, eq=False)
class Roster:
    """The networks that answer, from one exchange to the next. A request keeps the one that it began with."""

    segmenters: Mapping[str, Segmenter]
    """What requests may call a model -> the model."""
    default: str
    """What it is called where a request names none."""
    detector: Detector
    """Finds the faces."""
    careful: Detector
    """Finds the faces that are to be redacted, also such as may be none."""
    splits: Mapping[str, Split] = field(default_factory=dict)
    """Name of a model, without a version -> who answers some of those who ask for it so."""
    shadows: Mapping[str, Segmenter] = field(default_factory=dict)
    """Name of a model -> what is to be compared with the version that answers for it."""
    finder: ModelCard | None = None
    """Card of the network that finds the faces."""

    def segmenter(self, model: str, caller: str | None = None) -> Segmenter:
        """The model that an option names.

        Args:
            model: what it is called; empty for the default.
            caller: who asks, where a challenger may answer in the champion's place.

        Raises:
            NotFound: it is not served.
        """
        name = model or self.default
        found = self.segmenters.get(name)
        if found is None:
            raise NotFound(f"there is no model {model[:80]!r}; served are {', '.join(sorted(self.segmenters))}")
        split = self.splits.get(name)
        return split.challenger if split and caller is not None and split.takes(caller) else found


class Lineup:
    """The roster of now, and how many requests still use each former one. Belongs to one event loop."""

    def __init__(self, roster: Roster) -> None:
        self._now = roster
        self._users: dict[Roster, int] = {}
        self._left = asyncio.Event()

    @property
    def now(self) -> Roster:
        """The roster for requests that begin now."""
        return self._now

    @contextmanager
    def using(self) -> Iterator[Roster]:
        """The roster of now, which counts as in use within the block."""
        roster = self._now
        self._users[roster] = self._users.get(roster, 0) + 1
        try:
            yield roster
        finally:
            self._users[roster] -= 1
            if not self._users[roster]:
                del self._users[roster]
                self._left.set()

    def exchange(self, roster: Roster) -> None:
        """From now on requests begin with ``roster``; those that run go on with theirs."""
        self._now = roster

    @property
    def in_use_before(self) -> bool:
        """Whether a request uses a former roster."""
        return any(roster is not self._now for roster in self._users)

    async def drained(self) -> None:
        """Waits until no request uses a former roster."""
        while self.in_use_before:
            self._left.clear()
            await self._left.wait()
