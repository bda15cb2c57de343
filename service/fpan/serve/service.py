"""Where every transport hands in a picture and gets the encoded answer: cache, parse, encode, count."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fpan.serve.api.errors import DeadlineExceeded, Unavailable
from fpan.serve.api.options import ParseOptions
from fpan.serve.inference.scheduling import ALONE, Turn, taking
from fpan.serve.inference.waits import Wait, wait_now, waiting
from fpan.serve.pipeline.encode import EncodeRules
from fpan.serve.pipeline.encode.answer import AnswerEncoder
from fpan.serve.pipeline.parser import Parsed
from fpan.serve.settings import Settings
from fpan.serve.telemetry.metrics import Metrics
from fpan.serve.telemetry.stopwatch import Stopwatch

if TYPE_CHECKING:
    from fpan.serve.cache import AnswerCache, CacheOutcome

_DIGEST_BYTES = 16


@dataclass(frozen=True)
class ResponseEncoder:
    """How an answer becomes bytes."""

    kind: str
    """Names it; answers to the same question in the same kind are the same bytes."""
    encode: Callable[[AnswerEncoder], bytes]
    """Computes: it runs in a worker thread. What differs from one asking to the next (id, time) is not in it."""


@dataclass(frozen=True)
class ParseRequest:
    """One picture and what is asked of it."""

    data: bytes
    """The picture's file."""
    options: ParseOptions
    encoding: ResponseEncoder
    caller: str | None = None
    """See :func:`~fpan.serve.admission.caller.caller_of`; None for somebody whom no challenger answers."""
    turn: Turn = ALONE
    """In whose name its crops wait for the networks, and whether everybody else goes first."""
    account: str = ""
    """Who may be told by a kept answer that the same was asked before: see ``Caller``."""


@dataclass(frozen=True)
class EncodedAnswer:
    """An encoded answer."""

    body: bytes
    faces: int
    """How many there are in it."""
    timing_ms: dict[str, float]
    """Milliseconds by stage."""
    digest: bytes
    """Hash of the body, 16 bytes: what ``ETag`` tells."""
    cached: "CacheOutcome | None" = None
    """What the cache did; None where there is none."""


class PictureParser(Protocol):
    """What parses; see :class:`~fpan.serve.pipeline.parser.FaceParser`."""

    async def parse(self, data: bytes, options: ParseOptions, caller: str | None = None) -> Parsed:
        """Parses every face of a picture."""
        ...


class ParseService:
    """Answers for all transports."""

    def __init__(
        self,
        parser: PictureParser,
        pool: Executor,
        settings: Settings,
        metrics: Metrics,
        cache: "AnswerCache | None" = None,
    ) -> None:
        """Takes what it needs.

        Args:
            parser: finds and parses faces.
            pool: where answers are encoded.
            settings: the default deadline, and how answers are encoded.
            metrics: are told of each answer that is made.
            cache: knows answers that need not be made; None makes each.
        """
        self._parser = parser
        self._pool = pool
        self._rules = EncodeRules.of(settings)
        self._settings = settings
        self._metrics = metrics
        self._cache = cache
        self._background = asyncio.Semaphore(settings.background_concurrency)

    async def answer(self, asking: ParseRequest) -> EncodedAnswer:
        """Answers within the deadline of its options. Cancelled, it drops the work.

        Raises:
            GatewayError: what is wrong with the picture or the options, or why it could not be done now: no
                place became free in time (:class:`Unavailable`), or it took too long (:class:`DeadlineExceeded`).
        """
        wait = Wait()
        allowed_ms = asking.options.deadline_ms or self._settings.deadline_ms
        try:
            with waiting(wait):
                async with asyncio.timeout(allowed_ms / 1000):  # the parser knows it too, but not of the encoding
                    return await (self._cache.answer(asking, self._made) if self._cache else self._made(asking))
        except (TimeoutError, DeadlineExceeded) as late:
            if wait.in_vain:
                raise Unavailable(f"no place became free within {allowed_ms} ms: too many others wait too") from None
            if isinstance(late, DeadlineExceeded):
                raise
            raise DeadlineExceeded(f"the answer was not ready within {allowed_ms} ms") from None

    async def _made(self, asking: ParseRequest, begins: Callable[[], None] = lambda: None) -> EncodedAnswer:
        async with self._place(asking.turn):
            return await self._parsed(asking, begins)

    async def _parsed(self, asking: ParseRequest, begins: Callable[[], None]) -> EncodedAnswer:
        begins()  # at once before the parser, with nothing awaited between: it takes the routing_table that answers
        parsed = await self._parser.parse(asking.data, asking.options, asking.caller)
        watch = Stopwatch()
        with parsed.held:
            result, segmenter = parsed.result, parsed.segmenter
            answer = AnswerEncoder(result, parsed.photo, segmenter.card, asking.options, self._rules, segmenter.alias)

            def encoded() -> tuple[bytes, bytes]:
                body = asking.encoding.encode(answer)
                return body, hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()

            with watch("encode"):
                body, digest = await asyncio.get_running_loop().run_in_executor(self._pool, encoded)
        answered = EncodedAnswer(body, len(result.faces), {**result.timing_ms, **watch.milliseconds}, digest)
        for stage, milliseconds in answered.timing_ms.items():
            self._metrics.stage_seconds.labels(stage).observe(milliseconds / 1000)
        self._metrics.faces.observe(answered.faces)
        return answered

    @asynccontextmanager
    async def _place(self, turn: Turn) -> AsyncIterator[None]:
        """A block in which work is done in the name of ``turn``. Threads and memory are kept free of background work
        beyond what may be under way at once; what waits before the networks, their batchers see to.
        """
        with taking(turn):
            if not turn.background:
                yield
                return
            with wait_now().in_line():
                await self._background.acquire()
            try:
                yield
            finally:
                self._background.release()
