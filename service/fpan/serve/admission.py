"""Who may come in: key, scope, permit, rate. One for every transport, asked before a request's body is read."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from fpan.serve.caller import Caller, Offered, caller_of
from fpan.serve.errors import Forbidden, Overloaded
from fpan.serve.keys.file import Scope
from fpan.serve.keys.ring import KeyRing
from fpan.serve.limits import Allowance, RateLimiter
from fpan.serve.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Access:
    """What a route asks of its callers. Transports have a table of these by route."""

    scope: Scope | None = None
    """What their key must allow; None: any key will do."""
    limited: bool = False
    """Whether a request takes a permit, and counts against its caller's quota."""
    open: bool = False
    """Whether it needs no key."""


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
        max_concurrency: int,
        keys: KeyRing | None,
        metrics: Metrics,
        rates: RateLimiter | None = None,
        per_minute: int = 0,
    ) -> None:
        """Takes what it needs.

        Args:
            max_concurrency: requests that may be under way at once, of all transports together.
            keys: of those who may come in; None where nobody needs one, and none is looked at.
            metrics: are told how many requests are under way.
            rates: counts requests against quotas; None where there are none.
            per_minute: requests in a minute of a caller whose key does not say how many; 0 is any number.
        """
        self._max_concurrency = max_concurrency
        self._keys = keys
        self._in_flight = metrics.in_flight
        self._rates = rates
        self._per_minute = per_minute
        self._running = 0
        self._of_key: Counter[str] = Counter()

    def identify(self, offered: Offered, access: Access) -> Caller:
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
    async def admit(self, offered: Offered, access: Access) -> AsyncIterator[Admitted]:
        """A block in which a request is handled.

        Raises:
            Unauthenticated: no key, or not one of ours.
            Forbidden: the key does not allow it.
            Overloaded: too many requests are under way.
            RateLimited: the caller's quota is used up.
        """
        caller = self.identify(offered, access)
        if not access.limited:
            yield Admitted(caller)
            return
        # First the permit, which costs nothing to refuse: whom there is no room for spends nothing of a quota.
        with self._permit(caller):
            allowance = None
            if self._rates is not None:
                allowance = await self._rates.take(caller.account, self._quota(caller))
            yield Admitted(caller, allowance)

    async def spend(self, caller: Caller, requests: int) -> None:
        """Counts what a request that was let in asks for as so many more.

        Raises:
            RateLimited: the caller's quota has not so many left.
        """
        if self._rates is not None and requests > 0:
            await self._rates.take(caller.account, self._quota(caller), requests)

    def _quota(self, caller: Caller) -> int:
        return (caller.key.requests_per_minute if caller.key else None) or self._per_minute

    @contextmanager
    def _permit(self, caller: Caller) -> Iterator[None]:
        if self._running >= self._max_concurrency:
            raise Overloaded(
                f"{self._max_concurrency} requests are being handled, which is all this server takes at once"
            )
        key = caller.key
        if key and key.concurrent and self._of_key[key.id] >= key.concurrent:
            raise Overloaded(
                f"{key.concurrent} requests of this key are being handled, which is all it may have at once"
            )
        self._running += 1
        self._in_flight.inc()
        if key:
            self._of_key[key.id] += 1
        try:
            yield
        finally:
            self._running -= 1
            self._in_flight.dec()
            if key:
                self._of_key[key.id] -= 1
                if not self._of_key[key.id]:
                    del self._of_key[key.id]
