"""The shadow is compared with the champion, and no caller ever waits for it."""

import asyncio
import time

import pytest
from fpan.serve.api.errors import DeadlineExceeded, Unavailable

from tests.support.traffic import NAME, ask, repository, sample, serving, taxonomy, until

OF_SHADOW = {"model": NAME, "version": 2}


@pytest.fixture
def registry(tmp_path):
    """Three versions, of which the first is champion and the second, the same network, is shadow."""
    registry = repository(tmp_path / "models", 3)
    registry.promote(NAME, 1, "champion", "")
    registry.promote(NAME, 2, "shadow", "")
    return registry


@pytest.fixture
def root(registry, tmp_path):
    return tmp_path / "models"


def compared(gateway, version: int = 2) -> float:
    return sample(gateway, "fpan_shadow_agreement_count", model=NAME, version=version)


async def test_a_shadow_that_says_the_same_agrees_wholly(root, monkeypatch):
    async with serving(monkeypatch, root) as gateway:
        for n in range(5):
            assert (await ask(gateway)).segmenter.card.version == 1
            await until(lambda n=n: compared(gateway) == n + 1)
        assert sample(gateway, "fpan_shadow_agreement_sum", **OF_SHADOW) == 5
        assert sample(gateway, "fpan_shadow_extra_seconds_count", **OF_SHADOW) == 5
        assert sample(gateway, "fpan_shadow_dropped_total", **OF_SHADOW) == 0


async def test_how_far_another_network_agrees_is_told(registry, root, monkeypatch):
    async with serving(monkeypatch, root) as gateway:
        faulty = gateway.backend

        async def other(model, version, inputs, outputs, timeout_s, trace):
            arrays = await faulty.backend.infer(model, version, inputs, outputs, timeout_s)
            if version == 2:  # a quarter of the rows says something else
                arrays = {**arrays, "labels": arrays["labels"].copy()}
                arrays["labels"][:, ::4] += 1
            return arrays

        monkeypatch.setattr(faulty, "infer", other)
        await ask(gateway)
        await until(lambda: compared(gateway) == 1)
        assert sample(gateway, "fpan_shadow_agreement_sum", **OF_SHADOW) == 0.75


async def test_a_shadow_that_hangs_keeps_nobody_waiting(root, monkeypatch):
    async with serving(monkeypatch, root, shadow_queue=3) as gateway:
        gateway.backend.delays_s[2] = 60
        began = time.monotonic()
        for _ in range(3):  # by turns and together
            await ask(gateway)
        await asyncio.gather(*(ask(gateway) for _ in range(20)))
        assert time.monotonic() - began < 60
        await until(lambda: gateway.backend.asked.count(2) == 1)
        await asyncio.gather(*(ask(gateway) for _ in range(10)))
        assert len(gateway.shadow) == 3
        dropped = sample(gateway, "fpan_shadow_dropped_total", **OF_SHADOW)
        assert dropped == 33 - 3 - 1
        assert gateway.backend.asked.count(2) == 1


async def test_copies_wait_while_a_network_is_asked(registry, root, monkeypatch):
    registry.promote(NAME, 3, "challenger", "")
    async with serving(monkeypatch, root) as gateway:
        held = gateway.backend.holds[3] = asyncio.Event()
        slow = asyncio.create_task(ask(gateway, model=f"{NAME}@challenger"))
        await until(lambda: gateway.backend.asked[-1:] == [3])
        await ask(gateway)
        await asyncio.sleep(0.1)
        assert (len(gateway.shadow), gateway.backend.asked) == (1, [3, 1])
        held.set()
        await slow
        await until(lambda: compared(gateway) == 1)
        assert gateway.backend.asked == [3, 1, 2]


async def test_background_work_keeps_no_copy_waiting(registry, root, monkeypatch):
    registry.promote(NAME, 3, "challenger", "")
    async with serving(monkeypatch, root) as gateway:
        held = gateway.backend.holds[3] = asyncio.Event()
        job = asyncio.create_task(ask(gateway, model=f"{NAME}@challenger", background=True))
        await until(lambda: gateway.backend.asked[-1:] == [3])
        await ask(gateway)
        await until(lambda: compared(gateway) == 1)
        assert gateway.backend.asked == [3, 1, 2]
        held.set()
        await job


@pytest.mark.parametrize("error", [Unavailable("down"), DeadlineExceeded("slow")])
async def test_a_shadow_that_fails_is_counted_and_logged_once(root, monkeypatch, caplog, error):
    async with serving(monkeypatch, root) as gateway:
        gateway.backend.errors[2] = error
        for n in range(3):
            await ask(gateway)
            await until(lambda n=n: sample(gateway, "fpan_shadow_failed_total", **OF_SHADOW) == n + 1)
        del gateway.backend.errors[2]
        await ask(gateway)
        await until(lambda: compared(gateway) == 1)
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1
    assert f"{NAME} version 2, which is shadow, fails" in caplog.text


async def test_a_gateway_that_drains_forgets_its_copies(root, monkeypatch):
    async with serving(monkeypatch, root) as gateway:
        gateway.backend.delays_s[2] = 60
        for _ in range(4):
            await ask(gateway)
        await until(lambda: gateway.backend.asked.count(2) == 1)
        assert len(gateway.shadow) == 3
        gateway.drain()
        await ask(gateway)
        assert len(gateway.shadow) == 0


@pytest.mark.parametrize("share", [0.0, 0.5])
async def test_a_share_of_the_requests_is_copied(root, monkeypatch, share):
    async with serving(monkeypatch, root, shadow_share=share, shadow_queue=100) as gateway:
        gateway.backend.delays_s[2] = 60
        for _ in range(60):
            await ask(gateway)
        copied = len(gateway.shadow) + gateway.backend.asked.count(2)
        assert copied == 0 if not share else 10 < copied < 50


async def test_only_what_the_champion_answered_is_compared(registry, root, monkeypatch):
    registry.promote(NAME, 3, "challenger", "", 1.0)
    async with serving(monkeypatch, root) as gateway:
        assert (await ask(gateway)).segmenter.alias == "challenger"
        await ask(gateway, model=f"{NAME}@shadow")
        await ask(gateway, model=f"{NAME}@champion")
        await until(lambda: compared(gateway) == 1)
        assert gateway.backend.asked[-4:].count(2) == 2
        assert compared(gateway) == 1


async def test_versions_with_other_classes_are_not_compared(registry, root, monkeypatch, caplog):
    card = registry.store.card(NAME, 1).model_copy(
        update={"taxonomy": taxonomy(("background", "skin", "h", "t", "n", "c"))}
    )
    registry.publish(card, {"model.onnx": root / NAME / "1/model.onnx"})
    registry.promote(NAME, 4, "shadow", "")
    async with serving(monkeypatch, root) as gateway:
        assert not gateway.rollout.model_router.now.shadows
        await ask(gateway)
        assert len(gateway.shadow) == 0
    assert "has other classes than the champion's" in caplog.text
