"""Which versions the gateway serves, by which names, and when it refuses to start."""

import shutil
from pathlib import Path

import pytest
from fpan.contract import ModelRepository, RepositoryError
from fpan.contract.card import ANY, Tensor
from fpan.registry import FolderStore, Registry
from fpan.serve.app import open_gateway
from fpan.serve.config import Settings
from fpan.serve.rollout.served import served_versions

from tests.support.networks import echo, publish
from tests.support.service import ROOT

SHIPPED = ROOT / "model_repository"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    shutil.copytree(SHIPPED / "detector", root / "detector")
    for _ in range(3):
        publish(root, "segm", echo(), None)
    return root


@pytest.fixture
def settings(root: Path) -> Settings:
    return Settings(model_repository=root, backend="in-process", runtime_threads=1)


def promote(root: Path, version: int, alias: str = "champion", name: str = "segm") -> None:
    Registry(FolderStore(root)).promote(name, version, alias, "test")


def served(settings: Settings) -> dict[str, tuple[int, str | None]]:
    versions = served_versions(settings)
    return {name: (each.card.version, alias) for each in versions for name, alias in each.names.items()}


def test_without_aliases_the_highest_version_is_served(settings: Settings) -> None:
    assert served(settings) == {
        **{"detector": (2, None), "detector:2": (2, None)},
        **{"segm": (3, None), "segm:3": (3, None)},
    }


def test_the_champion_answers_and_the_other_aliases_answer_to_their_names(root: Path, settings: Settings) -> None:
    promote(root, 1)
    promote(root, 3, "challenger")
    promote(root, 1, "shadow")
    names = {name: what for name, what in served(settings).items() if name.startswith("segm")}
    assert names == {
        "segm": (1, "champion"),
        "segm:1": (1, "champion"),
        "segm@champion": (1, "champion"),
        "segm@shadow": (1, "shadow"),
        "segm:3": (3, "challenger"),
        "segm@challenger": (3, "challenger"),
    }


def test_without_a_champion_the_highest_version_answers_beside_the_aliases(root: Path, settings: Settings) -> None:
    promote(root, 2, "shadow")
    assert served(settings)["segm"] == (3, None)
    assert served(settings)["segm@shadow"] == (2, "shadow")


def test_a_broken_version_that_nobody_asks_for_is_in_nobodys_way(root: Path, settings: Settings) -> None:
    promote(root, 1)
    (root / "segm/3/card.json").unlink()
    (root / "segm/.writing-4-x").mkdir()
    assert served(settings)["segm"] == (1, "champion")


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("segm/3/card.json", "card.json is missing: the version was not written whole"),
        ("segm/3/model.onnx", "model.onnx is missing"),
    ],
)
async def test_a_version_that_was_not_written_whole_is_refused_at_start(
    root: Path, settings: Settings, path: str, word: str
) -> None:
    (root / path).unlink()
    with pytest.raises(RepositoryError, match=word):
        async with open_gateway(settings):
            pass


@pytest.mark.parametrize("path", ["segm/3/card.json", "segm/3/model.onnx"])
async def test_a_version_that_was_changed_or_cut_off_is_refused_at_start(
    root: Path, settings: Settings, path: str
) -> None:
    whole = (root / path).read_bytes()
    for data in (whole.replace(b"u", b"v", 1), whole[: len(whole) // 2]):
        (root / path).write_bytes(data)
        with pytest.raises(RepositoryError, match=r"was changed|cut off"):
            async with open_gateway(settings):
                pass


@pytest.mark.parametrize("alias", ["champion", "shadow"])
def test_an_alias_of_a_version_that_is_gone_is_refused_at_start(root: Path, settings: Settings, alias: str) -> None:
    promote(root, 2, alias)
    shutil.rmtree(root / "segm/2")
    with pytest.raises(RepositoryError, match=f"version 2 is {alias}, but it is gone"):
        served(settings)


def test_versions_with_other_tensors_are_not_served_side_by_side(root: Path, settings: Settings) -> None:
    promote(root, 3, "shadow")
    publish(root, "segm", echo(), None, size=64)
    with pytest.raises(RepositoryError, match="segm version 3 has other inputs or outputs than version 4"):
        served(settings)


@pytest.mark.parametrize("sizes", [(), ((640, 640), (224, 224))], ids=["none", "too small for a cell"])
def test_a_detector_that_would_find_nothing_is_refused_with_what_to_do(
    settings: Settings, sizes: tuple[tuple[int, int], ...]
) -> None:
    shipped = ModelRepository(SHIPPED).card("detector", 2)
    side = ANY if sizes else 640
    old = shipped.model_copy(
        update={"sizes": sizes, "inputs": (Tensor(name="image", dtype="UINT8", shape=(side, side, 3)),)}
    )
    network = SHIPPED / "detector" / "2" / "model.onnx"
    Registry(FolderStore(settings.model_repository)).publish(old, {"model.onnx": network}, version=3)
    with pytest.raises(RepositoryError, match=r"version 3 does not list the sizes.*fpan-train detector --version 4"):
        served_versions(settings)


def test_the_detector_is_one_version(root: Path, settings: Settings) -> None:
    promote(root, 2, "challenger", "detector")
    assert [each.card.version for each in served_versions(settings) if each.card.name == "detector"] == [2]
