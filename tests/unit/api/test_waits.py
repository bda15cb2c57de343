"""Whose time runs out in a queue is told to come again; whose answer takes too long, that it does."""

import asyncio
import time

import numpy as np
import pytest
from fpan.serve.api.errors import DeadlineExceeded, Unavailable
from fpan.serve.api.options import ParseOptions
from fpan.serve.inference.batcher import Batcher, BatchLimits
from fpan.serve.inference.scheduling import Turn
from fpan.serve.service import ParseRequest, ParseService, ResponseEncoder
from fpan.serve.settings import Settings
from fpan.serve.telemetry.metrics import Metrics

from tests.support.batching import CARD, Gated, ask, settle
from tests.support.known_face import file_of, known_gateway, photo


class Parser:
    """Asks a network once."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    async def parse(self, data, options, caller=None):
        await self._batcher.infer([{"images": np.zeros(2, np.uint8)}], ["same"])


def asking(turn: Turn = Turn()) -> ParseRequest:  # noqa: B008 (frozen)
    return ParseRequest(
        b"picture", ParseOptions(deadline_ms=60), ResponseEncoder("none", lambda answer: b""), turn=turn
    )


@pytest.fixture
async def busy():
    """A parse_service whose network computes for somebody else, and does not end."""
    batcher = Batcher(Gated(), CARD, BatchLimits(wait_s=0.0))
    task = ask(batcher, 1)
    await settle()
    yield ParseService(Parser(batcher), None, Settings(background_concurrency=1), Metrics())
    await batcher.close()
    await asyncio.gather(task, return_exceptions=True)


async def test_who_waits_before_a_network_until_the_deadline_may_come_again(busy):
    with pytest.raises(Unavailable, match="60 ms") as told:
        await busy.answer(asking())
    assert told.value.retry_after_s


async def test_so_may_background_work_that_waits_for_other_such_work(busy):
    first = asyncio.create_task(busy.answer(asking(Turn(background=True))))
    await settle()
    for waiting in (first, busy.answer(asking(Turn(background=True)))):
        with pytest.raises(Unavailable):
            await waiting


async def test_for_whom_a_network_computes_until_the_deadline_the_answer_takes_too_long():
    batcher = Batcher(Gated(), CARD, BatchLimits())
    parse_service = ParseService(Parser(batcher), None, Settings(), Metrics())
    with pytest.raises(DeadlineExceeded):
        await parse_service.answer(asking())
    await batcher.close()


async def test_who_waits_for_memory_until_the_deadline_may_come_again():
    with known_gateway() as gateway:
        began = time.monotonic()
        with await gateway.parser._budget.take(10**12):  # all of it
            options = ParseOptions(faces="full", deadline_ms=60)
            with pytest.raises(Unavailable):
                await gateway.parse_service.answer(
                    ParseRequest(file_of(photo()), options, ResponseEncoder("none", lambda answer: b""))
                )
        assert time.monotonic() - began < 5
