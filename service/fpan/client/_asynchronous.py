"""The asynchronous client."""

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Literal, Self, Unpack

import httpx
from numpy.typing import NDArray

from fpan.client import _answers, _calls
from fpan.client._asynchronous_jobs import AsyncJobs
from fpan.client._options import Drawing, Options, Shape
from fpan.client._patience import Patience, Retry
from fpan.client._pictures import Picture, picture_bytes
from fpan.client.errors import ApiError
from fpan.client.types import Health, Result
from fpan.contract.taxonomy import Taxonomy


class AsyncClient:
    """Parses faces with a running server.

    >>> async with AsyncClient("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     result = await client.parse("photo.jpg")
    ...     hair = result.faces[0].part("hair")

    One client serves many tasks of one event loop; it keeps connections open until it is closed. Its methods raise what
    :mod:`fpan.client.errors` draws; those that take a picture raise OSError, too, when its file cannot be read.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        retry: Retry | None = None,
        timeout_s: float = 60.0,
        headers: dict[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            url: address of the server; None takes ``FPAN_URL`` from the environment, else http://127.0.0.1:8000.
            retry: how often to try again on 429 and 503.
            timeout_s: how long to wait for an answer when the call names no ``deadline_ms``, in seconds.
            headers: sent with every request.
            transport: of httpx; None goes over the network, by the proxies that the environment names.
        """
        self.url = _calls.base_url(url)
        self._retry = retry or Retry()
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(base_url=self.url, headers=headers, transport=transport)
        self.jobs = AsyncJobs(self)
        """Pictures that are handed in together and fetched later."""

    async def parse(
        self,
        picture: Picture,
        *,
        pictures: Sequence[Drawing] = (),
        shapes: Sequence[Shape] = (),
        **options: Unpack[Options],
    ) -> Result:
        """Parses the faces of one picture.

        Args:
            picture: what to parse.
            pictures: drawn in the same go, e.g. ``["confidence"]``.
            shapes: outlines and soft masks that come with the label maps, e.g. ``["polygons"]``.
            options: see :class:`Options`.
        """
        data = await asyncio.to_thread(picture_bytes, picture)
        return _answers.read_result(await self._send(_calls.parse_call(data, options, pictures, shapes)))

    async def parse_many(
        self,
        pictures: Iterable[Picture],
        *,
        drawings: Sequence[Drawing] = (),
        shapes: Sequence[Shape] = (),
        **options: Unpack[Options],
    ) -> list[Result | ApiError]:
        """Parses the faces of several pictures in one call; a picture that fails has its error in its place.

        Args:
            pictures: what to parse.
            drawings: as ``pictures`` of :meth:`parse`.
            shapes: as there.
            options: for all pictures; ``deadline_ms`` is for each.
        """
        data = [await asyncio.to_thread(picture_bytes, picture) for picture in pictures]
        call = _calls.several_call("/v1/parse/batch", data, options, drawings, shapes)
        return _answers.read_results(await self._send(call))

    async def draw(
        self, picture: Picture, drawing: Drawing | Literal["alpha"] = "overlay", **options: Unpack[Options]
    ) -> bytes:
        """A PNG that the server draws of the parsed picture; ``alpha`` is the soft mask of all kept classes."""
        data = await asyncio.to_thread(picture_bytes, picture)
        return _answers.expect(await self._send(_calls.draw_call(data, options, drawing)), _answers.PNG).content

    async def arrays(
        self, picture: Picture, *, alpha: bool = False, **options: Unpack[Options]
    ) -> dict[str, NDArray[Any]]:
        """Label map, confidence and what else is known as arrays; ``alpha``, and named classes, bring soft masks.

        They are ``labels``, ``confidence``, ``class_names``, ``taxonomy``, ``box``, ``score``, ``landmarks`` and, where
        there are any, ``alpha`` with ``alpha_ids``, and ``matrix`` with ``frame="crop"``.
        """
        data = await asyncio.to_thread(picture_bytes, picture)
        response = await self._send(_calls.arrays_call(data, options, alpha))
        return await asyncio.to_thread(_answers.read_npz, response)

    async def labels(self, model: str | None = None) -> Taxonomy:
        """The classes: ids, names, colours, left-right partners, groups, other orders."""
        return _answers.read_taxonomy(await self._send(_calls.get_call("/v1/labels", model=model)))

    async def models(self) -> Any:
        """The models that are served, as the server's JSON."""
        return _answers.read_json(await self._send(_calls.get_call("/v1/models")))

    async def drift(self) -> Any:
        """How the newest faces of each version differ from the reference in its card, as the server's JSON."""
        return _answers.read_json(await self._send(_calls.get_call("/v1/drift")))

    async def health(self) -> Health:
        """Whether the server runs and is ready; asks once."""
        calls = (_calls.get_call(f"/v1/health/{which}") for which in ("live", "ready"))
        return _answers.read_health(*await asyncio.gather(*map(self._once, calls)))

    async def _once(self, call: _calls.Call, left_ms: int | None = None) -> httpx.Response:
        try:
            return await self._http.request(**call.arguments(left_ms, self._timeout_s))
        except httpx.HTTPError as error:
            raise _answers.unreachable(self.url, error) from error

    async def _send(self, call: _calls.Call) -> httpx.Response:
        patience = Patience(self._retry, call.deadline_ms)
        while True:
            response = await self._once(call, patience.left_ms())
            wait_s = patience.wait_s(response)
            if wait_s is None:
                return response
            await asyncio.sleep(wait_s)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
