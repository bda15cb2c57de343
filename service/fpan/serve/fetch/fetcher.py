"""An httpx client that connects only to addresses that the guard has checked.

The guard resolves the host, checks all of its addresses, and the connection is made to one of these: a name that
resolves differently a moment later (DNS rebinding) changes nothing. Host, TLS name and certificate stay those of the
URL. httpx-secure is not used, because it connects to an address before it decides whether that is allowed, keeps its
rollback for minutes, accepts IPv4 multicast and 6to4, and replaces private parts of a client.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLContext

import httpcore
import httpx

from fpan import __version__
from fpan.serve.api.errors import Forbidden, GatewayError, Impossible, TooLarge
from fpan.serve.fetch.guard import Guard
from fpan.serve.fetch.settings import FetchSettings

_MAX_CONNECTIONS = 64


class Guarded(httpcore.AsyncNetworkBackend):
    """Network backend that connects only to addresses that the guard allows."""

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
        """Always refuses."""
        raise httpcore.ConnectError("no socket of this machine is asked")

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await self._network.sleep(seconds)


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over :class:`Guarded` connections. The URL of every request is checked, redirects included."""

    def __init__(self, guard: Guard, verify: SSLContext | bool = True) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._guard = guard
        context = httpx.create_ssl_context(verify=verify, trust_env=False)
        # httpx has no argument for a network backend. If a new version keeps its pool elsewhere, this must fail.
        if type(self._pool) is not httpcore.AsyncConnectionPool:
            raise RuntimeError("this version of httpx has another pool of connections: it cannot be guarded")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, max_connections=_MAX_CONNECTIONS, network_backend=Guarded(guard)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx.

        Raises:
            GatewayError: the URL, or the address of its host, is not allowed.
        """
        self._guard.check(request.url)
        return await super().handle_async_request(request)


def guarded_client(guard: Guard, verify: SSLContext | bool = True, timeout_s: float = 10.0) -> httpx.AsyncClient:
    """Returns a client for URLs that callers send: pictures, webhooks, object stores.

    It follows no redirects, uses no proxy (which would resolve names itself) and keeps no cookies. Its requests raise
    the guard's :class:`~fpan.serve.api.errors.GatewayError` as well as the errors of httpx.

    Args:
        guard: checks URLs and addresses.
        verify: as in httpx: which certificates are trusted.
        timeout_s: time limit of each step of a request, in seconds; the caller limits the whole.
    """
    return httpx.AsyncClient(
        transport=GuardedTransport(guard, verify),
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        timeout=timeout_s,
        headers={"User-Agent": f"mask-fpan-serve/{__version__}"},
    )


_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "Accept": "image/*, application/octet-stream;q=0.5",
    "Accept-Encoding": "identity",  # a small compressed body may be large when unpacked
}


class Fetcher:
    """Fetches pictures from URLs that the guard allows."""

    def __init__(
        self, guard: Guard, client: httpx.AsyncClient, *, max_bytes: int, timeout_s: float, max_redirects: int
    ) -> None:
        """Makes a fetcher.

        Args:
            guard: checks each URL.
            client: a :func:`~fpan.serve.fetch.fetcher.guarded_client` of the same guard.
            max_bytes: largest body that is read, in bytes.
            timeout_s: time limit of a fetch with all redirects, in seconds.
            max_redirects: largest number of redirects that are followed.
        """
        self._guard = guard
        self._client = client
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._max_redirects = max_redirects

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: FetchSettings, max_bytes: int) -> AsyncIterator["Fetcher"]:
        """Opens a fetcher with ``settings`` for files of at most ``max_bytes`` bytes, and closes it in the end."""
        guard = Guard.of_pictures(settings)
        async with guarded_client(guard, timeout_s=settings.url_timeout_s) as client:
            yield cls(
                guard,
                client,
                max_bytes=max_bytes,
                timeout_s=settings.url_timeout_s,
                max_redirects=settings.max_url_redirects,
            )

    async def fetch(self, text: str) -> bytes:
        """Returns the bytes at a URL; its media type is ignored.

        Raises:
            BadRequest: the text is not a valid URL.
            Forbidden: the URL, or one that it redirects to, is not allowed.
            Impossible: the server does not answer in time, or not with a file.
            TooLarge: the file is larger than ``max_bytes``.
        """
        url = self._guard.check(text)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._followed(url)
        except (TimeoutError, httpx.TimeoutException):
            raise Impossible(f"the picture could not be fetched within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Impossible(f"the picture could not be fetched: {_words(error)}") from None

    async def _followed(self, url: httpx.URL) -> bytes:
        for _ in range(self._max_redirects + 1):
            async with self._client.stream("GET", url, headers=_HEADERS) as response:
                if response.status_code not in _REDIRECTS:
                    return await self._read(response)
                url = self._next(url, response.headers.get("location"))
        raise Impossible(f"the picture's URL redirects more than {self._max_redirects} times")

    def _next(self, url: httpx.URL, location: str | None) -> httpx.URL:
        if location is None:
            raise Impossible("the picture's URL redirects to nowhere")
        try:
            return self._guard.check(url.join(location))
        except httpx.InvalidURL:
            raise Impossible("the picture's URL redirects to what is no URL") from None
        except GatewayError as error:
            raise Forbidden(f"the picture's URL redirects to where it may not: {error}") from None

    async def _read(self, response: httpx.Response) -> bytes:
        if response.status_code != httpx.codes.OK:
            raise Impossible(f"the picture's URL answers {response.status_code}, not with a picture")
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise Impossible("the picture's URL answers with a Content-Encoding, which was not asked for")
        if int(response.headers.get("content-length", 0)) > self._max_bytes:  # httpcore has checked that it is a number
            raise self._too_large
        pieces, came = [], 0
        async for piece in response.aiter_raw():
            came += len(piece)
            if came > self._max_bytes:
                raise self._too_large
            pieces.append(piece)
        return b"".join(pieces)

    @property
    def _too_large(self) -> TooLarge:
        most = self._max_bytes
        return TooLarge(f"the picture at the URL is larger than {most} bytes ({most / 2**20:g} MiB), the limit")


def _words(error: Exception) -> str:
    """Describes an error without the addresses that its own message may contain."""
    if isinstance(error, httpx.ConnectError):
        verified = "certificate verify failed" in str(error).lower()
        return "its certificate is not believed" if verified else "no connection could be made"
    return "the connection broke" if isinstance(error, httpx.TransportError) else "it is no URL"
