"""Who goes first before a network: requests with many pictures, and work that may wait."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from fpan.serve.api.context import is_background
from fpan.serve.api.errors import Overloaded
from fpan.serve.inference.batcher import Batcher, BatchLimits

from tests.support.batching import CARD, LONG_S, Gated, ask, got, settle

Start = Callable[..., Batcher]


@pytest.fixture
def backend() -> Gated:
    return Gated()


@pytest.fixture
async def start(backend: Gated) -> AsyncIterator[Start]:
    made = []

    def make(**limits: object) -> Batcher:
        limits = {"wait_s": LONG_S, "background_wait_s": LONG_S, **limits}
        made.append(Batcher(backend, CARD, BatchLimits(**limits)))
        return made[-1]

    yield make
    for batcher in made:
        await batcher.close()


async def step(backend: Gated) -> None:
    """Lets one batch end."""
    backend.gate.set()
    backend.gate.clear()
    await settle()


async def test_a_hundred_pictures_of_one_request_take_one_turn(start: Start, backend: Gated) -> None:
    batcher = start(max_batch=2)
    held = ask(batcher, 0)
    await settle()
    many = object()
    calls = [ask(batcher, value, group=many) for value in range(100, 200)]
    await settle()
    single = ask(batcher, 1)
    await settle()
    backend.gate.set()
    assert got(await single) == [1]
    assert [got(answer) for answer in await asyncio.gather(*calls)] == [[value] for value in range(100, 200)]
    assert backend.batches[:3] == [[0], [100, 1], [101, 102]]
    await held


async def test_within_a_group_its_calls_take_turns(start: Start, backend: Gated) -> None:
    batcher = start(max_batch=4)
    ask(batcher, 0)
    await settle()
    group = "a request"
    calls = [ask(batcher, 10, 11, 12, group=group), ask(batcher, 20, group=group)]
    await settle()
    backend.gate.set()
    assert [got(answer) for answer in await asyncio.gather(*calls)] == [[10, 11, 12], [20]]
    assert backend.batches == [[0], [10, 20, 11, 12]]


async def test_a_group_that_lost_a_call_goes_on_with_the_others(start: Start, backend: Gated) -> None:
    batcher = start(max_batch=1)
    ask(batcher, 0)
    await settle()
    group = "a request"
    first, second = ask(batcher, 1, group=group), ask(batcher, 2, group=group)
    await settle()
    first.cancel()
    await settle()
    backend.gate.set()
    assert got(await second) == [2]
    assert backend.batches == [[0], [2]]


async def test_background_work_goes_out_when_nothing_else_waits(start: Start, backend: Gated) -> None:
    batcher = start(max_batch=2, background_batch=2)
    held = ask(batcher, 0)
    await settle()
    behind = ask(batcher, 90, 91, 92, background=True)
    front = [ask(batcher, value) for value in (1, 2, 3)]
    await settle()
    for _ in range(3):
        await step(backend)
    assert backend.batches == [[0], [1, 2], [3], [90, 91]]  # the room beside 3 stays empty: it would only delay it
    late = ask(batcher, 4)
    await settle()
    await step(backend)
    assert backend.batches[4:] == [[4]]
    backend.gate.set()
    assert got(await behind) == [90, 91, 92]
    await asyncio.gather(held, late, *front)


async def test_a_batch_of_background_work_is_small(start: Start, backend: Gated) -> None:
    batcher = start(max_batch=8, background_batch=3)
    backend.gate.set()
    assert got(await ask(batcher, *range(7), background=True)) == list(range(7))
    assert [len(batch) for batch in backend.batches] == [3, 3, 1]


async def test_background_work_does_not_starve(start: Start, backend: Gated) -> None:
    batcher = start(max_batch=2, background_wait_s=0.05)
    ask(batcher, 0)
    await settle()
    behind = ask(batcher, 90, 91, background=True)
    front = [ask(batcher, value) for value in range(1, 9)]
    await settle()
    await step(backend)
    assert backend.batches[1:] == [[1, 2]]
    await asyncio.sleep(0.06)
    await step(backend)
    await step(backend)
    assert backend.batches[2:] == [[90, 3], [4, 5]]  # one item, and then it waits again
    await asyncio.sleep(0.06)
    await step(backend)
    assert backend.batches[4:] == [[91, 6]]
    backend.gate.set()
    await asyncio.gather(behind, *front)


async def test_background_work_waits_a_moment_for_whoever_is_about_to_ask_again(start: Start, backend: Gated) -> None:
    batcher = start(max_batch=1, background_pause_s=0.05)
    first = ask(batcher, 1)
    behind = ask(batcher, 90, background=True)
    await settle()
    backend.gate.set()
    await first
    assert got(await ask(batcher, 2)) == [2]
    assert backend.batches == [[1], [2]]
    assert got(await behind) == [90]


async def test_that_moment_is_no_way_to_starve_it(start: Start, backend: Gated) -> None:
    batcher = start(max_batch=1, background_pause_s=LONG_S, background_wait_s=0.05)
    backend.gate.set()
    await ask(batcher, 1)
    behind = ask(batcher, 90, background=True)
    while not behind.done():
        await ask(batcher, 1)
        await asyncio.sleep(0.005)
    assert got(await behind) == [90]


async def test_background_work_leaves_a_slot_for_others(start: Start, backend: Gated) -> None:
    batcher = start(max_batch=1, in_flight=2, background_batch=1)
    behind = [ask(batcher, value, background=True) for value in (90, 91)]
    await settle()
    assert backend.batches == [[90]]
    front = ask(batcher, 1)
    await settle()
    assert backend.batches == [[90], [1]]
    backend.gate.set()
    await asyncio.gather(front, *behind)


async def test_background_work_takes_no_place_in_the_queue_of_others(start: Start, backend: Gated) -> None:
    batcher = start(max_queue=2)
    ask(batcher, 0)
    await settle()
    behind = ask(batcher, 90, 91, background=True)
    await settle()
    with pytest.raises(Overloaded):
        await ask(batcher, 92, background=True)
    front = ask(batcher, 1, 2)
    await settle()
    backend.gate.set()
    assert got(await front) == [1, 2]
    await behind


@pytest.mark.parametrize(
    ("offered", "background"),
    [
        ([], False),
        ([None], False),
        (["u=3"], False),
        (["u=4"], True),
        (["u=7"], True),
        (["u=7, i"], True),
        (["i, u=5;x=1"], True),
        (["u=7", "u=1"], False),
        (["u=1", "u=7"], True),
        (["u=8"], False),
        (["u=70"], False),
        (["urgent"], False),
        (["u=-1"], False),
    ],
)
def test_callers_lower_themselves_by_rfc_9218(offered: list[str | None], background: bool) -> None:
    assert is_background(offered) is background
