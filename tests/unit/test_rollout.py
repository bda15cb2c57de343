"""The versions in traffic follow the aliases, while requests run."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fpan.contract import GOLDEN_FILE, AliasName, Change, GoldenPictures, ModelCard, RepositoryError
from fpan.registry import FolderStore, Registry
from fpan.serve import gateway as opening
from fpan.serve.errors import NotFound, Unavailable
from fpan.serve.gateway import Gateway, open_gateway
from fpan.serve.inference.backend import InferenceBackend
from fpan.serve.pipeline.lineup import Lineup, Roster
from fpan.serve.pipeline.options import ParseOptions
from fpan.serve.rollout import rollout
from fpan.serve.settings import Settings

from tests.known_face import file_of
from tests.networks import pictures, publish_saying

SHIPPED = Path(__file__).parents[2] / "model_repository"
SOON_S = 20.0
PICTURE = file_of(np.full((40, 40, 3), 90, np.uint8))
WHOLE = ParseOptions(faces="full")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The shipped detector, and versions 1 to 3 of a network that says its own version everywhere; 1 is champion."""
    root = tmp_path / "models"
    shutil.copytree(SHIPPED / "detector", root / "detector")
    for label in (1, 2, 3):
        publish_saying(root, label)
    promote(root, 1)
    return root


@pytest.fixture
async def gateway(root: Path) -> AsyncIterator[Gateway]:
    async with open_gateway(chosen(root)) as gateway:
        yield gateway


def promote(root: Path, version: int, alias: str = "champion") -> None:
    Registry(FolderStore(root)).promote("segm", version, alias, "test")


def rollback(root: Path, alias: str = "champion") -> None:
    Registry(FolderStore(root)).rollback("segm", alias, "test")


async def said(gateway: Gateway, model: str = "") -> tuple[int, int, str | None]:
    """The label that every pixel has, and version and alias of what gave it."""
    parsed = await gateway.parser.parse(PICTURE, ParseOptions(faces="full", model=model))
    (label,) = np.unique(parsed.result.labels)
    return int(label), parsed.segmenter.card.version, parsed.segmenter.alias


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():
            await asyncio.sleep(0.01)


def answering(gateway: Gateway, name: str = "segm") -> int | None:
    segmenter = gateway.rollout.lineup.now.segmenters.get(name)
    return segmenter and segmenter.card.version


def loaded(gateway: Gateway) -> set[int]:
    return {version for name, version in gateway.rollout._loaded if name == "segm"}


def golden(card: ModelCard, label: int, tmp_path: Path) -> Path:
    size = card.input_size
    path = tmp_path / GOLDEN_FILE
    GoldenPictures(pictures(3, size=size), np.full((3, size, size), label, np.uint8)).write(path)
    return path


def with_golden(root: Path, tmp_path: Path, label: int, must: int) -> int:
    """Publishes a version that says ``label`` where its golden pictures want ``must``."""
    card = FolderStore(root).card("segm", 1)
    return publish_saying(root, label, {GOLDEN_FILE: golden(card, must, tmp_path)}).version


def chosen(root: Path) -> Settings:
    return Settings(model_repository=root, backend="in-process", runtime_threads=1, registry_poll_s=0.02)


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
    with gateway.rollout.lineup.using() as roster:
        promote(root, 2)
        await until(lambda: answering(gateway) == 2)
        promote(root, 3)
        await until(lambda: answering(gateway) == 3)
        await asyncio.sleep(0.1)
        segmenter = roster.segmenter("segm")
        answer = await segmenter.batcher.infer([{"images": pictures(1, size=segmenter.card.input_size)[0]}], ["labels"])
        assert np.all(answer.items[0]["labels"] == 1)
        assert loaded(gateway) == {1, 2, 3}
    await until(lambda: loaded(gateway) == {2, 3})


