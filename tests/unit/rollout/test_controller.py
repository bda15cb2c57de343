"""The versions in traffic follow the aliases, while requests run."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from fpan.contract import Change, ModelCard
from fpan.registry import FolderStore, Registry
from fpan.serve.api.errors import NotFound
from fpan.serve.app import Gateway, open_gateway
from fpan.serve.pipeline.segment.routing import ModelRouter, RoutingTable
from fpan.serve.rollout import controller as rollout
from fpan.serve.transports.http.app import create_app

from tests.support.networks import SIZE, pictures, publish_saying
from tests.support.rollouts import SOON_S, answering, chosen, loaded, promote, rollback, said, three_versions, until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return three_versions(tmp_path / "models")


@pytest.fixture
async def gateway(root: Path) -> AsyncIterator[Gateway]:
    async with open_gateway(chosen(root)) as gateway:
        yield gateway


async def test_a_promotion_and_a_rollback_reach_a_gateway_that_runs(gateway: Gateway, root: Path) -> None:
    assert await said(gateway) == (1, 1, "champion")
    promote(root, 2)
    await until(lambda: answering(gateway) == 2)
    assert await said(gateway) == (2, 2, "champion")
    assert await said(gateway, "segm:1") == (1, 1, None)
    rollback(root)
    await until(lambda: answering(gateway) == 1)
    assert await said(gateway) == (1, 1, "champion")


async def test_the_former_champion_stays_loaded_until_the_next_promotion(gateway: Gateway, root: Path) -> None:
    promote(root, 2)
    await until(lambda: answering(gateway) == 2)
    assert loaded(gateway) == {1, 2}
    promote(root, 3)
    await until(lambda: loaded(gateway) == {2, 3})
    with pytest.raises(NotFound):
        await said(gateway, "segm:1")
    async with asyncio.timeout(SOON_S):
        while await gateway.backend.ready("segm", 1):
            await asyncio.sleep(0.01)


async def test_challenger_and_shadow_come_and_go(gateway: Gateway, root: Path) -> None:
    promote(root, 2, "challenger")
    await until(lambda: answering(gateway, "segm@challenger") == 2)
    assert await said(gateway) == (1, 1, "champion")
    rollback(root, "challenger")
    await until(lambda: loaded(gateway) == {1})
    with pytest.raises(NotFound):
        await said(gateway, "segm@challenger")


async def test_no_request_fails_or_is_answered_by_another_version_than_it_says(gateway: Gateway, root: Path) -> None:
    answers: list[tuple[int, int, str | None]] = []
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            answers.append(await said(gateway))

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(ask())
        for version in (2, 3, 1, 2, 3):
            promote(root, version)
            await until(lambda version=version: answering(gateway) == version)
        rollback(root)
        await until(lambda: answering(gateway) == 2)
        done.set()
    assert all(label == version for label, version, _ in answers)
    assert {version for _, version, _ in answers} == {1, 2, 3}


async def test_a_version_is_not_unloaded_while_a_request_uses_it(gateway: Gateway, root: Path) -> None:
    with gateway.rollout.model_router.using() as routing_table:
        promote(root, 2)
        await until(lambda: answering(gateway) == 2)
        promote(root, 3)
        await until(lambda: answering(gateway) == 3)
        await asyncio.sleep(0.1)
        segmenter = routing_table.segmenter("segm")
        answer = await segmenter.batcher.infer([{"images": pictures(1, size=segmenter.card.input_size)[0]}], ["labels"])
        assert np.all(answer.items[0]["labels"] == 1)
        assert loaded(gateway) == {1, 2, 3}
    await until(lambda: loaded(gateway) == {2, 3})


async def test_a_model_without_a_champion_is_not_taken_over_by_a_new_version(root: Path) -> None:
    (root / "segm/aliases.json").unlink()
    (root / "segm/history.jsonl").unlink()
    async with open_gateway(chosen(root)) as gateway:
        assert answering(gateway) == 3
        publish_saying(root, 4)
        promote(root, 2, "challenger")
        await until(lambda: answering(gateway, "segm@challenger") == 2)
        assert await said(gateway) == (3, 3, None)


async def test_a_lineup_is_drained_when_nobody_uses_a_former_roster() -> None:
    first, second = (RoutingTable({}, "", None, None) for _ in range(2))
    model_router = ModelRouter(first)
    with model_router.using() as one, model_router.using() as two:
        assert (one, two) == (first, first)
        await asyncio.wait_for(model_router.drained(), 1)
        model_router.exchange(second)
        waiting = asyncio.ensure_future(model_router.drained())
        with model_router.using() as three:
            assert three is second
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1)


async def test_a_version_that_arrives_after_its_alias_is_served_once_it_is_there(gateway: Gateway, root: Path) -> None:
    away = root.parent / "on its way"
    promote(root, 2)
    await until(lambda: answering(gateway) == 2)
    (root / "segm/3").rename(away)
    store = FolderStore(root)
    change = Change(serial=9, at="now", command="test", action="promote", alias="champion", before=2, version=3)
    with store.writer("segm") as writer:  # as a copy does that brings the small files first
        writer.move(store.aliases("segm").moved(change))
    await until(lambda: "fpan_registry_reachable 0.0" in gateway.metrics.exposition().decode())
    assert await said(gateway) == (2, 2, "champion")
    away.rename(root / "segm/3")
    await until(lambda: answering(gateway) == 3)


async def test_a_rollback_waits_for_no_version_that_loads_and_that_never_answers(
    gateway: Gateway, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(root, 2)
    await until(lambda: answering(gateway) == 2)
    real, loads, go_on = gateway.backend.serve, asyncio.Event(), asyncio.Event()

    async def slow(cards: list[ModelCard]) -> None:
        if any(card.version == 3 for card in cards):
            loads.set()
            await go_on.wait()
        await real(cards)

    monkeypatch.setattr(gateway.backend, "serve", slow)
    promote(root, 3)
    await asyncio.wait_for(loads.wait(), SOON_S)
    rollback(root)
    rollback(root)
    await until(lambda: answering(gateway) == 1)
    versions: set[int] = set()
    exchange = gateway.rollout.model_router.exchange
    monkeypatch.setattr(
        gateway.rollout.model_router,
        "exchange",
        lambda routing_table: (versions.add(routing_table.segmenters["segm"].card.version), exchange(routing_table)),
    )
    go_on.set()
    await until(lambda: loaded(gateway) == {1})
    assert versions <= {1}
    assert await said(gateway) == (1, 1, "champion")


async def test_a_fault_of_ours_while_unloading_does_not_end_the_following(
    gateway: Gateway, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rollout, "_RETRY_S", 0.05)
    real, failed = gateway.backend.serve, []

    async def full(cards: list[ModelCard]) -> None:
        if not failed and 1 not in {card.version for card in cards if card.name == "segm"}:
            failed.append(cards)
            raise OSError(28, "No space left on device")
        await real(cards)

    monkeypatch.setattr(gateway.backend, "serve", full)
    for version in (2, 3):
        promote(root, version)
        await until(lambda version=version: answering(gateway) == version)
    await until(lambda: failed)
    promote(root, 2)
    await until(lambda: answering(gateway) == 2)
    assert "No space left" in caplog.text


async def test_two_models_of_different_sizes_answer_by_their_names_and_move_apart(root: Path) -> None:
    for label in (7, 8):
        publish_saying(root, label, name="segm_fast", size=2 * SIZE)
    Registry(FolderStore(root)).promote("segm_fast", 1, "champion", "test")
    async with open_gateway(chosen(root)) as gateway:
        assert await said(gateway) == (1, 1, "champion")
        assert await said(gateway, "segm_fast") == (7, 1, "champion")
        sizes = {name: each.card.input_size for name, each in gateway.rollout.model_router.now.segmenters.items()}
        assert (sizes["segm"], sizes["segm_fast"]) == (SIZE, 2 * SIZE)
        Registry(FolderStore(root)).promote("segm_fast", 2, "champion", "test")
        await until(lambda: answering(gateway, "segm_fast") == 2)
        assert await said(gateway, "segm_fast") == (8, 2, "champion")
        assert await said(gateway, "segm") == (1, 1, "champion")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(gateway)), base_url="http://x") as client:
            listed = (await client.get("/v1/models")).json()["models"]
        cards = {card["name"]: card for card in listed if card["default"]}
        assert cards.keys() == {"segm", "segm_fast", "detector"}
        assert (cards["segm"]["input_size"], cards["segm_fast"]["input_size"]) == (SIZE, 2 * SIZE)
