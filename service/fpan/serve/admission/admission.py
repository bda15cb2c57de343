"""Who may come in: key, scope, permit, rate. One for every transport, asked before a request's body is read."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fpan.serve.admission.caller import Caller, Credentials, caller_of
from fpan.serve.admission.keys import KeyRing, Scope
from fpan.serve.admission.rate_limits import RateLimiter
from fpan.serve.admission.settings import AdmissionSettings
from fpan.serve.api.allowance import Allowance
from fpan.serve.api.errors import Forbidden, Overloaded, TooLarge, Unavailable
from fpan.serve.telemetry.metrics import Metrics

Pool = Literal["requests", "uploads"]
"""Permits are for requests, or for uploads of jobs, that may last and then are done elsewhere."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many requests may be under way at once, of all transports together."""

    requests: int
    """But for uploads of jobs."""
    background: int
    """Of them, those of callers who would rather wait; at least one less than all keeps room for others."""
    uploads: int
    """Uploads of jobs."""
    streams: int
    """Streams of events of one caller."""

    @classmethod
    def of(cls, settings: AdmissionSettings) -> "Capacity":
        """What ``settings`` allow."""
        share = max(1, settings.max_concurrency // _BACKGROUND_SHARE)
        background = settings.max_background_concurrency or share
        return cls(settings.max_concurrency, background, settings.max_job_uploads, settings.max_event_streams)


_BACKGROUND_SHARE = 4
"""One in so many permits is for background work where nothing else is set."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a route asks of its callers. Transports have a table of these by route."""

    scope: Scope | None = None
    """What their key must allow; None: any key will do."""
    limited: bool = False
    """Whether a request takes a permit, and counts against its caller's quota."""
    open: bool = False
    """Whether it needs no key."""
    pool: Pool = "requests"
    """Whose permits it takes where it is limited."""


OPEN = Access(open=True)
ANY_KEY = Access()
"""Of whatever no table knows, too: what was forgotten there is not open."""


class Admitted(NamedTuple):
    """A request that has been let in."""

    caller: Caller
    allowance: Allowance | None = None
    """What is left of its caller's quota, where there is one."""


class Admission:
    """Lets requests in, and knows how many are under way."""

    def __init__(
        self,
        capacity: Capacity,
        keys: KeyRing | None,
        metrics: Metrics,
        rates: RateLimiter | None = None,
        per_minute: int = 0,
    ) -> None:
        """Takes what it needs.

        Args:
            capacity: how many requests may be under way at once.
            keys: of those who may come in; None where nobody needs one, and none is looked at.
            metrics: are told how many requests are under way.
            rates: counts requests against quotas; None where there are none.
            per_minute: requests in a minute of a caller whose key does not say how many; 0 is any number.
        """
        self._capacity = capacity
        self._keys = keys
        self._in_flight = metrics.in_flight
        self._rates = rates
        self._per_minute = per_minute
        self.draining = False
        """Whether nothing new is let in: the server is shutting down."""
        self._running: Counter[str] = Counter()
        self._of_key: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()

    def identify(self, offered: Credentials, access: Access) -> Caller:
        """Who asks, where they may.

        Raises:
            Unauthenticated: no key, or not one of ours.
            Forbidden: the key does not allow it.
        """
        if self._keys is None or access.open:
            return caller_of(None, offered.client_id, offered.host)
        key = self._keys.owner(offered.key)
        if access.scope is not None and access.scope not in key.scopes:
            has = ", ".join(sorted(key.scopes))
            raise Forbidden(f"this needs a key with the scope {access.scope!r}; the key {key.id} has {has}")
        return caller_of(key, offered.client_id, offered.host)

    @asynccontextmanager
    async def admit(self, offered: Credentials, access: Access, background: bool = False) -> AsyncIterator[Admitted]:
        """A block in which a request is handled.

        Args:
            offered: what it says of its caller.
            access: what its route asks.
            background: whether its caller would rather wait than keep others waiting.

        Raises:
            Unauthenticated: no key, or not one of ours.
            Forbidden: the key does not allow it.
            Unavailable: the server is shutting down.
            Overloaded: too many requests are under way.
            RateLimited: the caller's quota is used up.
        """
        caller = self.identify(offered, access)
        if not access.limited:
            yield Admitted(caller)
            return
        if self.draining:
            raise Unavailable("this server is shutting down")
        # First the permit, which costs nothing to refuse: whom there is no room for spends nothing of a quota.
        with self._permit(caller, access.pool, background):
            allowance = None
            if self._rates is not None:
                allowance = await self._rates.take(caller.account, self._quota(caller))
            yield Admitted(caller, allowance)

    def check_cost(self, caller: Caller, requests: int) -> None:
        """Refuses what counts as so many requests that it could never be done.

        Raises:
            TooLarge: the caller's quota of a minute is smaller.
        """
        quota = self._quota(caller)
        if self._rates is not None and 0 < quota < requests:
            raise TooLarge(
                f"each picture counts as a request, and this caller's quota is {quota} requests a minute: send at most "
                "so many pictures at once"
            )

    async def spend(self, caller: Caller, requests: int) -> Allowance | None:
        """Counts a request that was let in, and has counted as one, as so many in all.

        Returns:
            What is left; None where nothing more was counted.

        Raises:
            TooLarge: the caller's quota is smaller.
            RateLimited: it has not so many left.
        """
        self.check_cost(caller, requests)
        if self._rates is None or requests <= 1:
            return None
        return await self._rates.take(caller.account, self._quota(caller), requests - 1)

    @contextmanager
    def streaming(self, caller: Caller) -> Iterator[None]:
        """A block in which a caller is told of events.

        Raises:
            Overloaded: it has as many such streams open as it may.
        """
        if self._streams[caller.account] >= self._capacity.streams:
            raise Overloaded(
                f"{self._capacity.streams} streams of events of this caller are open, which is all it may have"
            )
        with _counted(self._streams, caller.account):
            yield

    def _quota(self, caller: Caller) -> int:
        return (caller.key.requests_per_minute if caller.key else None) or self._per_minute

    @contextmanager
    def _permit(self, caller: Caller, pool: Pool, background: bool) -> Iterator[None]:
        background = background and pool == "requests"
        if pool == "uploads" and self._running[pool] >= self._capacity.uploads:
            raise Overloaded(
                f"{self._capacity.uploads} jobs are being handed in, which is all this server takes at once"
            )
        if pool == "requests" and self._running[pool] >= self._capacity.requests:
            raise Overloaded(
                f"{self._capacity.requests} requests are being handled, which is all this server takes at once"
            )
        if background and self._running[_BACKGROUND] >= self._capacity.background:
            raise Overloaded(
                f"{self._capacity.background} background requests are being handled, which is all this server takes at "
                "once of those who would rather wait"
            )
        key = caller.key
        if key and key.concurrent and self._of_key[key.id] >= key.concurrent:
            raise Overloaded(
                f"{key.concurrent} requests of this key are being handled, which is all it may have at once"
            )
        with ExitStack() as held:
            held.enter_context(_counted(self._running, pool))
            if background:
                held.enter_context(_counted(self._running, _BACKGROUND))
            if key:
                held.enter_context(_counted(self._of_key, key.id))
            held.enter_context(self._in_flight.track_inprogress())
            yield


_BACKGROUND = "background"


@contextmanager
def _counted(counter: Counter[str], name: str) -> Iterator[None]:
    counter[name] += 1
    try:
        yield
    finally:
        counter[name] -= 1
        if not counter[name]:
            del counter[name]
