"""Questions to answers: from Redis, from somebody's who asks the same now, or made."""

import time
from dataclasses import replace
from functools import partial
from typing import Final

from fpan.serve.api.context import RequestContext
from fpan.serve.api.deadline import Deadline
from fpan.serve.api.parse import CacheOutcome, EncodedAnswer, Make, ParseRequest
from fpan.serve.cache.circuit_breaker import RedisAway
from fpan.serve.cache.key import AnswerKeys
from fpan.serve.cache.single_flight import SingleFlight
from fpan.serve.cache.store import AnswerStore, Stored
from fpan.serve.telemetry.metrics import Metrics

CACHE_STATUS: Final[dict[CacheOutcome, str]] = {
    "hit": "fpan; hit",
    "miss": "fpan; fwd=miss",
    "shared": "fpan; fwd=miss; collapsed",
    "skipped": "fpan; fwd=bypass",
    "failed": "fpan; fwd=bypass; detail=unavailable",
}
"""How ``Cache-Status`` (RFC 9211) tells it."""


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
        self._flights: SingleFlight[tuple[bytes, bool], EncodedAnswer] = SingleFlight()

    async def answer(self, request: ParseRequest, context: RequestContext, make: Make) -> EncodedAnswer:
        """The answer to a question.

        Args:
            request: the question.
            context: in whose name it is asked.
            make: makes an answer, in the name of all who ask the same at the same time; its work is cancelled when
                nobody waits for it any more.

        Raises:
            GatewayError: what ``make`` raises.
        """
        began = time.perf_counter()
        digest = await self._keys.digest(request.data)
        while True:
            answering = self._keys.answering(request, context)
            name = self._keys.name(digest, request, context, answering)
            flight = name, context.background  # who waits for an answer waits for no background work

            async def work(deadline: Deadline, name: bytes = name, answering: bytes = answering) -> EncodedAnswer:
                shared = replace(context, deadline=deadline)
                return await self._found_or_made(name, answering, request, shared, make, began)

            try:
                answered, mine = await self._flights.join(flight, work, partial(self._keep, name), context.deadline)
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
        request: ParseRequest,
        context: RequestContext,
        make: Make,
        began: float,
    ) -> EncodedAnswer:
        outcome: CacheOutcome | None = None
        looked: dict[str, float] = {}
        if self._store is not None:
            outcome = "skipped"
            if not request.options.shows_picture:
                outcome = "miss"
                try:
                    found = await self._store.get(name)
                except RedisAway:
                    found, outcome = None, "failed"
                looked = self._timed("cache", began)
                if found is not None:
                    return _answered(found, looked)

        def begins() -> None:
            if self._keys.answering(request, context) != answering:
                raise _Moved

        made = await make(context, begins)
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
