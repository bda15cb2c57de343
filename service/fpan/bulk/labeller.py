"""Pictures in, answers of the gateways out: several at once, patiently, in order."""

import hashlib
import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from threading import Event, Lock
from typing import Any

import httpx

from fpan.bulk.errors import GatewayGone, Interrupted
from fpan.bulk.place import Place
from fpan.bulk.plan import Picture
from fpan.bulk.spec import LabelSpec, Model
from fpan.client import (
    ApiError,
    Client,
    FpanError,
    Output,
    Result,
    Retry,
    ServerUnreachable,
    TryAgain,
    UnexpectedAnswer,
)
from fpan.client.errors import OF_THE_CALLER
from fpan.contract.taxonomy import Taxonomy
from fpan.serve.api.context import BACKGROUND, PRIORITY

TRIES = 3
"""How often a picture is tried whose answer is neither a result nor a refusal of that very picture."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0
_AHEAD = 4
"""Pictures, for each that is under way, that wait in order behind one that takes long."""
_ITS_OWN = frozenset(
    {HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY}
)
"""Statuses that refuse the picture, not the caller."""
_OF_US = OF_THE_CALLER | {HTTPStatus.NOT_FOUND}
"""Statuses that refuse the caller or the model, so for all pictures: a retry does not help."""


@dataclass(frozen=True)
class Problem:
    """Why a picture has no labels."""

    slug: str
    """Stable: that of the gateway's problem, or ``file-not-found``, ``file-unreadable``, ``unreachable``, ..."""
    detail: str
    """A sentence for people."""
    its_own: bool
    """Whether it is surely the picture that is wrong, and not what surrounds it."""


@dataclass(frozen=True)
class Labelled:
    """What became of a picture."""

    picture: Picture
    sha256: str | None
    """Of its file; None where that could not be read."""
    result: Result | None
    problem: Problem | None
    data: bytes | None
    """Its file, where the order wants it kept."""


@dataclass(frozen=True)
class Served:
    """The model version that answers, and its taxonomy."""

    model: Model
    taxonomy: Taxonomy


@dataclass(frozen=True)
class Counts:
    """What has been done so far."""

    pictures: int = 0
    faces: int = 0
    failed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.pictures + other.pictures, self.faces + other.faces, self.failed + other.failed)


@dataclass(frozen=True)
class Effort:
    """How hard it is tried; it changes nothing of what is written."""

    jobs: int
    """Pictures under way at once."""
    patience_s: float
    """How long gateways that are away or full are waited for."""
    deadline_ms: int
    """Time of a picture, in milliseconds."""


