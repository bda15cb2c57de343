"""Identical questions at the same time are answered once, whoever of the askers leaves."""

import asyncio
import gc

import pytest
from fpan.serve.api.errors import DeadlineExceeded, Impossible
from fpan.serve.cache import SingleFlight


class Work:
    """Counts how often it is begun and ended, and waits to be let go on."""

    def __init__(self, *fails: Exception) -> None:
        self.fails = list(fails)
        self.begun = self.cancelled = 0
        self.kept: list[str] = []
        self.go, self.go_on_keeping = asyncio.Event(), asyncio.Event()
        self.go_on_keeping.set()

    async def make(self) -> str:
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
    made: SingleFlight[str, str] = SingleFlight(DeadlineExceeded)
    yield made
    await made.close()
    assert not made._flights


async def asked(flights: SingleFlight[str, str], work: Work, count: int, name: str = "a") -> list[asyncio.Task]:
    """That many who wait."""
    tasks = [asyncio.create_task(flights.join(name, work.make, work.keep)) for _ in range(count)]
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


async def test_the_deadline_of_who_began_is_no_one_elses(flights):
    work = Work(DeadlineExceeded("mine"))
    tasks = await asked(flights, work, 4)
    work.go.set()
    mine, *theirs = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(mine, DeadlineExceeded)
    assert theirs == [("answer", True), ("answer", False), ("answer", False)]
    assert work.begun == 2  # once for all the others


async def test_nobody_waits_until_it_is_kept_and_who_comes_meanwhile_shares(flights):
    work = Work()
    work.go.set()
    work.go_on_keeping.clear()
    assert await flights.join("a", work.make, work.keep) == ("answer", True)
    assert work.kept == []
    assert await flights.join("a", work.make, work.keep) == ("answer", False)
    work.go_on_keeping.set()
    while not work.kept:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await flights.join("a", work.make, work.keep) == ("answer", True)


async def test_what_cannot_be_kept_for_a_fault_of_ours_is_logged_and_was_answered(flights, caplog):
    async def fails(answer: str) -> None:
        raise RuntimeError("a fault")

    work = Work()
    work.go.set()
    assert await flights.join("a", work.make, fails) == ("answer", True)
    await asyncio.sleep(0)
    [record] = caplog.records
    assert "a fault" in str(record.exc_info[1])


async def test_an_error_that_nobody_is_left_for_is_not_logged(flights, caplog):
    begun = asyncio.Event()

    async def too_late() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise DeadlineExceeded("at the very moment when the last one left") from None
        raise AssertionError

    asking = asyncio.create_task(flights.join("question", too_late, Work().keep))
    await begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    del asking
    gc.collect()
    assert not caplog.records