async def test_a_version_that_fails_its_golden_pictures_never_answers(
    gateway: Gateway, root: Path, tmp_path: Path
) -> None:
    card = FolderStore(root).card("segm", 2)
    wrong = publish_saying(root, 4, {GOLDEN_FILE: golden(card, 5, tmp_path)})
    right = publish_saying(root, 5, {GOLDEN_FILE: golden(card, 5, tmp_path)})
    promote(root, wrong.version)
    await until(lambda: gateway.rollout.refused)
    assert await said(gateway) == (1, 1, "champion")
    assert "0.00% of the pixels of its golden pictures" in gateway.rollout.refused[0].reason
    assert loaded(gateway) == {1}
    assert not await gateway.backend.ready("segm", wrong.version)
    metrics = gateway.metrics.exposition().decode()
    assert f'fpan_model_refused{{model="segm",version="{wrong.version}"}} 1.0' in metrics
    promote(root, right.version)
    await until(lambda: answering(gateway) == right.version)
    assert gateway.rollout.refused == ()
    assert "fpan_model_refused{" not in gateway.metrics.exposition().decode()


@pytest.mark.parametrize("alias", ["champion", "challenger"])
async def test_a_version_that_is_changed_after_its_promotion_is_refused(
    gateway: Gateway, root: Path, alias: AliasName
) -> None:
    (root / "segm/2/model.onnx").write_bytes(b"something else")
    store = FolderStore(root)
    aliases = store.aliases("segm")
    before = aliases.aliases.get(alias)
    change = Change(
        serial=9, at="now", command="test", action="promote", alias=alias, before=before, version=2, sha256=""
    )
    with store.writer("segm") as writer:  # which, unlike `promote`, does not look at the files
        writer.move(aliases.moved(change))
    await until(lambda: gateway.rollout.refused)
    assert "model.onnx was changed" in gateway.rollout.refused[0].reason
    assert await said(gateway) == (1, 1, "champion")
    assert answering(gateway, "segm@challenger") is None


async def test_a_model_without_a_champion_is_not_taken_over_by_a_new_version(root: Path) -> None:
    (root / "segm/aliases.json").unlink()
    (root / "segm/history.jsonl").unlink()
    async with open_gateway(chosen(root)) as gateway:
        assert answering(gateway) == 3
        publish_saying(root, 4)
        promote(root, 2, "challenger")
        await until(lambda: answering(gateway, "segm@challenger") == 2)
        assert await said(gateway) == (3, 3, None)


async def test_a_registry_that_cannot_be_read_changes_nothing_and_is_told(gateway: Gateway, root: Path, caplog) -> None:
    aliases = root / "segm/aliases.json"
    whole = aliases.read_bytes()
    aliases.write_bytes(whole[:20])
    await until(lambda: "fpan_registry_reachable 0.0" in gateway.metrics.exposition().decode())
    assert await said(gateway) == (1, 1, "champion")
    await asyncio.sleep(0.2)
    assert caplog.text.count("what is served stays as it is") == 1
    aliases.write_bytes(whole)
    promote(root, 2)
    await until(lambda: answering(gateway) == 2)
    assert "fpan_registry_reachable 1.0" in gateway.metrics.exposition().decode()


async def test_a_champion_that_fails_its_trial_is_refused_at_start(root: Path, tmp_path: Path) -> None:
    bad = with_golden(root, tmp_path, 4, 5)
    for name in ("aliases.json", "history.jsonl"):
        (root / "segm" / name).unlink()
    promote(root, bad)
    with pytest.raises(RepositoryError, match=r"golden pictures .* `fpan models rollback segm`"):
        async with open_gateway(chosen(root)):
            pass


async def test_a_lineup_is_drained_when_nobody_uses_a_former_roster() -> None:
    first, second = (Roster({}, "", None, None) for _ in range(2))
    lineup = Lineup(first)
    with lineup.using() as one, lineup.using() as two:
        assert (one, two) == (first, first)
        await asyncio.wait_for(lineup.drained(), 1)
        lineup.exchange(second)
        waiting = asyncio.ensure_future(lineup.drained())
        with lineup.using() as three:
            assert three is second
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1)


async def test_a_version_that_cannot_be_computed_is_refused(gateway: Gateway, root: Path) -> None:
    card = FolderStore(root).card("segm", 1)
    broken = root.parent / "model.onnx"
    broken.write_bytes(b"no network")
    card = Registry(FolderStore(root)).publish(card, {"model.onnx": broken})
    promote(root, card.version)
    await until(lambda: gateway.rollout.refused)
    assert "cannot be loaded" in gateway.rollout.refused[0].reason
    assert await said(gateway) == (1, 1, "champion")