class Labeller:
    """Asks one or several gateways in turn. Used by several shards at once, whose pictures share its ``jobs``."""

    def __init__(self, urls: Sequence[str], effort: Effort, *, direct: bool = False) -> None:
        """Connects when first used.

        Args:
            urls: addresses of the gateways.
            effort: how many at once, and how patiently.
            direct: by no proxy, whatever the environment names.
        """
        # The patience of one client would not leave a gateway that is full for another.
        once = Retry(attempts=1)
        self._clients = [
            Client(url, retry=once, headers={PRIORITY: BACKGROUND}, transport=httpx.HTTPTransport() if direct else None)
            for url in urls
        ]
        self._turn, self._lock = itertools.count(), Lock()
        self._effort = effort
        self._pool = ThreadPoolExecutor(effort.jobs, thread_name_prefix="fpan-batch")
        self._stopped = Event()
        self._counts = Counts()

    @property
    def counts(self) -> Counts:
        """What it has done since it was made."""
        return self._counts

    def stop(self) -> None:
        """Ends all waiting: :meth:`label` raises Interrupted."""
        self._stopped.set()

    def close(self) -> None:
        """Waits for what is under way and closes the connections."""
        self.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for client in self._clients:
            client.close()

    def served(self, model: str | None) -> Served:
        """The version that every gateway answers ``model`` with.

        Args:
            model: ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``; None: the only one.

        Raises:
            GatewayGone: a gateway does not answer, has no such model, or another version than the others.
        """
        found: list[Served] = []
        for client in self._clients:
            try:
                chosen = _choose(client.models(), model, client.url)
                found.append(Served(chosen, client.labels(chosen.pinned)))
            except FpanError as error:
                raise GatewayGone(str(error)) from error
        return agreed(found, [client.url for client in self._clients])

    def label(self, source: Place, pictures: Sequence[Picture], order: LabelSpec) -> Iterator[Labelled]:
        """Labels pictures, in their order.

        Raises:
            GatewayGone: no gateway answers, or not as it must.
            Interrupted: by :meth:`stop`.
        """
        waiting: deque[Future[Labelled]] = deque()
        rest = iter(pictures)
        try:
            while True:
                for picture in itertools.islice(rest, self._effort.jobs * _AHEAD - len(waiting)):
                    waiting.append(self._submit(source, picture, order))
                if not waiting:
                    return
                done = waiting.popleft().result()
                faces = 0 if done.result is None else len(done.result.faces)
                with self._lock:
                    self._counts += Counts(1, faces, done.problem is not None)
                yield done
        finally:
            for future in waiting:
                future.cancel()

    def _submit(self, source: Place, picture: Picture, order: LabelSpec) -> Future[Labelled]:
        if self._stopped.is_set():
            raise Interrupted("stopped")
        try:
            return self._pool.submit(self._one, source, picture, order)
        except RuntimeError:  # the pool was shut down meanwhile
            raise Interrupted("stopped") from None

    def _one(self, source: Place, picture: Picture, order: LabelSpec) -> Labelled:
        if self._stopped.is_set():
            raise Interrupted("stopped")
        data = self._read(source, picture)
        if isinstance(data, Problem):
            return Labelled(picture, None, None, data, None)
        digest = hashlib.sha256(data).hexdigest()
        kept = data if order.with_pictures else None
        answer = self._parse(data, order)
        if isinstance(answer, Problem):
            return Labelled(picture, digest, None, answer, kept)
        told = Model(name=answer.model.name, version=answer.model.version, sha256=answer.model.sha256)
        if told != order.model:
            raise GatewayGone(
                f"a gateway answers with {told.pinned} (sha256 {told.sha256[:8]}) where {order.model.pinned} "
                f"(sha256 {order.model.sha256[:8]}) was asked for"
            )
        return Labelled(picture, digest, answer, None, kept)

    def _read(self, source: Place, picture: Picture) -> bytes | Problem:
        for wait_s in self._waits():
            try:
                return source.read(picture.path)
            except FileNotFoundError:
                return Problem("file-not-found", "the file is not there any more", its_own=False)
            except PermissionError as error:
                return Problem("file-unreadable", error.strerror or str(error), its_own=False)
            except OSError as error:
                last = Problem("file-unreadable", error.strerror or str(error), its_own=False)
            self._wait(wait_s)
        return last

    def _parse(self, data: bytes, order: LabelSpec) -> Result | Problem:
        output: list[Output] = ["png", "confidence"] if order.confidence else ["png"]
        options = order.options
        options["deadline_ms"] = self._effort.deadline_ms
        until, tries = time.monotonic() + self._effort.patience_s, 0
        for backoff_s in _backoff():
            asked_s: list[float] = []
            away: TryAgain | ServerUnreachable | None = None
            for client in self._in_turn():
                try:
                    return client.parse(data, output=output, **options)
                except (TryAgain, ServerUnreachable) as error:
                    away = error
                    asked_s.append(getattr(error, "retry_after_s", None) or 0.0)
                    continue
                except ApiError as error:
                    if error.status in _ITS_OWN:
                        return Problem(error.slug, error.detail, its_own=True)
                    if error.status in _OF_US:
                        raise GatewayGone(f"{client.url} refuses: {error.detail}") from error
                    found = Problem(error.slug, error.detail, its_own=False)
                    tries = TRIES if error.status == HTTPStatus.BAD_REQUEST else tries + 1
                except UnexpectedAnswer as error:
                    found, tries = Problem("unexpected-answer", str(error), its_own=False), tries + 1
                if tries >= TRIES:
                    return found
            # All gateways have been tried: each is unreachable, busy or failing.
            wait_s = max(backoff_s, min(asked_s, default=0.0))
            if away is not None and time.monotonic() + wait_s > until:
                return self._out_of_patience(away)
            self._wait(wait_s)
        raise AssertionError  # waits have no end

    def _out_of_patience(self, error: TryAgain | ServerUnreachable) -> Problem:
        """What to make of a picture that got no answer: its own fault only where the gateways live.

        Raises:
            GatewayGone: they do not, or they are full.
        """
        if isinstance(error, ServerUnreachable) and any(_lives(client) for client in self._clients):
            return Problem("unreachable", str(error), its_own=False)
        raise GatewayGone(f"no answer within {self._effort.patience_s:g} s: {error}") from error

    def _in_turn(self) -> list[Client]:
        """All, each picture beginning with the next of them."""
        with self._lock:
            first = next(self._turn) % len(self._clients)
        return self._clients[first:] + self._clients[:first]

    def _waits(self) -> Iterator[float]:
        return itertools.islice(_backoff(), TRIES)

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise Interrupted("stopped")


def agreed(found: Sequence[Served], who: Sequence[str]) -> Served:
    """What all say.

    Raises:
        GatewayGone: they differ.
    """
    for served, name in zip(found, who, strict=True):
        if served != found[0]:
            ours, theirs = (f"{s.model.pinned} (sha256 {s.model.sha256[:8]})" for s in (found[0], served))
            raise GatewayGone(f"{who[0]} answers with {ours}, {name} with {theirs}: labels must be of one version")
    return found[0]


def _choose(told: Any, wanted: str | None, url: str) -> Model:
    try:
        segmenters = [each for each in told["models"] if each["task"] == "segmentation"]
        named = {name: each for each in segmenters for name in _names(each)}
        plain = [name for name in named if ":" not in name and "@" not in name]
        if wanted is None and len(plain) != 1:
            raise GatewayGone(f"{url} serves several models: choose one with --model: {', '.join(sorted(plain))}")
        chosen = named.get(wanted or plain[0])
        if chosen is None:
            raise GatewayGone(f"{url} has no model {wanted!r}; it has {', '.join(sorted(named))}")
        return Model(name=chosen["name"], version=chosen["version"], sha256=chosen["files"]["model.onnx"])
    except (KeyError, TypeError) as error:
        raise GatewayGone(f"{url} tells of its models in another way: {error!r}") from error


def _names(told: Any) -> Iterator[str]:
    yield f"{told['name']}:{told['version']}"
    yield from (f"{told['name']}@{alias}" for alias in told["aliases"])
    if told["default"]:
        yield told["name"]


def _lives(client: Client) -> bool:
    try:
        return client.health().live
    except FpanError:
        return False


def _backoff() -> Iterator[float]:
    wait_s = _FIRST_WAIT_S
    while True:
        yield wait_s
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
