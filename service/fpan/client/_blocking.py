"""The blocking clients: the common base class, and the HTTP client."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Generic, Literal, Self, Unpack

import httpx
from numpy.typing import NDArray

from fpan.client import _answers, _calls, _job_calls
from fpan.client._access import Verify, verifying
from fpan.client._decoding import Picture, picture_bytes
from fpan.client._options import Drawing, Options, Output, Shape, outputs
from fpan.client._patience import Patience, Retry
from fpan.client._wire import A, Call, Q, T, Wire
from fpan.client.errors import ApiError, ServerUnreachable, TryAgain
from fpan.client.types import Health, Job, Result
from fpan.contract.taxonomy import Taxonomy


class Jobs:
    """The jobs of a server: sets of pictures that are parsed in the background, when no other requests wait.

    The methods raise the errors of :mod:`fpan.client.errors`; :class:`ApiError` with status 404 for an unknown job.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client

    def submit(
        self,
        pictures: Iterable[Picture],
        *,
        output: Sequence[Output] = (),
        drawings: Sequence[Drawing] = (),
        shapes: Sequence[Shape] = (),
        webhook: str | None = None,
        key: str | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Submits pictures as a job.

        Args:
            pictures: the pictures to parse.
            output: as for :meth:`Client.parse`.
            drawings: deprecated name of ``output``; emits a DeprecationWarning.
            shapes: deprecated name of ``output``; emits a DeprecationWarning.
            webhook: URL that the server calls when the job ends, if the server allows webhooks.
            key: idempotency key: the same request with the same key returns the same job; None generates a new key.
            options: apply to all pictures; ``deadline_ms`` is the time for each picture.
        """
        wanted = outputs(output, drawings=drawings, shapes=shapes)
        data = [picture_bytes(picture) for picture in pictures]
        call = _job_calls.submit_call(data, options, wanted, webhook, key)
        return self._client._ask(Call(call, _job_calls.read_job))

    def get(self, job: Job | str) -> Job:
        """The current state of a job."""
        return self._client._ask(Call(_job_calls.job_call(job), _job_calls.read_job))

    def events(self, job: Job | str) -> Iterator[Job]:
        """Yields the job now and after each change, until it has ended.

        Reconnects when the connection breaks or the server is unreachable or busy. Once the server has reported the
        job, reconnecting goes on for about five minutes; before that, as often as for any other call.
        """
        line = _job_calls.Line(self._client._retry)
        while True:
            cut: TryAgain | ServerUnreachable | None = None
            try:
                for seen in self._events(job):
                    line.heard()
                    yield seen
                    if seen.ended:
                        return
            except (TryAgain, ServerUnreachable) as error:
                cut = error
            time.sleep(line.pause_s(cut))

    def _events(self, job: Job | str) -> Iterator[Job]:
        call = _job_calls.job_call(job, "/events")
        try:
            with self._client._http.stream(
                "GET", call.path, headers={"accept": "text/event-stream"}, timeout=_job_calls.EVENTS_TIMEOUT_S
            ) as response:
                if response.status_code != HTTPStatus.OK:
                    response.read()
                    yield _job_calls.read_job(response)  # raises the error that the response describes
                for line in response.iter_lines():
                    if (seen := _job_calls.read_event(line, call.path)) is not None:
                        yield seen
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout):
            return  # the connection broke, e.g. because the server restarted
        except httpx.HTTPError as error:
            raise _answers.unreachable(self._client.url, error) from error

    def wait(self, job: Job | str) -> Job:
        """Waits until the job has ended (succeeded, failed or cancelled) and returns it."""
        for seen in self.events(job):
            if seen.ended:
                return seen
        raise AssertionError("events end with the job")

    def result(self, job: Job | str) -> list[Result | ApiError]:
        """The result of each picture, or its error."""
        return self._client._ask(Call(_job_calls.job_call(job, "/result"), _answers.read_results))

    def cancel(self, job: Job | str) -> Job | None:
        """Cancels a job that waits or runs. Deletes a job that has ended, with its result, and returns None."""
        return self._client._ask(Call(_job_calls.job_call(job, method="DELETE"), _job_calls.read_end))


class Blocking(ABC, Generic[Q, A]):
    """Methods of every blocking client, whatever its protocol."""

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
            picture: the picture to parse.
            output: what the result has besides masks: pictures, outlines, soft masks, arrays; e.g. ``["polygons"]``.
            pictures: deprecated name of ``output``; emits a DeprecationWarning.
            shapes: deprecated name of ``output``; emits a DeprecationWarning.
            options: see :class:`Options`.
        """
        wanted = outputs(output, pictures=pictures, shapes=shapes)
        return self._ask(self._wire.parse_call(picture_bytes(picture), options, wanted))

    def draw(
        self, picture: Picture, drawing: Drawing | Literal["alpha"] = "overlay", **options: Unpack[Options]
    ) -> bytes:
        """A PNG that the server draws from the parsed picture. ``alpha`` is one soft mask of all kept classes; only
        HTTP has it.
        """
        return self._ask(self._wire.draw_call(picture_bytes(picture), options, drawing))

    def arrays(self, picture: Picture, *, alpha: bool = False, **options: Unpack[Options]) -> dict[str, NDArray[Any]]:
        """The result as arrays. Soft masks are among them if ``alpha`` is True or ``options`` name classes.

        The arrays are ``labels``, ``confidence``, ``class_names``, ``taxonomy``, ``box``, ``score`` and ``landmarks``;
        with soft masks also ``alpha`` and ``alpha_ids``; with ``frame="crop"`` also ``matrix``.
        """
        return self._ask(self._wire.arrays_call(picture_bytes(picture), options, alpha))

    @abstractmethod
    def health(self) -> Health:
        """Whether the server runs and is ready. Does not retry."""

    @abstractmethod
    def close(self) -> None:
        """Closes the connections."""

    @abstractmethod
    def _once(self, request: Q, left_ms: int | None = None) -> A:
        """Sends the request once. ``left_ms``: time for the answer in milliseconds; None: the client's timeout."""

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

    One client may be used by many threads; it keeps connections open until it is closed. Its methods raise
    the errors of :mod:`fpan.client.errors`; those that take a picture also raise OSError if its file cannot be read.
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
        """Connects on the first call.

        Args:
            url: address of the server; None takes ``FPAN_URL`` from the environment, else http://127.0.0.1:8000.
            api_key: for a server that requires one; None takes ``FPAN_API_KEY`` from the environment.
            client_id: an identifier that the caller chooses; while a model version is on trial for a share of the
                callers, one client always gets the same version.
            retry: how often to try again on 429 and 503.
            timeout_s: how long to wait for an answer when the call names no ``deadline_ms``, in seconds.
            headers: sent with every request.
            verify: which server certificates are trusted: True (the default authorities, or those in the file that
                ``FPAN_CA`` names), the PEM file of an authority, or an SSLContext, which may also hold a client
                certificate. Without an SSLContext, the client certificate is that of ``FPAN_CLIENT_CERTIFICATE`` and
                ``FPAN_CLIENT_KEY``, if the server requires one.
            transport: an httpx transport; None uses the network, with the proxies that the environment names.
        """
        super().__init__(_calls, _calls.base_url(url), retry)
        self.jobs = Jobs(self)
        """Jobs: pictures that are submitted together and whose results are fetched later."""
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
        """Parses the faces of several pictures in one call. For a picture that fails, the list has its error.

        Args:
            pictures: the pictures to parse.
            output: as for :meth:`parse`.
            drawings: deprecated name of ``output``; emits a DeprecationWarning.
            shapes: deprecated name of ``output``; emits a DeprecationWarning.
            options: apply to all pictures; ``deadline_ms`` is the time for each picture.
        """
        wanted = outputs(output, drawings=drawings, shapes=shapes)
        data = [picture_bytes(picture) for picture in pictures]
        call = _calls.several_call("/v1/parse/batch", data, options, wanted)
        return self._ask(Call(call, _answers.read_results))

    def labels(self, model: str | None = None) -> Taxonomy:
        """The classes of the label maps: ids, names, colours, left-right partners, groups and alternative id orders."""
        return self._ask(Call(_calls.get("/v1/labels", model=model), _answers.read_taxonomy))

    def models(self) -> Any:
        """The models that the server serves, as decoded JSON."""
        return self._ask(Call(_calls.get("/v1/models"), _answers.read_json))

    def drift(self) -> Any:
        """How the most recent faces of each version differ from the reference in its card, as decoded JSON."""
        return self._ask(Call(_calls.get("/v1/drift"), _answers.read_json))

    def health(self) -> Health:
        """Whether the server runs and is ready. Does not retry."""
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
