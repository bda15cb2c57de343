"""An httpx client whose connections go to addresses that the guard has looked at, and nowhere else.

Not by httpx-secure: it finds out an address by connecting to it, before it decides whether that is allowed; keeps its
verdict for minutes; lets IPv4 multicast and 6to4 pass; and replaces inner parts of a client. Here the guard resolves,
all addresses are judged, and the connection is made to one of them: a name that means something else a moment later
changes nothing. Host, TLS name and certificate stay those of the URL.
"""

from collections.abc import Iterable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLContext

import httpcore
import httpx

from fpan import __version__
from fpan.serve.fetch.guard import Guard

_MAX_CONNECTIONS = 64


class Guarded(httpcore.AsyncNetworkBackend):
    """Connects where the guard lets it."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See httpcore. Addresses are tried in turn."""
        failed: Exception = httpcore.ConnectError("no address")
        for address in await self._guard.addresses(host, port):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise httpcore.ConnectError("no socket of this machine is asked")

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await self._network.sleep(seconds)


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport over :class:`Guarded` connections; every request's URL is checked, redirected or not."""

    def __init__(self, guard: Guard, verify: SSLContext | bool = True) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._guard = guard
        context = httpx.create_ssl_context(verify=verify, trust_env=False)
        # httpx has no argument for it. Where it keeps its pool elsewhere, this must not pass unseen.
        if type(self._pool) is not httpcore.AsyncConnectionPool:
            raise RuntimeError("this version of httpx has another pool of connections: it cannot be guarded")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, max_connections=_MAX_CONNECTIONS, network_backend=Guarded(guard)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx.

        Raises:
            GatewayError: the URL, or the address of its host, may not be asked.
        """
        self._guard.check(request.url)
        return await super().handle_async_request(request)


def guarded_client(guard: Guard, verify: SSLContext | bool = True, timeout_s: float = 10.0) -> httpx.AsyncClient:
    """A client for addresses that others name: pictures, webhooks, object stores.

    It follows no redirects by itself, goes through no proxy (which would resolve names by itself) and keeps no cookies.
    Its requests raise the guard's :class:`~fpan.serve.errors.GatewayError` beside what httpx raises.

    Args:
        guard: lets requests pass.
        verify: of httpx: whose certificates are believed.
        timeout_s: of each step of a request, in seconds; the caller bounds the whole.
    """
    return httpx.AsyncClient(
        transport=GuardedTransport(guard, verify),
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        timeout=timeout_s,
        headers={"User-Agent": f"mask-fpan-serve/{__version__}"},
    )
