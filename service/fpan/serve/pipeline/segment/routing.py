"""A segmentation model as the pipeline asks it."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpan.contract import AliasName, AlignmentTemplate, ModelCard, Taxonomy
from fpan.serve.api.context import RequestContext
from fpan.serve.api.errors import NotFound
from fpan.serve.inference.batcher import Batcher
from fpan.serve.pipeline.segment.drift import FaceWindow
from fpan.serve.pipeline.types import Detection


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


_HASH_BYTES = 8
_SEPARATOR = b"\0"


@dataclass(frozen=True)
class TrafficSplit:
    """A challenger beside the version that answers where a request names none."""

    challenger: Segmenter
    share: float
    """Of the callers, the part that the challenger answers, 0 to 1."""

    def takes(self, caller: str) -> bool:
        """Whether the challenger answers a caller: the same one always, and at a larger share too."""
        return place(self.challenger.card.name, caller) < self.share


def place(model: str, caller: str) -> float:
    """Where a caller stands among all of a model's, in [0, 1): evenly spread, and elsewhere for another model."""
    digest = hashlib.blake2b(model.encode() + _SEPARATOR + caller.encode(), digest_size=_HASH_BYTES).digest()
    return (int.from_bytes(digest) >> 11) / 2**53  # as many bits as a float holds, so that 1 is never reached


class Detector(Protocol):
    """Finds faces."""

    async def find(self, picture: NDArray[np.uint8], max_faces: int | None, context: RequestContext) -> list[Detection]:
        """Faces of a picture, RGB uint8 (H, W, 3), the largest first."""
        ...


@dataclass(frozen=True, eq=False)
class RoutingTable:
    """The networks that answer, from one exchange to the next. A request keeps the one that it began with."""

    segmenters: Mapping[str, Segmenter]
    """What requests may call a model -> the model."""
    default: str
    """What it is called where a request names none."""
    detector: Detector
    """Finds the faces."""
    careful: Detector
    """Finds the faces that are to be redacted, also such as may be none."""
    splits: Mapping[str, TrafficSplit] = field(default_factory=dict)
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


class ModelRouter:
    """The routing_table of now, and how many requests still use each former one. Belongs to one event loop."""

    def __init__(self, routing_table: RoutingTable) -> None:
        self._now = routing_table
        self._users: dict[RoutingTable, int] = {}
        self._left = asyncio.Event()

    @property
    def now(self) -> RoutingTable:
        """The routing_table for requests that begin now."""
        return self._now

    @contextmanager
    def using(self) -> Iterator[RoutingTable]:
        """The routing_table of now, which counts as in use within the block."""
        routing_table = self._now
        self._users[routing_table] = self._users.get(routing_table, 0) + 1
        try:
            yield routing_table
        finally:
            self._users[routing_table] -= 1
            if not self._users[routing_table]:
                del self._users[routing_table]
                self._left.set()

    def exchange(self, routing_table: RoutingTable) -> None:
        """From now on requests begin with ``routing_table``; those that run go on with theirs."""
        self._now = routing_table

    @property
    def in_use_before(self) -> bool:
        """Whether a request uses a former routing_table."""
        return any(routing_table is not self._now for routing_table in self._users)

    async def drained(self) -> None:
        """Waits until no request uses a former routing_table."""
        while self.in_use_before:
            self._left.clear()
            await self._left.wait()
