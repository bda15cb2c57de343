"""An httpx client whose connections go to addresses that the guard has looked at, and nowhere else.

Not by httpx-secure: it finds out an address by connecting to it, before it decides whether that is allowed; keeps its
rollback for minutes; lets IPv4 multicast and 6to4 pass; and replaces inner parts of a client. Here the guard resolves,
all addresses are judged, and the connection is made to one of them: a name that means something else a moment later
changes nothing. Host, TLS name and certificate stay those of the URL.
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
    Its requests raise the guard's :class:`~fpan.serve.api.errors.GatewayError` beside what httpx raises.

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


_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "Accept": "image/*, application/octet-stream;q=0.5",
    "Accept-Encoding": "identity",  # what is packed small may be large
}


class Fetcher:
    """Fetches what callers name, where the guard lets it."""

    def __init__(
        self, guard: Guard, client: httpx.AsyncClient, *, max_bytes: int, timeout_s: float, max_redirects: int
    ) -> None:
        """Takes what it needs.

        Args:
            guard: looks at each URL.
            client: a :func:`~fpan.serve.fetch.fetcher.guarded_client` of the same guard.
            max_bytes: largest answer that is read.
            timeout_s: how long all of it may take, in seconds.
            max_redirects: how many are followed.
        """
        self._guard = guard
        self._client = client
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._max_redirects = max_redirects

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: FetchSettings, max_bytes: int) -> AsyncIterator["Fetcher"]:
        """By the rules of ``settings``, for files of at most ``max_bytes``; closes its connections in the end."""
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
        """The bytes at a URL, whatever its media type says they are.

        Raises:
            BadRequest: it is no URL.
            Forbidden: it, or one that it redirects to, may not be asked.
            Impossible: it does not answer in time, or with anything but a file.
            TooLarge: the file.
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
        if int(response.headers.get("content-length", 0)) > self._max_bytes:  # httpcore has refused what is no number
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
    """What went wrong, without the addresses that may be in an error's own words."""
    if isinstance(error, httpx.ConnectError):
        verified = "certificate verify failed" in str(error).lower()
        return "its certificate is not believed" if verified else "no connection could be made"
    return "the connection broke" if isinstance(error, httpx.TransportError) else "it is no URL"
