"""Identical questions at the same time are answered once, whoever of the askers leaves."""

import asyncio
import gc

import pytest
from fpan.serve.api.deadline import Deadline
from fpan.serve.api.errors import DeadlineExceeded, Impossible, Unavailable
from fpan.serve.cache.single_flight import SingleFlight

from tests.support.batching import settle


class Work:
    """Counts how often it is begun and ended, and waits to be let go on."""

    def __init__(self, *fails: Exception) -> None:
        self.fails = list(fails)
        self.begun = self.cancelled = 0
        self.kept: list[str] = []
        self.go, self.go_on_keeping = asyncio.Event(), asyncio.Event()
        self.go_on_keeping.set()

    async def make(self, deadline: Deadline) -> str:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails:
            raise self.fails.pop(0)
        return "answer"

    async def keep(self, answer: str) -> None:
        await self.go_on_keeping.wait()
        self.kept.append(answer)


@pytest.fixture
async def flights():
    made: SingleFlight[str, str] = SingleFlight()
    yield made
    await made.close()
    assert not made._flights


async def asked(flights: SingleFlight[str, str], work: Work, count: int, name: str = "a") -> list[asyncio.Task]:
    """That many who wait."""
    tasks = [
        asyncio.create_task(flights.join(name, work.make, work.keep, Deadline.after(10_000))) for _ in range(count)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_all_who_ask_get_the_one_answer_and_one_of_them_made_it(flights):
    work, other = Work(), Work()
    tasks, apart = await asked(flights, work, 5), await asked(flights, other, 1, "b")
    work.go.set()
    other.go.set()
    assert await asyncio.gather(*tasks) == [("answer", True), *[("answer", False)] * 4]
    assert await asyncio.gather(*apart) == [("answer", True)]
    assert (work.begun, other.begun) == (1, 1)
    await asyncio.sleep(0)
    assert work.kept == ["answer"]


async def test_whoever_began_may_leave(flights):
    work = Work()
    first, *others = await asked(flights, work, 3)
    first.cancel()
    await asyncio.wait([first])
    assert (first.cancelled(), work.cancelled) == (True, 0)
    work.go.set()
    assert await asyncio.gather(*others) == [("answer", False)] * 2
    assert work.begun == 1


async def test_the_last_to_leave_ends_the_work_before_it_is_gone(flights):
    work = Work()
    first, last = await asked(flights, work, 2)
    last.cancel()
    await asyncio.wait([last])
    assert work.cancelled == 0
    first.cancel()
    await asyncio.wait([first])
    assert work.cancelled == 1
    [again] = await asked(flights, work, 1)
    work.go.set()
    assert await again == ("answer", True)


async def test_an_error_is_told_to_all(flights):
    work = Work(Impossible("so it is"))
    tasks = await asked(flights, work, 3)
    work.go.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in told] == [Impossible] * 3
    assert (work.begun, work.kept) == (1, [])


async def test_the_work_has_the_latest_deadline_of_those_who_wait(flights):
    work, seen = Work(), []

    async def make(deadline: Deadline) -> str:
        seen.append(deadline)
        return await work.make(deadline)

    soon, later, between = (Deadline.after(ms) for ms in (1000, 30_000, 5000))
    tasks = [asyncio.create_task(flights.join("a", make, work.keep, each)) for each in (soon, later, between)]
    await settle()
    [shared] = seen
    assert (shared.expires_at, shared.allowed_ms) == (later.expires_at, later.allowed_ms)
    assert soon.expires_at < between.expires_at < later.expires_at  # each still has its own
    work.go.set()
    await asyncio.gather(*tasks)
    assert work.begun == 1


async def test_all_who_wait_for_the_same_work_are_told_alike_why_it_took_too_long(flights):
    work = Work()

    async def queued(deadline: Deadline) -> str:
        with deadline.queueing():
            return await work.make(deadline)

    async def asking(milliseconds: int) -> object:
        deadline = Deadline.after(milliseconds)
        async with deadline.limit():
            return await flights.join("a", queued, work.keep, deadline)

    told = await asyncio.gather(*(asking(ms) for ms in (20, 20, 40)), return_exceptions=True)
    assert [type(error) for error in told] == [Unavailable] * 3
    assert all(error.retry_after_s for error in told)
    assert [str(error).split(" ms")[0] for error in told] == ["no place became free within 20"] * 2 + [
        "no place became free within 40"
    ]
    assert (work.begun, work.cancelled) == (1, 1)


async def test_nobody_waits_until_it_is_kept_and_who_comes_meanwhile_shares(flights):
    work = Work()
    work.go.set()
    work.go_on_keeping.clear()
    assert await flights.join("a", work.make, work.keep, Deadline.never()) == ("answer", True)
    assert work.kept == []
    assert await flights.join("a", work.make, work.keep, Deadline.never()) == ("answer", False)
    work.go_on_keeping.set()
    while not work.kept:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await flights.join("a", work.make, work.keep, Deadline.never()) == ("answer", True)


async def test_what_cannot_be_kept_for_a_fault_of_ours_is_logged_and_was_answered(flights, caplog):
    async def fails(answer: str) -> None:
        raise RuntimeError("a fault")

    work = Work()
    work.go.set()
    assert await flights.join("a", work.make, fails, Deadline.never()) == ("answer", True)
    await asyncio.sleep(0)
    [record] = caplog.records
    assert "a fault" in str(record.exc_info[1])


async def test_an_error_that_nobody_is_left_for_is_not_logged(flights, caplog):
    begun = asyncio.Event()

    async def too_late(deadline: Deadline) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise DeadlineExceeded("at the very moment when the last one left") from None
        raise AssertionError

    asking = asyncio.create_task(flights.join("question", too_late, Work().keep, Deadline.never()))
    await begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    del asking
    gc.collect()
    assert not caplog.records
