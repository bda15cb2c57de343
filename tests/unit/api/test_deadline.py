"""One deadline for a request: whose time runs out in a queue may come again, whose answer takes too long is told so."""

import asyncio
import time

import numpy as np
import pytest
from fpan.serve.api.context import RequestContext
from fpan.serve.api.deadline import Deadline
from fpan.serve.api.errors import DeadlineExceeded, Unavailable
from fpan.serve.api.options import ParseOptions
from fpan.serve.api.parse import ParseRequest, ResponseEncoder
from fpan.serve.config import Settings
from fpan.serve.inference.batcher import Batcher, BatchLimits
from fpan.serve.service import ParseService
from fpan.serve.telemetry.metrics import Metrics

from tests.support.batching import CARD, Gated, ask, settle
from tests.support.known_face import file_of, known_gateway, photo

REQUEST = ParseRequest(b"picture", ParseOptions(), ResponseEncoder("none", lambda answer: b""))


class Parser:
    """Asks a network once."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    async def parse(self, data, options, context):
        await self._batcher.infer([{"images": np.zeros(2, np.uint8)}], ["same"], context)


def context(background: bool = False) -> RequestContext:
    return RequestContext(deadline=Deadline.after(60), background=background)


@pytest.fixture
async def busy():
    """A service whose network computes for somebody else, and does not end."""
    batcher = Batcher(Gated(), CARD, BatchLimits(wait_s=0.0))
    task = ask(batcher, 1)
    await settle()
    yield ParseService(Parser(batcher), None, Settings(background_concurrency=1), Metrics())
    await batcher.close()
    await asyncio.gather(task, return_exceptions=True)


async def test_who_waits_before_a_network_until_the_deadline_may_come_again(busy):
    with pytest.raises(Unavailable, match="60 ms") as told:
        await busy.answer(REQUEST, context())
    assert told.value.retry_after_s


async def test_so_may_background_work_that_waits_for_other_such_work(busy):
    first = asyncio.create_task(busy.answer(REQUEST, context(background=True)))
    await settle()
    for waiting in (first, busy.answer(REQUEST, context(background=True))):
        with pytest.raises(Unavailable):
            await waiting


async def test_for_whom_a_network_computes_until_the_deadline_the_answer_takes_too_long():
    batcher = Batcher(Gated(), CARD, BatchLimits())
    parse_service = ParseService(Parser(batcher), None, Settings(), Metrics())
    with pytest.raises(DeadlineExceeded):
        await parse_service.answer(REQUEST, context())
    await batcher.close()


async def test_who_waits_for_memory_until_the_deadline_may_come_again():
    with known_gateway() as gateway:
        began = time.monotonic()
        with await gateway.parser._budget.take(10**12):  # all of it
            picture = ParseRequest(file_of(photo()), ParseOptions(faces="full"), REQUEST.encoder)
            with pytest.raises(Unavailable):
                await gateway.parse_service.answer(picture, context())
        assert time.monotonic() - began < 60


async def test_time_spent_before_the_parser_is_not_given_anew():
    """A cache that is slow, and other background work, take of the one deadline."""
    left: list[float] = []

    class Notes:
        async def parse(self, data, options, context):
            left.append(context.deadline.left_s)
            raise asyncio.CancelledError

    class Slow:
        async def answer(self, request, context, make):
            await asyncio.sleep(0.3)
            return await make(context)

    service = ParseService(Notes(), None, Settings(), Metrics(), Slow())
    asked = RequestContext(deadline=Deadline.after(30_000), background=True)
    with pytest.raises(asyncio.CancelledError):
        await service.answer(REQUEST, asked)
    assert left[0] <= 29.7


def test_a_thread_learns_that_nobody_waits_any_more():
    deadline = Deadline.after(30_000)
    deadline.check()
    deadline.abandon()
    with pytest.raises(DeadlineExceeded, match="within 30000 ms"):
        deadline.check()
    with pytest.raises(DeadlineExceeded, match="within 5 ms"):
        Deadline(0.0, 5).check()
    Deadline.never().check()


async def test_a_stage_that_reads_the_deadline_says_in_its_own_words_what_was_late():
    deadline = Deadline.after(30_000)
    with pytest.raises(DeadlineExceeded, match="the model took longer"):
        async with deadline.limit():
            raise DeadlineExceeded("the model took longer than 2 s")


async def test_an_expired_call_does_not_wait_for_ever_though_nobody_limits_it():
    batcher = Batcher(Gated(), CARD, BatchLimits(wait_s=0.0))
    with pytest.raises(Unavailable):
        await asyncio.wait_for(
            batcher.infer([{"images": np.zeros(2, np.uint8)}], ["same"], RequestContext(deadline=Deadline.after(-1))),
            10,
        )
    await batcher.close()
