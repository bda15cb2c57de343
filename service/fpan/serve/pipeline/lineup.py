"""Who answers now: the networks that requests may ask for, exchanged while requests run."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpan.contract import AliasName, AlignmentTemplate, ModelCard, Taxonomy
from fpan.serve.errors import NotFound
from fpan.serve.inference.batcher import Batcher
from fpan.serve.pipeline.drift import FaceWindow
from fpan.serve.pipeline.types import Detection


class Detector(Protocol):
    """Finds faces."""

    async def find(
        self, picture: NDArray[np.uint8], max_faces: int | None = None, deadline: float | None = None
    ) -> list[Detection]:
        """Faces of a picture, RGB uint8 (H, W, 3), the largest first."""
        ...


@dataclass(frozen=True)
class Segmenter:
    """A segmentation model that can be asked."""

    card: ModelCard
    batcher: Batcher
    alias: AliasName | None = None
    """What it is, as the name says by which it was asked for."""
    window: FaceWindow | None = None
    """Counts the faces that are parsed with this version, by whatever name; None: nobody counts."""

    @property
    def taxonomy(self) -> Taxonomy:
        """Of its label maps."""
        assert self.card.taxonomy is not None
        return self.card.taxonomy

    @property
    def template(self) -> AlignmentTemplate:
        """Where it expects a face."""
        assert self.card.alignment is not None
        return self.card.alignment


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

    def segmenter(self, model: str) -> Segmenter:
        """The model that an option names.

        Raises:
            NotFound: it is not served.
        """
        found = self.segmenters.get(model or self.default)
        if found is None:
            raise NotFound(f"there is no model {model[:80]!r}; served are {', '.join(sorted(self.segmenters))}")
        return found


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
