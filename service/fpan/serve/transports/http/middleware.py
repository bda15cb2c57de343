"""Middleware of every request: id, metrics, admission before the body is read, an answer to an unforeseen error."""

import asyncio
import time
from contextlib import ExitStack

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fpan.serve.admission.admission import Admission
from fpan.serve.api.allowance import limit_fields
from fpan.serve.api.context import PRIORITY, REQUEST_ID, choose_request_id, is_background
from fpan.serve.api.errors import GatewayError
from fpan.serve.telemetry.metrics import Metrics
from fpan.serve.transports.http.access import ALLOWANCE, CALLER, HELD, access_of, credentials_of
from fpan.serve.transports.http.body_room import BodyRoom
from fpan.serve.transports.http.problems import problem, unknown

_UNMATCHED = "(none)"
_GONE = 499
"""What requests are counted as whose caller left before the answer."""


class RequestMiddleware:
    """ASGI middleware: request id, latency by route, and who may come in, by the table of :mod:`.access`."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, admission: Admission, send_timeout_s: float, room: BodyRoom
    ) -> None:
        self.app = app
        self._room = room
        self._send_timeout_s = send_timeout_s
        self._metrics = metrics
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        identity = choose_request_id(headers.get(REQUEST_ID))
        scope["fpan.request_id"] = identity
        began = time.perf_counter()
        status = 500
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                MutableHeaders(scope=message).update({REQUEST_ID: identity, **limit_fields(scope.get(ALLOWANCE))})
            try:
                async with asyncio.timeout(self._send_timeout_s):
                    await send(message)
            except TimeoutError:  # the caller does not read: its permit is free, and the system ends the connection
                raise ClientDisconnect from None

        try:
            access = access_of(scope["method"], scope["path"])
            background = is_background(headers.getlist(PRIORITY))
            async with self._admission.admit(credentials_of(scope), access, background) as admitted:
                scope[CALLER], scope[ALLOWANCE] = admitted
                counted = self._room.counted(scope, receive)
                with ExitStack() as scope[HELD], counted as counting:
                    await self.app(scope, counting, send_with_id)
        except GatewayError as refused:  # those of routes have been answered within
            await problem(Request(scope), refused)(scope, receive, send_with_id)
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
