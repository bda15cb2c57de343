"""Pictures from URLs: into memory, with bounds on bytes, time and redirects."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from fpan.serve.errors import Forbidden, GatewayError, Impossible, TooLarge
from fpan.serve.fetch.client import guarded_client
from fpan.serve.fetch.guard import Guard
from fpan.serve.settings import Settings

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
            client: a :func:`~fpan.serve.fetch.client.guarded_client` of the same guard.
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
    async def opened(cls, settings: Settings) -> AsyncIterator["Fetcher"]:
        """One by the rules of ``settings``, with connections that are closed in the end."""
        guard = Guard.of_pictures(settings)
        async with guarded_client(guard, timeout_s=settings.url_timeout_s) as client:
            yield cls(
                guard,
                client,
                max_bytes=settings.max_body_bytes,
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
