"""Admission control: key, scope, permit, rate. All transports call it before they read a request's body."""

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
"""Kind of a permit: for requests, or for uploads of jobs, which may take long and are processed by workers."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Largest number of requests at the same time, over all transports."""

    requests: int
    """Requests other than uploads of jobs."""
    background: int
    """Background requests, which are part of :attr:`requests`. A smaller number keeps room for the others."""
    uploads: int
    """Uploads of jobs."""
    streams: int
    """Event streams of one caller."""

    @classmethod
    def of(cls, settings: AdmissionSettings) -> "Capacity":
        """Reads the capacity from ``settings``."""
        share = max(1, settings.max_concurrency // _BACKGROUND_SHARE)
        background = settings.max_background_concurrency or share
        return cls(settings.max_concurrency, background, settings.max_job_uploads, settings.max_event_streams)


_BACKGROUND_SHARE = 4
"""By default, one permit in this many is for background requests."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a route requires of its callers. Each transport has a table of these by route."""

    scope: Scope | None = None
    """Scope that the key must have; None: any key is accepted."""
    limited: bool = False
    """Whether a request needs a permit and counts against its caller's quota."""
    open: bool = False
    """Whether no key is needed."""
    pool: Pool = "requests"
    """Kind of the permit, if :attr:`limited`."""


OPEN = Access(open=True)
ANY_KEY = Access()
"""Also used for routes that are missing in the table, so that a forgotten route is not open."""


class Admitted(NamedTuple):
    """The caller of an admitted request, and its quota."""

    caller: Caller
    allowance: Allowance | None = None
    """What is left of the caller's quota; None without a quota."""


class Admission:
    """Admits requests, and counts those that are being handled."""

    def __init__(
        self,
        capacity: Capacity,
        keys: KeyRing | None,
        metrics: Metrics,
        rates: RateLimiter | None = None,
        per_minute: int = 0,
    ) -> None:
        """Makes an admission control.

        Args:
            capacity: largest number of requests at the same time.
            keys: the valid keys; None if no key is needed, in which case none is checked.
            metrics: receive the number of requests that are being handled.
            rates: counts requests against quotas; None if there are no quotas.
            per_minute: quota of a caller whose key has none, in requests per minute; 0 means no limit.
        """
        self._capacity = capacity
        self._keys = keys
        self._in_flight = metrics.in_flight
        self._rates = rates
        self._per_minute = per_minute
        self.draining = False
        """Whether the server is shutting down, and admits no new requests."""
        self._running: Counter[str] = Counter()
        self._of_key: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()

    def identify(self, offered: Credentials, access: Access) -> Caller:
        """Returns the caller if its key allows the access.

        Raises:
            Unauthenticated: the key is missing or unknown.
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
            offered: credentials that the request carries.
            access: what the route requires.
            background: whether all other requests go first.

        Raises:
            Unauthenticated: the key is missing or unknown.
            Forbidden: the key does not allow it.
            Unavailable: the server is shutting down.
            Overloaded: too many requests are being handled.
            RateLimited: the caller's quota is used up.
        """
        caller = self.identify(offered, access)
        if not access.limited:
            yield Admitted(caller)
            return
        if self.draining:
            raise Unavailable("this server is shutting down")
        # The permit first: a request that is refused for lack of capacity must not use up quota.
        with self._permit(caller, access.pool, background):
            allowance = None
            if self._rates is not None:
                allowance = await self._rates.take(caller.account, self._quota(caller))
            yield Admitted(caller, allowance)

    def check_cost(self, caller: Caller, requests: int) -> None:
        """Refuses a request that counts as more requests than the caller's quota can ever allow.

        Raises:
            TooLarge: the caller's quota for a minute is smaller.
        """
        quota = self._quota(caller)
        if self._rates is not None and 0 < quota < requests:
            raise TooLarge(
                f"each picture counts as a request, and this caller's quota is {quota} requests a minute: send at most "
                "so many pictures at once"
            )

    async def spend(self, caller: Caller, requests: int) -> Allowance | None:
        """Counts an admitted request, which has been counted once, as ``requests`` in all.

        Returns:
            What is left of the quota; None if nothing more was counted.

        Raises:
            TooLarge: the caller's quota is smaller than ``requests``.
            RateLimited: too little of the quota is left.
        """
        self.check_cost(caller, requests)
        if self._rates is None or requests <= 1:
            return None
        return await self._rates.take(caller.account, self._quota(caller), requests - 1)

    @contextmanager
    def streaming(self, caller: Caller) -> Iterator[None]:
        """A block in which a caller receives a stream of events.

        Raises:
            Overloaded: the caller has the largest number of streams open already.
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
