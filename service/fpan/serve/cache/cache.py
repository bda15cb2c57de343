"""Gets the answer to a request from Redis, from an identical request that runs now, or by computing it."""

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
"""Value of the header ``Cache-Status`` (RFC 9211) for each outcome."""


class _Moved(Exception):
    """The model version that answers has changed since the cache key was computed."""


class AnswerCache:
    """Returns cached or shared answers, and computes those that are missing."""

    def __init__(self, keys: AnswerKeys, store: AnswerStore | None, metrics: Metrics) -> None:
        """Makes one of its parts.

        Args:
            keys: computes the cache keys.
            store: keeps the answers; None shares answers only between requests that run at the same time.
            metrics: counts the outcome of each request.
        """
        self._keys = keys
        self._store = store
        self._metrics = metrics
        self._flights: SingleFlight[tuple[bytes, bool], EncodedAnswer] = SingleFlight()

    async def answer(self, request: ParseRequest, context: RequestContext, make: Make) -> EncodedAnswer:
        """Returns the answer to a request.

        Args:
            request: the picture and its options.
            context: caller, deadline and priority of the request.
            make: computes an answer for all identical requests that run at the same time; it is cancelled when none of
                them waits any more.

        Raises:
            GatewayError: what ``make`` raises.
        """
        began = time.perf_counter()
        digest = await self._keys.digest(request.data)
        while True:
            answering = self._keys.answering(request, context)
            name = self._keys.name(digest, request, context, answering)
            flight = name, context.background  # other requests must not wait for background work

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
        """Cancels the computations that still run."""
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
