"""The batcher: who shares a batch with whom, and who waits for how long."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import chain

import numpy as np
import pytest
from fpan.serve.api.errors import GatewayError, Overloaded
from fpan.serve.config import Settings
from fpan.serve.inference.batcher import Batcher, BatchLimits, InferenceResult
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.batching import ANY_SIZE, CARD, LONG_S, Gated, ask, got, settle, starting


@pytest.fixture
def backend() -> Gated:
    return Gated()


@pytest.fixture
async def start(backend: Gated) -> AsyncIterator[Callable[..., Batcher]]:
    async with starting(backend) as make:
        yield make


async def test_an_item_goes_out_at_once_while_nothing_is_computed(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    call = ask(start(), 7)
    await settle()
    assert backend.batches == [[7]]
    backend.gate.set()
    assert got(await call) == [7]


async def test_items_that_come_while_a_batch_is_computed_share_the_next(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    batcher = start(max_batch=4)
    calls = [ask(batcher, 1)]
    await settle()
    calls += [ask(batcher, value) for value in (2, 3, 4, 5, 6)]
    await settle()
    backend.gate.set()
    assert [got(answer) for answer in await asyncio.gather(*calls)] == [[1], [2], [3], [4], [5], [6]]
    assert backend.batches == [[1], [2, 3, 4, 5], [6]]


async def test_items_of_one_call_go_together_and_come_back_in_order(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    backend.gate.set()
    answer = await ask(start(max_batch=3), 5, 4, 3, 2, 1)
    assert got(answer) == [5, 4, 3, 2, 1]
    assert backend.batches == [[5, 4, 3], [2, 1]]


async def test_with_a_slot_free_an_item_waits_for_company_but_not_long(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    batcher = start(in_flight=2, max_batch=2, wait_s=0.15)
    ask(batcher, 1)
    await settle()
    ask(batcher, 2)
    await asyncio.sleep(0.05)
    assert backend.batches == [[1]]
    await asyncio.sleep(0.2)
    assert backend.batches == [[1], [2]]


async def test_a_full_batch_does_not_wait(start: Callable[..., Batcher], backend: Gated) -> None:
    batcher = start(in_flight=2, max_batch=2)
    ask(batcher, 1)
    await settle()
    ask(batcher, 2)
    await settle()
    assert backend.batches == [[1]]
    ask(batcher, 3)
    await settle()
    assert backend.batches == [[1], [2, 3]]


async def test_no_more_batches_are_computed_at_once_than_allowed(start: Callable[..., Batcher], backend: Gated) -> None:
    batcher = start(in_flight=2, max_batch=1)
    calls = [ask(batcher, value) for value in range(6)]
    await settle()
    assert len(backend.batches) == 2
    backend.gate.set()
    await asyncio.gather(*calls)
    assert backend.most_at_once == 2


async def test_callers_take_turns(start: Callable[..., Batcher], backend: Gated) -> None:
    batcher = start(max_batch=4)
    ask(batcher, 0)
    await settle()
    many = ask(batcher, *range(10, 30))
    await settle()
    few = ask(batcher, 1, 2)
    await settle()
    backend.gate.set()
    assert got(await few) == [1, 2]
    assert not many.done()
    assert got(await many) == list(range(10, 30))
    assert backend.batches[1] == [10, 1, 11, 2]


async def test_the_batch_computes_what_any_of_it_wants_and_each_gets_its_own(
    start: Callable[..., Batcher], backend: Gated
) -> None:
    batcher = start()
    ask(batcher, 0)
    await settle()
    calls = [ask(batcher, 1, outputs=["same"]), ask(batcher, 3, outputs=["half"])]
    await settle()
    backend.gate.set()
    first, second = await asyncio.gather(*calls)
    assert backend.outputs == [["same"], ["half", "same"]]
    assert first.items[0].keys() == {"same"}
    assert second.items[0].keys() == {"half"}
    assert second.items[0]["half"][0] == 1.5


async def test_only_equal_shapes_share_a_batch(start: Callable[..., Batcher], backend: Gated) -> None:
    batcher = start(card=ANY_SIZE)
    ask(batcher, 0)
    await settle()
    sizes = (2, 3, 2, 3, 2)
    calls = [
        asyncio.create_task(batcher.infer([{"images": np.full(size, place, np.uint8)}], ["same"]))
        for place, size in enumerate(sizes, 1)
    ]
    await settle()
    backend.gate.set()
    answers = await asyncio.gather(*calls)
    assert [answer.items[0]["same"].tolist() for answer in answers] == [[i] * s for i, s in enumerate(sizes, 1)]
    assert backend.batches == [[0], [1, 3, 5], [2, 4]]
    with pytest.raises(ValueError, match="differ"):
        await batcher.infer([{"images": np.zeros(2, np.uint8)}, {"images": np.zeros(3, np.uint8)}], ["same"])
    with pytest.raises(ValueError, match=r"takes images as UINT8 \(3,\) or \(2,\)"):  # each size costs memory
        await batcher.infer([{"images": np.zeros(4, np.uint8)}], ["same"])


async def test_no_items_need_no_computing(start: Callable[..., Batcher], backend: Gated) -> None:
    assert (await start().infer([], ["same"])).items == []
    assert backend.batches == []


async def test_times_add_up(start: Callable[..., Batcher], backend: Gated) -> None:
    batcher = start(max_batch=1)
    loop = asyncio.get_running_loop()
    ask(batcher, 0)
    await settle()
    began = loop.time()
    call = ask(batcher, 1)
    await asyncio.sleep(0.1)
    backend.gate.set()
    answer = await call
    assert 0.1 <= answer.queued_s + answer.infer_s <= loop.time() - began
    assert answer.queued_s > answer.infer_s >= 0


async def test_metrics_hear_of_depth_wait_and_size(start: Callable[..., Batcher], backend: Gated) -> None:
    class Heard:
        def __init__(self) -> None:
            self.depths: list[int] = []
            self.waits: list[float] = []
            self.sizes: list[int] = []

        def queue_depth(self, model: str, items: int) -> None:
            self.depths.append(items)

        def waited(self, model: str, seconds: float) -> None:
            self.waits.append(seconds)

        def batch_size(self, model: str, items: int) -> None:
            assert model == "net"
            self.sizes.append(items)

    heard = Heard()
    batcher = start(metrics=heard, max_batch=2)
    backend.gate.set()
    await ask(batcher, 1, 2, 3)
    assert heard.sizes == [2, 1]
    assert len(heard.waits) == 3
    assert all(wait >= 0 for wait in heard.waits)
    assert max(heard.depths) == 3
    assert heard.depths[-1] == 0


def test_limits_come_from_the_settings() -> None:
    chosen = {"max_batch": 5, "max_queue": 6, "batch_wait_ms": 7, "instances": 2, "infer_timeout_s": 9}
    behind = {"background_batch": 3, "background_wait_s": 4, "background_pause_ms": 8}
    limits = BatchLimits.of(Settings(**chosen, **behind))
    assert limits == BatchLimits(5, 6, 0.007, 2, 9, 3, 4, 0.008)
    assert BatchLimits.of(Settings(max_batch=1)).background_batch == 1


CALLS = st.lists(
    st.tuples(
        st.integers(0, 9),  # items
        st.integers(0, 3),  # turns of the loop before it comes
        st.sampled_from(["wait", "cancel", "poison"]),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(calls=CALLS, max_batch=st.integers(1, 5), in_flight=st.integers(1, 3), max_queue=st.integers(1, 30))
def test_whatever_comes_everybody_gets_their_own_answer_and_nothing_is_left(
    calls: list[tuple[int, int, str]], max_batch: int, in_flight: int, max_queue: int
) -> None:
    async def scenario() -> None:
        backend = Gated()
        batcher = Batcher(backend, CARD, BatchLimits(max_batch, max_queue, 0.001, in_flight))
        tasks: list[tuple[list[int], str, asyncio.Task]] = []
        value = 0
        for count, turns, fate in calls:
            values = list(range(value, value + count))
            value += count
            if fate == "poison" and values:
                backend.poison[values[-1]] = GatewayError("broken")
            tasks.append((values, fate, ask(batcher, *values)))
            for _ in range(turns):
                await asyncio.sleep(0)
        for _, fate, task in tasks:
            if fate == "cancel":
                task.cancel()
        backend.gate.set()
        results = await asyncio.wait_for(
            asyncio.gather(*(task for _, _, task in tasks), return_exceptions=True), LONG_S
        )
        poisoned = set(backend.poison)
        for (values, fate, _), result in zip(tasks, results, strict=True):
            if isinstance(result, InferenceResult):
                assert got(result) == values
            elif isinstance(result, asyncio.CancelledError):
                assert fate == "cancel"
            elif not isinstance(result, Overloaded):
                assert isinstance(result, GatewayError)
                assert any(poisoned & set(batch) and set(values) & set(batch) for batch in backend.batches)
        sent = list(chain(*backend.batches))
        assert len(sent) == len(set(sent))  # nothing is computed twice
        assert all(len(batch) <= max_batch for batch in backend.batches)
        assert backend.most_at_once <= in_flight
        assert got(await ask(batcher, 200)) == [200]  # every place is free again
        filled = ask(batcher, *[201] * max_queue)
        assert len((await filled).items) == max_queue
        await batcher.close()

    asyncio.run(scenario())
