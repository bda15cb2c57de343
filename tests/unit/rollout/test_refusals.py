"""Versions that fail, were changed or cannot be read are kept out of traffic, and what answered goes on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fpan.contract import GOLDEN_FILE, AliasName, Change, GoldenPictures, ModelCard, RepositoryError
from fpan.contract.card import Precision
from fpan.registry import FolderStore, Registry
from fpan.serve import app as opening
from fpan.serve.api.errors import Unavailable
from fpan.serve.app import Gateway, open_gateway
from fpan.serve.inference.backend import InferenceBackend
from fpan.serve.rollout import controller as rollout
from fpan.serve.rollout.validation import ValidationFailed, validate
from fpan.serve.telemetry.traces import NO_TRACE

from tests.support.networks import pictures, publish_saying
from tests.support.rollouts import answering, chosen, loaded, promote, rollback, said, three_versions, until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return three_versions(tmp_path / "models")


@pytest.fixture
async def gateway(root: Path) -> AsyncIterator[Gateway]:
    async with open_gateway(chosen(root)) as gateway:
        yield gateway


def golden(card: ModelCard, label: int, tmp_path: Path) -> Path:
    size = card.input_size
    path = tmp_path / GOLDEN_FILE
    GoldenPictures(pictures(3, size=size), np.full((3, size, size), label, np.uint8)).write(path)
    return path


def with_golden(root: Path, tmp_path: Path, label: int, must: int) -> int:
    """Publishes a version that says ``label`` where its golden pictures want ``must``."""
    card = FolderStore(root).card("segm", 1)
    return publish_saying(root, label, {GOLDEN_FILE: golden(card, must, tmp_path)}).version


@pytest.mark.parametrize(
    ("precision", "right", "passes"),
    [("fp32", 0.99, False), ("int8", 0.99, True), ("bf16", 0.99, True), ("int8", 0.97, False)],
)
async def test_versions_in_int8_and_bf16_may_round_as_other_runtimes_do_not(
    root: Path, tmp_path: Path, precision: Precision, right: float, passes: bool
) -> None:
    card = FolderStore(root).card("segm", 1).model_copy(update={"precision": precision})
    golden(card, 1, tmp_path)
    card = card.model_copy(update={"files": {**card.files, GOLDEN_FILE: "0" * 64}})

    class Backend:
        async def infer(self, name, version, inputs, outputs, timeout_s, trace=NO_TRACE):
            labels = np.ones(inputs["images"].shape[:3], np.uint8)
            labels[:, : round((1 - right) * 10 * labels.shape[1]), : labels.shape[2] // 10] = 0
            return {"labels": labels}

    trial = validate(Backend(), card, tmp_path, 0.995, 8, 1.0)
    if passes:
        await trial
    else:
        with pytest.raises(ValidationFailed, match=r"less than 9\d\.\d0%"):
            await trial


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
        assert ("segm", bad) in gateway.rollout.unvalidated
        assert (answering(gateway), answering(gateway, "segm:1")) == (bad, None)
        away.clear()
        await until(lambda: answering(gateway) == 1)
        assert gateway.rollout.unvalidated == set()
        assert [refusal.card.version for refusal in gateway.rollout.refused] == [bad]
        assert (await said(gateway))[:2] == (1, 1)
