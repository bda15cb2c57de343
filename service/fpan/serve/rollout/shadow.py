"""Asks the shadow what the champion was asked, when nobody waits, and compares."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpan.serve.api.context import RequestContext
from fpan.serve.api.deadline import Deadline
from fpan.serve.api.errors import GatewayError
from fpan.serve.pipeline.segment.observation import Observation
from fpan.serve.pipeline.segment.routing import ModelRouter
from fpan.serve.rollout.served import Version
from fpan.serve.rollout.settings import RolloutSettings
from fpan.serve.telemetry.metrics import ShadowCounts

_IDLE_POLL_S = 0.005
"""How often a copy that waits looks whether the networks have nothing else to do, in seconds."""
_LABELS = "labels"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Copy:
    """A crop, and what was said of it."""

    champion: Version
    image: NDArray[np.generic]
    """RGB, uint8 (S, S, 3)."""
    labels: NDArray[np.generic]
    """uint8 (S, S)."""
    crop_s: float


class Shadow:
    """Copies wait in a short queue; what does not fit is dropped, so that no caller ever waits for them.

    One crop at a time goes out, and only while no network is asked anything else.
    """

    def __init__(
        self,
        model_router: ModelRouter,
        busy: Callable[[], bool],
        settings: RolloutSettings,
        timeout_s: float,
        counts: ShadowCounts,
    ) -> None:
        """Makes one of its parts.

        Args:
            model_router: the networks.
            busy: whether a network is asked something at this moment.
            settings: which share of the requests is copied, and how many crops wait.
            timeout_s: how long one inference may take, in seconds.
            counts: where it is told what came of it.
        """
        self._model_router = model_router
        self._busy = busy
        self._share = settings.shadow_share
        self._max_queue = settings.shadow_queue
        self._timeout_s = timeout_s
        self._counts = counts
        self._copies: deque[_Copy] = deque()
        self._filled = asyncio.Event()
        self._stopped = False
        self._told: set[Version] = set()

    def __len__(self) -> int:
        """Crops that wait."""
        return len(self._copies)

    def offer(self, asked: Observation) -> None:
        """Takes a copy of what was asked, if it is the champion's; an ``Observer``."""
        card, routing_table = asked.segmenter.card, self._model_router.now
        shadow, champion = routing_table.shadows.get(card.name), routing_table.segmenters.get(card.name)
        if self._stopped or shadow is None or champion is None or champion.card.version != card.version:
            return
        if random.random() >= self._share:
            return
        room = self._max_queue - len(self)
        for crop, answer in list(zip(asked.crops, asked.answers, strict=True))[:room]:
            labels = answer[_LABELS].copy()  # a view of a whole batch, of others' faces too
            self._copies.append(_Copy((card.name, card.version), crop["images"], labels, asked.crop_s))
        self._counts.dropped(shadow.card, max(0, len(asked.crops) - room))
        self._filled.set()

    def stop(self) -> None:
        """Forgets the copies, and takes no more."""
        self._stopped = True
        self._copies.clear()

    async def run(self) -> None:
        """Compares until it is cancelled."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._copies:
                if self._busy():
                    await asyncio.sleep(_IDLE_POLL_S)
                else:
                    await self._compare(self._copies.popleft())

    async def _compare(self, copy: _Copy) -> None:
        name, version = copy.champion
        with self._model_router.using() as routing_table:
            shadow = routing_table.shadows.get(name)
            if shadow is None or routing_table.segmenters[name].card.version != version:
                return  # the alias has moved since
            context = RequestContext(deadline=Deadline.after(self._timeout_s * 1000))
            try:
                async with context.deadline.limit():
                    answer = await shadow.batcher.infer([{"images": copy.image}], (_LABELS,), context)
            except Exception as error:  # whatever a version does that nobody relies on
                self._counts.failed(shadow.card)
                self._tell(shadow.card.name, shadow.card.version, error)
                return
        agreement = float(np.mean(answer.items[0][_LABELS] == copy.labels))
        self._counts.compared(shadow.card, agreement, answer.cost_s - copy.crop_s)

    def _tell(self, name: str, version: int, error: Exception) -> None:
        """Once for each version."""
        if (name, version) in self._told:
            return
        self._told.add((name, version))
        unforeseen = None if isinstance(error, GatewayError) else error
        _log.error("%s version %d, which is shadow, fails: %s", name, version, error, exc_info=unforeseen)
