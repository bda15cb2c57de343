"""Around every request: its id, its metrics, a permit before the body is read, and an answer to what nobody foresaw."""

import time
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fpan.serve.caller import quota_of
from fpan.serve.errors import Overloaded, RateLimited
from fpan.serve.http.oip_paths import is_inference
from fpan.serve.http.problems import problem, unknown
from fpan.serve.http.request_id import HEADER, choose
from fpan.serve.limits import Allowance, RateLimiter, limit_fields
from fpan.serve.metrics import Metrics

_UNMATCHED = "(none)"
_GONE = 499
"""What requests are counted as whose caller left before the answer."""


class Around:
    """ASGI middleware: request id, latency by route, and where much is computed (the limited paths, and where ``/v2``
    infers) at most ``limit`` requests at once, and ``per_minute`` of one caller.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        limit: int,
        limited: Iterable[str],
        limiter: RateLimiter,
        per_minute: int,
    ) -> None:
        self.app = app
        self._metrics = metrics
        self._limiter = limiter
        self._per_minute = per_minute
        self._limit = limit
        self._limited = frozenset(limited)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        identity = choose(Headers(scope=scope).get(HEADER))
        scope["fpan.request_id"] = identity
        began = time.perf_counter()
        status = 500
        started = False
        allowance: Allowance | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                MutableHeaders(scope=message).update({HEADER: identity, **limit_fields(allowance)})
            await send(message)

        limited = scope["path"] in self._limited or is_inference(scope["path"])
        try:
            if limited and self._running >= self._limit:
                refused = Overloaded(
                    f"{self._limit} requests are being handled, which is all this server takes at once"
                )
                await problem(Request(scope), refused)(scope, receive, send_with_id)
                return
            self._running += limited
            self._metrics.in_flight.inc(limited)
            try:
                if limited:
                    host, _ = scope.get("client") or ("", 0)
                    allowance = await self._limiter.take(quota_of(host), self._per_minute)
                await self.app(scope, receive, send_with_id)
            except RateLimited as refusal:
                allowance = refusal.allowance
                await problem(Request(scope), refusal)(scope, receive, send_with_id)
            finally:
                self._running -= limited
                self._metrics.in_flight.dec(limited)
        except ClientDisconnect:
            status = _GONE
        except Exception as error:
            if started:
                raise
            # Here and not in Starlette's outermost layer, which knows no request id and raises again what it answered.
            await unknown(Request(scope), error)(scope, receive, send_with_id)
        finally:
            route = getattr(scope.get("route"), "path", _UNMATCHED)
            self._metrics.requests.labels(route, scope["method"], str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(time.perf_counter() - began)
