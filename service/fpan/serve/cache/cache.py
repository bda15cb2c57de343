"""Questions to answers: from Redis, from somebody's who asks the same now, or made."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final, Literal

from fpan.serve.api.errors import DeadlineExceeded
from fpan.serve.cache.circuit_breaker import RedisAway
from fpan.serve.cache.key import AnswerKeys
from fpan.serve.cache.single_flight import SingleFlight
from fpan.serve.cache.store import AnswerStore, Stored
from fpan.serve.service import EncodedAnswer, ParseRequest
from fpan.serve.telemetry.metrics import Metrics

CacheOutcome = Literal["hit", "miss", "shared", "skipped", "failed"]
"""Found; not there; shared with somebody who asked the same at the same time; never kept, because it shows the picture;
or Redis could not be asked."""
CACHE_STATUS: Final[dict[CacheOutcome, str]] = {
    "hit": "fpan; hit",
    "miss": "fpan; fwd=miss",
    "shared": "fpan; fwd=miss; collapsed",
    "skipped": "fpan; fwd=bypass",
    "failed": "fpan; fwd=bypass; detail=unavailable",
}
"""How ``Cache-Status`` (RFC 9211) tells it."""


Make = Callable[[ParseRequest, Callable[[], None]], Awaitable[EncodedAnswer]]
"""What makes answers; see :meth:`AnswerCache.answer`."""


class _Moved(Exception):
    """Another version would answer now than when the question was asked."""


class AnswerCache:
    """Answers from wherever they come fastest."""

    def __init__(self, keys: AnswerKeys, store: AnswerStore | None, metrics: Metrics) -> None:
        """Takes what it needs.

        Args:
            keys: name the answers.
            store: keeps them; None where only those that are asked for at the same time are shared.
            metrics: are told what became of each question.
        """
        self._keys = keys
        self._store = store
        self._metrics = metrics
        self._flights: SingleFlight[tuple[bytes, bool], EncodedAnswer] = SingleFlight(DeadlineExceeded)

    async def answer(self, asking: ParseRequest, make: Make) -> EncodedAnswer:
        """The answer to a question.

        Args:
            asking: the question.
            make: makes an answer; its work is cancelled when nobody waits for it any more. It calls what it is given
                at the moment when it is settled which versions answer, and raises what that raises.

        Raises:
            GatewayError: what ``make`` raises.
        """
        began = time.perf_counter()
        digest = await self._keys.digest(asking.data)
        while True:
            answering = self._keys.answering(asking)
            name = self._keys.name(digest, asking, answering)
            flight = name, asking.turn.background  # who waits for an answer waits for no background work
            work = partial(self._found_or_made, name, answering, asking, make, began)
            try:
                answered, mine = await self._flights.join(flight, work, partial(self._keep, name))
            except _Moved:
                continue
            if not mine:
                answered = self._shared(answered, began)
            if answered.cached:
                self._metrics.cache_requests.labels(answered.cached).inc()
            return answered

    async def close(self) -> None:
        """Ends what still runs."""
        await self._flights.close()

    async def _found_or_made(
        self,
        name: bytes,
        answering: bytes,
        asking: ParseRequest,
        make: Make,
        began: float,
    ) -> EncodedAnswer:
        outcome: CacheOutcome | None = None
        looked: dict[str, float] = {}
        if self._store is not None:
            outcome = "skipped"
            if not asking.options.shows_picture:
                outcome = "miss"
                try:
                    found = await self._store.get(name)
                except RedisAway:
                    found, outcome = None, "failed"
                looked = self._timed("cache", began)
                if found is not None:
                    return _answered(found, looked)

        def begins() -> None:
            if self._keys.answering(asking) != answering:
                raise _Moved

        made = await make(asking, begins)
        return replace(made, cached=outcome, timing_ms={**looked, **made.timing_ms})

    async def _keep(self, name: bytes, answered: EncodedAnswer) -> None:
        if self._store is not None and answered.cached == "miss":
            try:
                await self._store.put(name, Stored(answered.body, answered.faces, answered.digest))
            except RedisAway:
                return  # the log and a metric say so

    def _shared(self, answered: EncodedAnswer, began: float) -> EncodedAnswer:
        outcome: CacheOutcome = "hit" if answered.cached == "hit" else "shared"
        return replace(answered, cached=outcome, timing_ms=self._timed("shared", began))

    def _timed(self, stage: str, began: float) -> dict[str, float]:
        seconds = time.perf_counter() - began
        self._metrics.stage_seconds.labels(stage).observe(seconds)
        return {stage: round(seconds * 1000, 3)}


def _answered(stored: Stored, timing_ms: dict[str, float]) -> EncodedAnswer:
    return EncodedAnswer(stored.body, stored.faces, timing_ms, stored.digest, "hit")