async def test_a_server_that_is_away_for_a_moment_is_no_reason_to_refuse(
    gateway: Gateway, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "_RETRY_S", 0.05)
    real, failed = gateway.backend.serve, []

    async def away(cards: list[ModelCard]) -> None:
        if not failed:
            failed.append(cards)
            raise Unavailable("the inference server is starting again")
        await real(cards)

    monkeypatch.setattr(gateway.backend, "serve", away)
    promote(root, 2)
    await until(lambda: failed)
    assert gateway.rollout.refused == ()
    await until(lambda: answering(gateway) == 2)
    assert await said(gateway) == (2, 2, "champion")


async def test_what_is_refused_at_the_start_is_refused_later_too(root: Path, tmp_path: Path) -> None:
    bad = with_golden(root, tmp_path, 4, 5)
    promote(root, bad, "shadow")
    async with open_gateway(chosen(root)) as gateway:
        assert [refusal.card.version for refusal in gateway.rollout.refused] == [bad]
        promote(root, 2, "challenger")
        await until(lambda: answering(gateway, "segm@challenger") == 2)
        assert answering(gateway, "segm@shadow") is None
        promote(root, bad)
        await until(lambda: [refusal.card.version for refusal in gateway.rollout.refused] == [bad])
        assert await said(gateway) == (1, 1, "champion")


async def test_a_former_champion_stands_in_for_one_that_fails_at_the_start(root: Path, tmp_path: Path) -> None:
    bad = with_golden(root, tmp_path, 4, 5)
    promote(root, bad)
    async with open_gateway(chosen(root)) as gateway:
        assert [refusal.card.version for refusal in gateway.rollout.refused] == [bad]
        assert (await said(gateway))[:2] == (1, 1)
        rollback(root)
        await until(lambda: gateway.rollout.refused == ())
        assert await said(gateway) == (1, 1, "champion")


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
    exchange = gateway.rollout.lineup.exchange
    monkeypatch.setattr(
        gateway.rollout.lineup,
        "exchange",
        lambda roster: (versions.add(roster.segmenters["segm"].card.version), exchange(roster)),
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


async def test_a_model_of_which_nothing_answers_is_in_no_other_models_way(gateway: Gateway, root: Path) -> None:
    for version in (1, 2):
        card = FolderStore(root).card("segm", version).model_copy(update={"name": "hair"})
        network = root / "segm" / str(version) / "model.onnx"
        Registry(FolderStore(root)).publish(card, {"model.onnx": network})
    broken = root.parent / "model.onnx"
    broken.write_bytes(b"no network")
    bad = Registry(FolderStore(root)).publish(card, {"model.onnx": broken}).version
    for version, alias in ((bad, "champion"), (2, "shadow")):
        Registry(FolderStore(root)).promote("hair", version, alias, "test")
    promote(root, 2)
    await until(lambda: answering(gateway) == 2)
    await until(lambda: [refusal.card.name for refusal in gateway.rollout.refused] == ["hair"])
    assert await said(gateway) == (2, 2, "champion")
    assert answering(gateway, "hair@shadow") is None


async def test_what_could_not_be_tried_out_at_the_start_is_told_and_gives_way_if_it_fails_later(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = with_golden(root, tmp_path, 4, 5)
    promote(root, bad)
    away, real = [True], opening.open_backend

    async def opened(*words: Any) -> InferenceBackend:
        backend = await real(*words)
        infer = backend.infer

        async def perhaps(*words: Any) -> Any:
            if away:
                raise Unavailable("the inference server does not answer")
            return await infer(*words)

        monkeypatch.setattr(backend, "infer", perhaps)
        return backend

    monkeypatch.setattr(opening, "open_backend", opened)
    monkeypatch.setattr(rollout, "_RETRY_S", 0.05)
    async with open_gateway(chosen(root)) as gateway:
        assert ("segm", bad) in gateway.rollout.untried
        assert (answering(gateway), answering(gateway, "segm:1")) == (bad, None)
        away.clear()
        await until(lambda: answering(gateway) == 1)
        assert gateway.rollout.untried == set()
        assert [refusal.card.version for refusal in gateway.rollout.refused] == [bad]
        assert (await said(gateway))[:2] == (1, 1)
