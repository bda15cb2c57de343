"""Who gets no answer of the batcher: refused, too late, gone, a misfit, or in a batch that failed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import chain

import numpy as np
import pytest
from fpan.serve.api.errors import Overloaded, Unavailable
from fpan.serve.inference.batcher import Batcher

from tests.support.batching import Gated, ask, got, settle, starting


@pytest.fixture
def backend() -> Gated:
    return Gated()


@pytest.fixture
async def start(backend: Gated) -> AsyncIterator[Callable[..., Batcher]]:
    async with starting(backend) as make:
        yield make


async def test_more_than_may_wait_are_refused_at_once_and_none_of_them_taken(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    batcher = start(max_queue=3)
    ask(batcher, 0)
    await settle()
    waiting = ask(batcher, 1, 2)
    await settle()
    with pytest.raises(Overloaded) as caught:
        await ask(batcher, 3, 4)
    assert caught.value.retry_after_s
    fits = ask(batcher, 5)
    await settle()
    backend.gate.set()
    assert got(await waiting) + got(await fits) == [1, 2, 5]
    assert sorted(chain(*backend.batches)) == [0, 1, 2, 5]


async def test_places_of_a_caller_that_left_are_free_again(start: Callable[..., Batcher], backend: Gated) -> None:
    batcher = start(max_queue=2)
    ask(batcher, 0)
    await settle()
    gone = ask(batcher, 1, 2)
    await settle()
    gone.cancel()
    await settle()
    stays = ask(batcher, 3, 4)
    await settle()
    backend.gate.set()
    assert got(await stays) == [3, 4]
    assert backend.batches == [[0], [3, 4]]


async def test_a_passed_deadline_ends_the_wait_and_the_item_never_goes_out(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    batcher = start()
    first = ask(batcher, 0)
    await settle()
    late = ask(batcher, 1, within=0.05)
    with pytest.raises(Unavailable, match="no place became free within 50 ms"):
        await late
    backend.gate.set()
    await first
    await settle()
    assert backend.batches == [[0]]


async def test_a_deadline_that_has_passed_already_computes_nothing(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    with pytest.raises(Unavailable):
        await ask(start(), 1, within=-1.0)
    assert backend.batches == []


async def test_the_backend_gets_the_latest_deadline_of_the_batch(start: Callable[..., Batcher], backend: Gated) -> None:
    batcher = start(timeout_s=10.0)
    ask(batcher, 0)
    await settle()
    calls = [ask(batcher, 1, within=0.1), ask(batcher, 2, within=4.0)]
    await settle()
    backend.gate.set()
    await asyncio.gather(*calls)
    assert backend.timeouts[0] == 10.0
    assert 3.5 < backend.timeouts[1] <= 4.0


async def test_work_in_flight_is_cancelled_when_the_last_of_its_callers_leaves(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    batcher = start()
    ask(batcher, 0).cancel()
    await settle()
    one, other = ask(batcher, 1), ask(batcher, 2)
    await settle()
    first_batches = len(backend.batches)
    one.cancel()
    await settle()
    assert backend.cancelled == 0
    other.cancel()
    await settle()
    assert backend.cancelled == 1
    backend.gate.set()
    assert got(await ask(batcher, 3)) == [3]
    assert len(backend.batches) == first_batches + 1


async def test_a_failure_reaches_the_callers_of_its_batch_and_no_others(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    batcher = start(max_batch=2)
    backend.poison[3] = Unavailable("down", retry_after_s=4.0)
    calls = [ask(batcher, value) for value in (1, 2, 3, 4, 5)]
    await settle()
    backend.gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    failed = [results[2], results[3]]
    assert [got(results[i]) for i in (0, 1, 4)] == [[1], [2], [5]]
    assert all(isinstance(error, Unavailable) and error.retry_after_s == 4.0 for error in failed)
    assert failed[0] is not failed[1]


async def test_a_fault_of_the_backend_itself_leaves_nobody_waiting(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    batcher = start(max_batch=2)
    backend.poison[1] = ZeroDivisionError("oops")
    backend.gate.set()
    with pytest.raises(ZeroDivisionError):
        await ask(batcher, 1, 2, 3, 4, 5, 6)
    assert got(await ask(batcher, 7)) == [7]
    assert [7] in backend.batches
    assert len(backend.batches) <= 3  # what still waited of the failed call never went out


@pytest.mark.parametrize(
    ("images", "outputs"),
    [
        (np.zeros(3, np.uint8), ["same"]),
        (np.zeros(2, np.float32), ["same"]),
        (np.zeros((1, 2), np.uint8), ["same"]),
        (np.zeros(2, np.uint8), ["depth"]),
    ],
    ids=["shape", "dtype", "dimensions", "output"],
)
async def test_a_misfit_is_refused_before_it_can_spoil_a_batch(
    start: Callable[..., Batcher], images: np.ndarray, outputs: list[str]
) -> None:
    with pytest.raises(ValueError, match="net"):
        await start().infer([{"images": images}], outputs)


async def test_closing_ends_every_wait_and_refuses_what_comes_later(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    batcher = start(max_batch=1)
    calls = [ask(batcher, 1), ask(batcher, 2)]
    await settle()
    await batcher.close()
    for error in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(error, Unavailable)
    assert backend.cancelled == 1
    with pytest.raises(Unavailable):
        await ask(batcher, 3)
