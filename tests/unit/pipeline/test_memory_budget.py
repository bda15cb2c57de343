"""Room for what is large: nobody takes more than there is, nobody is overtaken, nothing is lost."""

import asyncio
import random

import pytest
from fpan.serve.api.errors import Impossible, Unavailable
from fpan.serve.api.options import ParseOptions
from fpan.serve.config import Settings
from fpan.serve.pipeline.memory_budget import MemoryBudget
from pydantic import ValidationError

from tests.support.contexts import parse_within
from tests.support.known_face import file_of, known_gateway, photo


async def taking(budget: MemoryBudget, units: int, done: list[int]) -> None:
    with await budget.take(units):
        done.append(units)
        await asyncio.sleep(0)


async def test_those_who_fit_wait_for_nothing():
    budget = MemoryBudget(10)
    with await budget.take(4), await budget.take(6):
        assert budget.full(1)
    assert not budget.full(10)


async def test_a_large_one_is_not_overtaken_by_small_ones():
    budget, done = MemoryBudget(10), []
    with await budget.take(5):
        waiting = [asyncio.create_task(taking(budget, units, done)) for units in (8, 1, 1)]
        await asyncio.sleep(0.01)
        assert done == []
    await asyncio.gather(*waiting)
    assert done == [8, 1, 1]


async def test_background_work_waits_behind_all_others_and_not_for_ever():
    budget, done = MemoryBudget(10), []

    async def waiting(name: str, units: int) -> None:
        with await budget.take(units, background=name.startswith("b")):
            done.append(name)
            await asyncio.sleep(0)

    with await budget.take(5):
        tasks = [asyncio.create_task(waiting(*each)) for each in (("b1", 6), ("b2", 1), ("a1", 9), ("a2", 1))]
        await asyncio.sleep(0.01)
        assert done == []
        assert budget.full(1, background=True)
    await asyncio.gather(*tasks)
    assert done == ["a1", "a2", "b1", "b2"]
    assert not budget.full(10, background=True)


async def test_background_work_that_waits_keeps_nobody_waiting():
    budget = MemoryBudget(10)
    with await budget.take(5):
        large = asyncio.create_task(budget.take(8, background=True))
        await asyncio.sleep(0)
        assert not budget.full(3)
        with await asyncio.wait_for(budget.take(3), 5):
            pass
    with await large:
        pass


async def test_what_is_larger_than_all_there_is_goes_alone():
    budget, done = MemoryBudget(10), []
    with await budget.take(1):
        large = asyncio.create_task(taking(budget, 1000, done))
        await asyncio.sleep(0.01)
        assert not done
    await large
    assert not budget.full(10)


async def test_whoever_stops_waiting_lets_the_next_pass():
    budget, done = MemoryBudget(10), []
    with await budget.take(5):
        first = asyncio.create_task(taking(budget, 8, done))
        second = asyncio.create_task(taking(budget, 3, done))
        await asyncio.sleep(0.01)
        first.cancel()
        await second
    assert done == [3]
    assert not budget.full(10)


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_is_lost_or_given_twice_whoever_leaves_when(seed):
    chance, budget, held, most = random.Random(seed), MemoryBudget(10), 0, 0

    async def one() -> None:
        nonlocal held, most
        units = chance.randint(1, 12)
        with await budget.take(units, background=chance.random() < 0.3):
            held += min(units, 10)
            most = max(most, held)
            for _ in range(chance.randint(0, 3)):
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    held -= min(units, 10)
                    raise
            held -= min(units, 10)

    tasks = []
    for _ in range(300):
        tasks.append(asyncio.create_task(one()))
        if chance.random() < 0.4:
            chance.choice(tasks).cancel()
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert most <= 10
    assert not budget.full(10)


async def test_a_picture_without_room_waits_and_holds_its_room_until_it_is_encoded():
    pixels = photo().shape[0] * photo().shape[1]
    with known_gateway(max_pixels=pixels, max_pixels_in_flight=pixels) as gateway:
        first = await gateway.parser.parse(file_of(photo()), ParseOptions())
        second = asyncio.create_task(gateway.parser.parse(file_of(photo()), ParseOptions()))
        with pytest.raises(Unavailable, match="150 ms"):
            await parse_within(gateway.parser, file_of(photo()), ParseOptions(deadline_ms=150))
        assert not second.done()
        with first.held:
            pass
        with (await asyncio.wait_for(second, 10)).held:
            assert second.result().result.timing_ms["queue"] >= 100


async def test_a_picture_that_cannot_be_parsed_leaves_its_room():
    pixels = photo().shape[0] * photo().shape[1]
    with known_gateway(max_pixels=pixels, max_pixels_in_flight=pixels) as gateway:
        for _ in range(2):
            with pytest.raises(Impossible, match="truncated"):
                await parse_within(gateway.parser, file_of(photo())[:-40], ParseOptions(deadline_ms=5000))
        with (await parse_within(gateway.parser, file_of(photo()), ParseOptions(deadline_ms=5000))).held:
            pass


def test_a_limit_that_the_largest_picture_would_never_fit_into_is_refused():
    with pytest.raises(ValidationError, match="MAX_PIXELS"):
        Settings(max_pixels=10**9)
    assert Settings(max_pixels=10**9, max_pixels_in_flight=10**9).max_pixels == 10**9
