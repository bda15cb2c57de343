"""The model repository in an object store: a real local server that speaks S3."""

import asyncio
import json
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from fpan.cli._app import main
from fpan.contract import ModelCard, RepositoryError
from fpan.registry import AliasMoved, FolderStore, Registry, VersionExists, fetch, open_store
from fpan.registry import objects as s3
from fpan.serve.app import open_gateway
from fpan.serve.config import Settings
from fpan.tensorrt.tree import write_tree

from tests.support.networks import echo, publish
from tests.support.s3 import running as running_s3
from tests.support.service import ROOT

boto3 = pytest.importorskip("boto3", reason="the extra [s3] is not installed")

NAME, BUCKET = "segm", "models"
SHIPPED = ROOT / "model_repository"


@pytest.fixture(scope="module")
def endpoint():
    with running_s3() as environment:
        yield environment


@pytest.fixture
def client(endpoint, monkeypatch):
    for name, value in endpoint.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield client
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def network(tmp_path) -> tuple[ModelCard, dict[str, Path]]:
    """A card and its files, for publishing."""
    card = publish(tmp_path / "local", NAME, echo())
    return card, {"model.onnx": tmp_path / "local/segm/1/model.onnx"}


@pytest.fixture
def registry(client, network) -> Registry:
    registry = Registry(open_store(f"s3://{BUCKET}/team/faces/"))
    for _ in range(4):
        registry.publish(*network)
    return registry


def promote(registry: Registry, version: int, alias: str = "champion") -> None:
    registry.promote(NAME, version, alias, f"promote {version}")


def keys(client) -> set[str]:
    return {found["Key"] for found in client.list_objects_v2(Bucket=BUCKET)["Contents"]}


def test_a_version_is_there_once_its_card_is(registry, client, network):
    assert registry.store.names() == [NAME]
    assert registry.store.versions(NAME) == [1, 2, 3, 4]
    client.put_object(Bucket=BUCKET, Key="team/faces/segm/5/model.onnx", Body=b"half of a network")
    assert registry.store.versions(NAME) == [1, 2, 3, 4]
    assert registry.publish(*network).version == 6
    with pytest.raises(VersionExists, match="or is being written"):
        registry.publish(*network, version=5)
    with pytest.raises(VersionExists):
        registry.publish(*network, version=2)


def test_promotions_rollbacks_and_history(registry, client):
    for version in (1, 2, 3):
        promote(registry, version)
    assert registry.rollback(NAME, "champion", "back").version == 2
    assert registry.rollback(NAME, "champion", "back").version == 1
    with pytest.raises(RepositoryError, match="knows no champion before"):
        registry.rollback(NAME, "champion", "back")
    assert [c.version for c in registry.store.history(NAME).changes] == [1, 2, 3, 2, 1]
    assert {f"team/faces/segm/history/{n:08}.json" for n in range(1, 6)} <= keys(client)


def test_a_share_travels(registry, tmp_path):
    promote(registry, 1)
    registry.promote(NAME, 4, "challenger", "a quarter", 0.25)
    fetch(registry.store, tmp_path / "copy")
    assert FolderStore(tmp_path / "copy").aliases(NAME).share == 0.25


def test_of_two_who_take_a_promotion_back_one_does(registry):
    for version in (1, 2, 3):
        promote(registry, version)
    before = registry.store.aliases(NAME)
    with registry.store.writer(NAME) as slow:
        assert registry.rollback(NAME, "champion", "back", expect=3).version == 2
        with pytest.raises(AliasMoved, match="has just moved"):
            slow.move(before)
    with pytest.raises(AliasMoved, match="not champion any more"):
        registry.rollback(NAME, "champion", "back", expect=3)
    assert registry.store.aliases(NAME).aliases["champion"] == 2


def test_a_move_that_did_not_reach_the_history_is_added_by_the_next(registry, client):
    promote(registry, 1)
    promote(registry, 2)
    client.delete_object(Bucket=BUCKET, Key="team/faces/segm/history/00000002.json")
    assert [c.version for c in registry.store.history(NAME).changes] == [1, 2]
    promote(registry, 3)
    assert "team/faces/segm/history/00000002.json" in keys(client)


@pytest.mark.parametrize("first", [True, False])
def test_of_two_that_move_an_alias_at_once_one_is_told(registry, first):
    if not first:
        promote(registry, 1)
    other = Registry(open_store(registry.store.address))
    with registry.store.writer(NAME) as writer:
        promote(other, 2)
        change = other.store.history(NAME).changes[-1].model_copy(update={"version": 3})
        with pytest.raises(RepositoryError, match="another command has just moved an alias"):
            writer.move(registry.store.aliases(NAME).moved(change))
    assert registry.store.aliases(NAME).aliases == {"champion": 2}


def test_all_that_publish_at_once_get_versions_of_their_own(registry, network):
    published: list[int] = []

    def work() -> None:
        own = Registry(open_store(registry.store.address))
        published.append(own.publish(*network).version)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(published)) == 4
    for version in published:
        registry.store.verify(registry.store.card(NAME, version))


