"""Aliases of the model repository, as the running service answers to them."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fpan import Client
from fpan.registry import FolderStore, Registry

from tests.support import service as services


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network twice, the first champion, the second challenger."""
    root = tmp_path_factory.mktemp("registry") / "models"
    shutil.copytree(services.ROOT / "model_repository", root)
    registry = Registry(FolderStore(root))
    first = registry.store.card("segm", registry.store.versions("segm")[-1])
    folder = registry.store.folder("segm", first.version)
    second = registry.publish(first, {name: folder / name for name in first.files})
    registry.promote("segm", first.version, "champion", "test")
    registry.promote("segm", second.version, "challenger", "test")
    return root


@pytest.fixture(scope="module")
def service(root: Path) -> Iterator[services.Service]:
    with services.running({"MODEL_REPOSITORY": str(root)}) as running:
        yield running


def test_each_name_is_answered_by_its_version_and_says_so(service, root, astronaut_jpeg):
    aliases = FolderStore(root).aliases("segm").aliases
    champion, challenger = aliases["champion"], aliases["challenger"]
    expected = {
        "": (champion, "champion"),
        "segm": (champion, "champion"),
        "segm@champion": (champion, "champion"),
        f"segm:{champion}": (champion, "champion"),
        "segm@challenger": (challenger, "challenger"),
        f"segm:{challenger}": (challenger, "challenger"),
    }
    with Client(service.url) as client:
        for name, what in expected.items():
            model = client.parse(astronaut_jpeg, model=name or None).model
            assert (model.version, model.alias) == what, name


def test_an_alias_that_is_not_given_is_answered_with_those_that_are(service, astronaut_jpeg):
    for name in ("segm@shadow", "segm@best"):
        answer = httpx.post(f"{service.url}/v1/parse", params={"model": name}, content=astronaut_jpeg, timeout=60)
        assert answer.status_code == 404
        assert "segm@challenger, segm@champion" in answer.json()["detail"]


def test_the_models_are_listed_with_their_aliases(service):
    listed = httpx.get(f"{service.url}/v1/models").json()["models"]
    assert [(m["name"], m["aliases"]) for m in listed] == [
        *(("detector", []), ("segm", ["champion"]), ("segm", ["challenger"]))
    ]
    one = httpx.get(f"{service.url}/v1/models/segm@challenger").json()
    assert one == listed[2]
    assert httpx.get(f"{service.url}/v1/models/segm").json() == listed[1]
    assert httpx.get(f"{service.url}/v1/models/segm@shadow").status_code == 404


def test_an_alias_of_a_version_that_is_gone_is_told_at_start(root, tmp_path):
    copy = tmp_path / "models"
    shutil.copytree(root, copy)
    champion = FolderStore(copy).aliases("segm").aliases["champion"]
    shutil.rmtree(copy / "segm" / str(champion))
    port, grpc_port = map(str, services.free_ports(2))
    chosen = services.environment(PORT=port, GRPC_PORT=grpc_port, MODEL_REPOSITORY=str(copy))
    done = subprocess.run(services.command(), env=chosen, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("fpan serve: ")
    assert f"version {champion} is champion, but it is gone" in said
    assert "Traceback" not in done.stderr
