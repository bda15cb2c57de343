"""The blocking clients: what they share, and the one of HTTP."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Generic, Literal, Self, Unpack

import httpx
from numpy.typing import NDArray

from fpan.client import _answers, _calls
from fpan.client._access import Verify, verifying
from fpan.client._blocking_jobs import Jobs
from fpan.client._options import Drawing, Options, Output, Shape, outputs
from fpan.client._patience import Patience, Retry
from fpan.client._pictures import Picture, picture_bytes
from fpan.client._wire import A, Call, Q, T, Wire
from fpan.client.errors import ApiError, TryAgain
from fpan.client.types import Health, Result
from fpan.contract.taxonomy import Taxonomy


class Blocking(ABC, Generic[Q, A]):
    """What every blocking client can, whatever carries its calls."""

    def __init__(self, wire: Wire[Q, A], url: str, retry: Retry | None) -> None:
        self.url = url
        self._wire = wire
        self._retry = retry or Retry()

    def parse(
        self,
        picture: Picture,
        *,
        output: Sequence[Output] = (),
        pictures: Sequence[Drawing] = (),
        shapes: Sequence[Shape] = (),
        **options: Unpack[Options],
    ) -> Result:
        """Parses the faces of one picture.

        Args:
            picture: what to parse.
            output: what the answer has beside the masks: pictures, outlines, soft masks, arrays; e.g. ``["polygons"]``.
            pictures: former name of ``output``, which warns.
            shapes: likewise.
            options: see :class:`Options`.
        """
        wanted = outputs(output, pictures=pictures, shapes=shapes)
        return self._ask(self._wire.parse_call(picture_bytes(picture), options, wanted))

    def draw(
        self, picture: Picture, drawing: Drawing | Literal["alpha"] = "overlay", **options: Unpack[Options]
    ) -> bytes:
        """A PNG that the server draws of the parsed picture; ``alpha``, over HTTP, is the soft mask of all kept
        classes together.
        """
        return self._ask(self._wire.draw_call(picture_bytes(picture), options, drawing))

    def arrays(self, picture: Picture, *, alpha: bool = False, **options: Unpack[Options]) -> dict[str, NDArray[Any]]:
        """Label map, confidence and what else is known as arrays; ``alpha``, and named classes, bring soft masks.

        They are ``labels``, ``confidence``, ``class_names``, ``taxonomy``, ``box``, ``score``, ``landmarks`` and, where
        there are any, ``alpha`` with ``alpha_ids``, and ``matrix`` with ``frame="crop"``.
        """
        return self._ask(self._wire.arrays_call(picture_bytes(picture), options, alpha))

    @abstractmethod
    def health(self) -> Health:
        """Whether the server runs and is ready; asks once."""

    @abstractmethod
    def close(self) -> None:
        """Closes the connections."""

    @abstractmethod
    def _once(self, request: Q, left_ms: int | None = None) -> A:
        """One attempt, which may take so long."""

    def _ask(self, call: Call[Q, A, T]) -> T:
        patience = Patience(self._retry, call.deadline_ms)
        while True:
            try:
                return call.read(self._once(call.request, patience.left_ms()))
            except TryAgain as refusal:
                wait_s = patience.wait_s(refusal)
                if wait_s is None:
                    raise
            time.sleep(wait_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Client(Blocking[_calls.Request, httpx.Response]):
    """Parses faces with a running server.

    >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     result = client.parse("photo.jpg")
    ...     hair = result.faces[0].part("hair")

    One client may be used by many threads; it keeps connections open until it is closed. Its methods raise what
    :mod:`fpan.client.errors` draws; those that take a picture raise OSError, too, when its file cannot be read.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        client_id: str | None = None,
        retry: Retry | None = None,
        timeout_s: float = 60.0,
        headers: dict[str, str] | None = None,
        verify: Verify = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            url: address of the server; None takes ``FPAN_URL`` from the environment, else http://127.0.0.1:8000.
            api_key: opens a server that asks for one; None takes ``FPAN_API_KEY`` from the environment.
            client_id: who asks, in words of the caller's own; while a version is tried out, the same client always gets
                the same.
            retry: how often to try again on 429 and 503.
            timeout_s: how long to wait for an answer when the call names no ``deadline_ms``, in seconds.
            headers: sent with every request.
            verify: whose certificates are believed: True (or those of the file that ``FPAN_CA`` names), the PEM file of
                an authority, or an SSLContext that may have the caller's own certificate too. Without one the server is
                shown that of ``FPAN_CLIENT_CERTIFICATE`` and ``FPAN_CLIENT_KEY``, if it asks.
            transport: of httpx; None goes over the network, by the proxies that the environment names.
        """
        super().__init__(_calls, _calls.base_url(url), retry)
        self.jobs = Jobs(self)
        """Pictures that are handed in together and fetched later."""
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=self.url,
            headers=_calls.headers(headers, client_id, api_key),
            verify=verifying(verify),
            transport=transport,
        )

    def parse_many(
        self,
        pictures: Iterable[Picture],
        *,
        output: Sequence[Output] = (),
        drawings: Sequence[Drawing] = (),
        shapes: Sequence[Shape] = (),
        **options: Unpack[Options],
    ) -> list[Result | ApiError]:
        """Parses the faces of several pictures in one call; a picture that fails has its error in its place.

        Args:
            pictures: what to parse.
            output: as for :meth:`parse`.
            drawings: former name of ``output``, which warns.
            shapes: likewise.
            options: for all pictures; ``deadline_ms`` is for each.
        """
        wanted = outputs(output, drawings=drawings, shapes=shapes)
        data = [picture_bytes(picture) for picture in pictures]
        call = _calls.several_call("/v1/parse/batch", data, options, wanted)
        return self._ask(Call(call, _answers.read_results))

    def labels(self, model: str | None = None) -> Taxonomy:
        """The classes: ids, names, colours, left-right partners, groups, other orders."""
        return self._ask(Call(_calls.get("/v1/labels", model=model), _answers.read_taxonomy))

    def models(self) -> Any:
        """The models that are served, as the server's JSON."""
        return self._ask(Call(_calls.get("/v1/models"), _answers.read_json))

    def drift(self) -> Any:
        """How the newest faces of each version differ from the reference in its card, as the server's JSON."""
        return self._ask(Call(_calls.get("/v1/drift"), _answers.read_json))

    def health(self) -> Health:
        """Whether the server runs and is ready; asks once."""
        live, ready = (self._once(_calls.get(f"/v1/health/{which}")) for which in ("live", "ready"))
        return _answers.read_health(live, ready)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _once(self, request: _calls.Request, left_ms: int | None = None) -> httpx.Response:
        try:
            return self._http.request(**request.arguments(left_ms, self._timeout_s))
        except httpx.HTTPError as error:
            raise _answers.unreachable(self.url, error) from error