def test_clearing_up_takes_whole_versions_and_what_was_left_long_ago(registry, client, monkeypatch):
    promote(registry, 1)
    client.put_object(Bucket=BUCKET, Key="team/faces/segm/7/model.onnx", Body=b"half")
    assert registry.clean(NAME, keep=2).leftovers == ()  # it may yet be finished
    monkeypatch.setattr(s3, "STALE", timedelta(0))
    plan = registry.clean(NAME, keep=1)
    assert plan.leftovers == ("7/model.onnx",)
    assert registry.store.versions(NAME) == [1, 4]
    assert not [key for key in keys(client) if "/segm/2/" in key or "/segm/7/" in key]


@pytest.mark.parametrize(
    ("file", "data", "word"),
    [
        ("model.onnx", b"something else", "was changed"),
        ("model.onnx", None, "is missing"),
        ("card.json", b"{", "cut off"),
        ("card.json", None, "has no version 2"),
    ],
)
def test_a_version_that_is_not_as_it_was_written_is_refused(registry, client, file, data, word):
    key = f"team/faces/segm/2/{file}"
    if data is None:
        client.delete_object(Bucket=BUCKET, Key=key)
    else:
        client.put_object(Bucket=BUCKET, Key=key, Body=data)
    with pytest.raises(RepositoryError, match=word):
        promote(registry, 2)
    assert registry.store.aliases(NAME).aliases == {}


CHILD = """
import os, signal, sys
from pathlib import Path
from fpan.registry import Registry, open_store
from fpan.storage import objects

address, last, call, file = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
registry = Registry(open_store(address))
steps = 0

def dying(function):
    def called(*args, **kwargs):
        global steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return called

for name in ("put", "delete"):
    setattr(objects.Bucket, name, dying(getattr(objects.Bucket, name)))
if call == "publish":
    registry.publish(registry.store.card("segm", 1), {"model.onnx": file})
elif call == "promote":
    registry.promote("segm", 3, "champion", "promote")
else:
    registry.clean("segm", keep=1)
"""


@pytest.mark.parametrize("call", ["publish", "promote", "gc"])
def test_a_crash_at_any_step_leaves_a_state_from_which_the_next_call_goes_on(registry, network, call):
    for version in (1, 2):
        promote(registry, version)
    for step in range(1, 40):
        child = [sys.executable, "-c", CHILD, registry.store.address, str(step), call, str(network[1]["model.onnx"])]
        ended = subprocess.run(child, capture_output=True, text=True, timeout=60)
        assert ended.returncode in (-9, 0), ended.stderr
        for version in registry.store.versions(NAME):
            registry.store.verify(registry.store.card(NAME, version))
        history = registry.store.history(NAME)
        assert registry.store.aliases(NAME).aliases["champion"] == history.changes[-1].version
        assert [c.serial for c in history.changes] == list(range(1, len(history.changes) + 1))
        if ended.returncode == 0:
            break
        if call == "promote":  # else the next step would find it done
            promote(registry, 2)
    assert ended.returncode == 0


def test_the_gateway_fetches_what_it_serves(client, network, tmp_path, monkeypatch):
    address = f"s3://{BUCKET}"
    registry = Registry(open_store(address))
    for _ in range(3):
        registry.publish(*network)
    promote(registry, 1)
    promote(registry, 2, "shadow")
    shipped = FolderStore(SHIPPED)
    files = {"model.onnx": shipped.folder("detector", 2) / "model.onnx"}
    registry.publish(shipped.card("detector", 2), files)
    fetch(registry.store, tmp_path / "copy")
    assert FolderStore(tmp_path / "copy").versions(NAME) == [1, 2]

    async def serve() -> list[str]:
        settings = Settings(model_repository=address, backend="in-process", runtime_threads=1)
        async with open_gateway(settings) as gateway:
            return sorted(gateway.rollout.model_router.now.segmenters)

    expected = ["segm", "segm:1", "segm:2", "segm@champion", "segm@shadow"]
    assert asyncio.run(serve()) == expected
    settings = Settings(model_repository=address)
    assert write_tree(tmp_path / "tree", settings, "ngc-cpu", "onnxruntime", 1, 1, 1) == ["detector", "segm"]
    client.put_object(Bucket=BUCKET, Key="segm/2/model.onnx", Body=b"something else")
    with pytest.raises(RepositoryError, match="was changed"):
        asyncio.run(serve())


def test_the_commands_take_its_address(registry, monkeypatch, capsys):
    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["fpan", "models", *words, "--repository", registry.store.address])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    assert run("promote", NAME, "2") == "segm: champion is version 2, was nothing\n"
    assert [v["version"] for v in json.loads(run("list", "--json"))] == [1, 2, 3, 4]
    assert "segm version 2 (champion)" in run("show", NAME)
    assert run("diff", "segm:1", "segm:2") == "no difference\n"
    assert "segm: version 1 stays: among the newest 5" in run("gc", NAME, "--dry-run")


@pytest.mark.parametrize(
    ("address", "word"), [("s3://", "names no bucket"), ("s3://nobody/x", "s3://nobody/x: .*NoSuchBucket")]
)
def test_an_address_that_leads_nowhere_is_told(client, address, word):
    with pytest.raises(RepositoryError, match=word):
        open_store(address).names()


def test_without_the_extra_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(RepositoryError, match=r"boto3.*pip install .*\[s3\]"):
        open_store("s3://models")
