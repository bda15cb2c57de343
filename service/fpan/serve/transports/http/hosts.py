"""By which names the server may be called: against pages that give their own name its address (DNS rebinding)."""

import re

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from fpan.serve.api.context import REQUEST_ID, choose_request_id
from fpan.serve.api.errors import Misdirected
from fpan.serve.setting_types import bracketed
from fpan.serve.transport_settings import TransportSettings
from fpan.serve.transports.http.problems import problem

_ANY = "*"
_HERE = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")


class HostsMiddleware:
    """ASGI middleware, outside of all others. A request without ``Host`` (HTTP/1.0) is no browser's."""

    def __init__(self, app: ASGIApp, settings: TransportSettings, needs_keys: bool) -> None:
        self.app = app
        self._names = _names(settings, needs_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] == "http" and self._names is not None:
            told = Headers(scope=scope).getlist("host")
            if any(_name(each) not in self._names for each in told):
                scope["fpan.request_id"] = identity = choose_request_id(Headers(scope=scope).get(REQUEST_ID))
                refused = Misdirected(
                    "this server is not called by that Host: whoever runs it can add it to ALLOWED_HOSTS"
                )
                answer = problem(Request(scope), refused)
                answer.headers[REQUEST_ID] = identity
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _names(settings: TransportSettings, needs_keys: bool) -> frozenset[str] | None:
    """The names, None for any."""
    named = settings.allowed_hosts
    if not named and (needs_keys or not settings.loopback):
        return None
    if _ANY in named:
        return None
    return frozenset(name.lower().rstrip(".") for name in named or (*_HERE, bracketed(settings.bind_address)))


def _name(host: str) -> str:
    found = _HOST.fullmatch(host.strip().lower())
    return found[1].rstrip(".") if found else ""
