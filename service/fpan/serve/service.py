"""The use case of every transport: takes a picture, returns the encoded answer (cache, parse, encode, count)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol

from fpan.serve.api.batch import Upload, check_size, read_options
from fpan.serve.api.context import RequestContext
from fpan.serve.api.deadline import Deadline
from fpan.serve.api.options import ParseOptions
from fpan.serve.api.parse import JSON, EncodedAnswer, Make, ParseRequest, ResponseEncoder
from fpan.serve.pipeline.encode.answer import AnswerEncoder
from fpan.serve.pipeline.encode.json_answer import json_answer, with_request
from fpan.serve.pipeline.parser import Parsed
from fpan.serve.pipeline.settings import PipelineSettings
from fpan.serve.telemetry.metrics import Metrics
from fpan.serve.telemetry.stopwatch import Stopwatch

_DIGEST_BYTES = 16
_JSON = ResponseEncoder(JSON, json_answer)


class PictureParser(Protocol):
    """Parses pictures; see :class:`~fpan.serve.pipeline.parser.FaceParser`."""

    async def parse(self, data: bytes, options: ParseOptions, context: RequestContext) -> Parsed:
        """Parses every face of a picture."""
        ...


class Cache(Protocol):
    """Stores answers; see :class:`~fpan.serve.cache.AnswerCache`."""

    async def answer(self, request: ParseRequest, context: RequestContext, make: Make) -> EncodedAnswer:
        """Returns the cached answer, or the one that ``make`` computes."""
        ...


class ParseService:
    """Answers parse requests of all transports."""

    def __init__(
        self,
        parser: PictureParser,
        pool: Executor,
        settings: PipelineSettings,
        metrics: Metrics,
        cache: Cache | None = None,
    ) -> None:
        """Makes the service.

        Args:
            parser: finds and parses faces.
            pool: threads that encode answers.
            settings: default deadline, encoding, and the largest number of background pictures at the same time.
            metrics: count and time the computed answers.
            cache: stores answers; None computes each answer.
        """
        self._parser = parser
        self._pool = pool
        self._settings = settings
        self._metrics = metrics
        self._cache = cache
        self._background = asyncio.Semaphore(settings.background_concurrency)

    def deadline(self, options: ParseOptions) -> Deadline:
        """Returns the deadline of a request that begins now."""
        return Deadline.after(options.deadline_ms or self._settings.deadline_ms)

    async def answer(self, request: ParseRequest, context: RequestContext) -> EncodedAnswer:
        """Answers a request before its deadline. If it is cancelled, the work is cancelled.

        Raises:
            GatewayError: the picture or an option is not valid; or no place became free before the deadline
                (:class:`Unavailable`); or the work took too long (:class:`DeadlineExceeded`).
        """

        async def make(context: RequestContext, begins: Callable[[], None] = lambda: None) -> EncodedAnswer:
            async with self._place(context):
                return await self._parsed(request, context, begins)

        async with context.deadline.limit():
            return await (self._cache.answer(request, context, make) if self._cache else make(context))

    async def _parsed(
        self, request: ParseRequest, context: RequestContext, begins: Callable[[], None]
    ) -> EncodedAnswer:
        begins()  # nothing is awaited between this and the parser, which takes the routing table in use
        parsed = await self._parser.parse(request.data, request.options, context)
        watch = Stopwatch()
        with parsed.held:
            result, segmenter = parsed.result, parsed.segmenter
            answer = AnswerEncoder(
                result, parsed.photo, segmenter.card, request.options, self._settings, segmenter.alias
            )

            def encoded() -> tuple[bytes, bytes]:
                body = request.encoder.encode(answer)
                return body, hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()

            with watch("encode"):
                body, digest = await asyncio.get_running_loop().run_in_executor(self._pool, encoded)
        answered = EncodedAnswer(body, len(result.faces), {**result.timing_ms, **watch.milliseconds}, digest)
        for stage, milliseconds in answered.timing_ms.items():
            self._metrics.stage_seconds.labels(stage).observe(milliseconds / 1000)
        self._metrics.faces.observe(answered.faces)
        return answered

    @asynccontextmanager
    async def _place(self, context: RequestContext) -> AsyncIterator[None]:
        """A block in which a picture is parsed. The number of background pictures in it is limited, so that threads and
        memory stay free for other requests; the batchers order what waits for the networks.
        """
        if not context.background:
            yield
            return
        with context.deadline.queueing():
            await self._background.acquire()
        try:
            yield
        finally:
            self._background.release()


class ServiceParse:
    """Parses pictures of a batch or a job; a :class:`~fpan.serve.api.batch.Parse`."""

    def __init__(self, parse_service: ParseService, max_bytes: int, context: RequestContext) -> None:
        """Parses pictures of one request.

        Args:
            parse_service: parses each picture.
            max_bytes: largest size of a picture's file, in bytes.
            context: context of the request. Each picture gets a deadline of its own when its turn comes.
        """
        self._parse_service = parse_service
        self._max_bytes = max_bytes
        self._context = context

    async def __call__(self, picture: Upload, identity: str) -> bytes:
        """See :class:`~fpan.serve.api.batch.Parse`."""
        check_size(picture, self._max_bytes)
        options = read_options(picture.options)
        context = replace(self._context, request_id=identity, deadline=self._parse_service.deadline(options))
        answered = await self._parse_service.answer(ParseRequest(picture.data, options, _JSON), context)
        return with_request(answered.body, identity, answered.timing_ms)
