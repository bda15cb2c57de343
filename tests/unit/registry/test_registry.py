"""The model repository as it is written to: versions, aliases, history, and what is refused."""

import fcntl
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from fpan.contract import ModelRepository, Reference, RepositoryError
from fpan.contract.card import ANY
from fpan.registry import AliasMoved, FolderStore, Registry, VersionExists, folder
from fpan.registry.replicas import promote_everywhere

from tests.support.networks import echo, publish

NAME = "segm"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for _ in range(4):
        publish(tmp_path / "models", NAME, echo(), None)
    return tmp_path / "models"


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(FolderStore(root))


def promote(registry: Registry, version: int, alias: str = "champion") -> None:
    registry.promote(NAME, version, alias, f"promote {version}")


def champion(registry: Registry) -> int | None:
    return registry.store.aliases(NAME).aliases.get("champion")


def test_versions_count_up_and_none_is_written_over(registry: Registry, root: Path) -> None:
    assert registry.store.versions(NAME) == [1, 2, 3, 4]
    with pytest.raises(VersionExists, match="write version 4"):
        publish(root, NAME, echo(), 3)
    assert not registry.store.leftovers(NAME)


def test_a_number_that_an_alias_ever_named_is_not_used_again(registry: Registry, root: Path) -> None:
    promote(registry, 4)
    promote(registry, 3)
    shutil.rmtree(root / NAME / "4")
    assert publish(root, NAME, echo(), None).version == 5


def test_without_a_champion_the_highest_version_answers(registry: Registry, root: Path) -> None:
    repository = ModelRepository(root)
    assert repository.current(NAME) == 4
    promote(registry, 2)
    assert repository.current(NAME) == 2
    assert repository.resolve(Reference.parse("segm@champion")) == 2
    assert repository.resolve(Reference.parse("segm:3")) == 3


def test_rollbacks_walk_back_and_a_promotion_begins_a_new_line(registry: Registry) -> None:
    for version in (1, 2, 3):
        promote(registry, version)
    walked = [registry.rollback(NAME, "champion", "back").version for _ in range(2)]
    assert walked == [2, 1]
    with pytest.raises(RepositoryError, match=r"knows no champion before.*promote segm VERSION"):
        registry.rollback(NAME, "champion", "back")
    promote(registry, 4)
    assert registry.rollback(NAME, "champion", "back").version == 1
    assert champion(registry) == 1


def test_promoting_the_champion_again_is_no_step_to_take_back(registry: Registry) -> None:
    for version in (1, 2, 2):
        promote(registry, version)
    assert registry.rollback(NAME, "champion", "back").version == 1


def test_another_alias_can_be_taken_away_again(registry: Registry) -> None:
    promote(registry, 1)
    promote(registry, 2, "shadow")
    assert registry.store.aliases(NAME).aliases == {"champion": 1, "shadow": 2}
    assert registry.rollback(NAME, "shadow", "back").version is None
    assert registry.store.aliases(NAME).aliases == {"champion": 1}


def test_the_history_says_who_was_what_when_and_by_which_command(registry: Registry) -> None:
    promote(registry, 1)
    promote(registry, 2)
    registry.rollback(NAME, "champion", "back")
    changes = registry.store.history(NAME).changes
    assert [(c.serial, c.command, c.before, c.version) for c in changes] == [
        *((1, "promote 1", None, 1), (2, "promote 2", 1, 2), (3, "back", 2, 1))
    ]
    assert all(c.at.endswith("+00:00") for c in changes)
    assert changes[1].sha256 == registry.store.card(NAME, 2).sha256


def test_a_torn_last_line_is_told_and_mended_by_the_next_move(registry: Registry, root: Path) -> None:
    promote(registry, 1)
    promote(registry, 2)
    path = root / NAME / "history.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    history = registry.store.history(NAME)
    assert history.unreadable == (2,)
    assert [c.version for c in history.changes] == [1, 2]  # the move itself is in aliases.json
    promote(registry, 3)
    assert path.read_bytes().startswith(whole)
    assert registry.store.history(NAME).unreadable == ()
    assert [c.version for c in registry.store.history(NAME).changes] == [1, 2, 3]


def test_a_lost_or_damaged_history_stops_no_promotion(registry: Registry, root: Path) -> None:
    for version in (1, 2, 3):
        promote(registry, version)
    path = root / NAME / "history.jsonl"
    first, _, last = path.read_text().splitlines()
    path.write_text(f"{first}\nnot a move\n{last}\n")
    assert registry.store.history(NAME).unreadable == (2,)
    assert registry.store.history(NAME).former("champion", 3) == (2, 1, None)  # moves say where they come from
    path.unlink()
    promote(registry, 4)
    assert registry.rollback(NAME, "champion", "back").version == 3


def test_clearing_up_leaves_aliases_the_former_champion_and_the_newest(registry: Registry, root: Path) -> None:
    for _ in range(4):
        publish(root, NAME, echo(), None)
    for version in (1, 2, 3):
        promote(registry, version)
    promote(registry, 4, "shadow")
    plan = registry.clean(NAME, keep=2, dry_run=True)
    assert registry.store.versions(NAME) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert registry.clean(NAME, keep=2) == plan
    assert plan.removed == (1, 5, 6)
    assert plan.kept == {
        2: "the former champion",
        3: "champion",
        4: "shadow",
        7: "among the newest 2",
        8: "among the newest 2",
    }
    assert registry.store.versions(NAME) == [2, 3, 4, 7, 8]
    assert registry.clean(NAME, keep=2).removed == ()
    registry.rollback(NAME, "champion", "back")
    with pytest.raises(RepositoryError, match=r"version 1, which was champion of segm before, is gone: .*promote"):
        registry.rollback(NAME, "champion", "back")


def test_clearing_up_takes_what_crashes_left_and_never_what_is_broken(registry: Registry, root: Path) -> None:
    for leftover in (".writing-5-abc", ".removing-0"):
        (root / NAME / leftover).mkdir()
        (root / NAME / leftover / "model.onnx").write_bytes(b"half")
    (root / NAME / "1/card.json").unlink()
    plan = registry.clean(NAME, keep=1)
    assert plan.leftovers == (".removing-0", ".writing-5-abc")
    assert registry.store.leftovers(NAME) == []
    assert registry.store.versions(NAME) == [1, 4]
    assert plan.kept[1].startswith("broken")


def truncated(version: Path) -> None:
    data = (version / "model.onnx").read_bytes()
    (version / "model.onnx").write_bytes(data[: len(data) // 2])


def changed_card(version: Path) -> None:
    path = version / "card.json"
    path.write_text(path.read_text().replace("a network for tests", "a better network"))


def torn_card(version: Path) -> None:
    os.truncate(version / "card.json", 200)


def missing_file(version: Path) -> None:
    (version / "model.onnx").unlink()


def missing_card(version: Path) -> None:
    (version / "card.json").unlink()


def exchanged(version: Path) -> None:
    shutil.rmtree(version)
    shutil.copytree(version.with_name("1"), version)


SPOILT = {
    truncated: "was changed",
    changed_card: "was changed after it was written",
    torn_card: "cut off",
    missing_file: "is missing",
    missing_card: "not written whole",
    exchanged: "is the card of segm version 1",
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_version_that_is_not_as_it_was_written_is_never_promoted(registry: Registry, root: Path, spoil) -> None:
    promote(registry, 1)
    before = (root / NAME / "aliases.json").read_bytes()
    spoil(root / NAME / "2")
    with pytest.raises(RepositoryError, match=SPOILT[spoil]):
        promote(registry, 2)
    assert (root / NAME / "aliases.json").read_bytes() == before
    assert len(registry.store.history(NAME).changes) == 1
    assert [v.version for v in registry.versions(NAME)] == [1, 2, 3, 4]


def test_a_card_without_a_digest_is_an_old_one(registry: Registry, root: Path) -> None:
    path = root / NAME / "2/card.json"
    members = json.loads(path.read_text())
    del members["digest"]
    path.write_text(json.dumps(members))
    promote(registry, 2)


def test_a_version_that_is_not_there_is_answered_with_those_that_are(registry: Registry, root: Path) -> None:
    with pytest.raises(RepositoryError, match=r"no version 9.*it has 1, 2, 3, 4"):
        promote(registry, 9)
    with pytest.raises(RepositoryError, match=r"no model 'lips'.*it has segm"):
        registry.promote("lips", 1, "champion", "x")
    assert not (root / "lips").exists()


def test_an_alias_whose_version_is_gone_is_told_and_can_be_mended(registry: Registry, root: Path) -> None:
    promote(registry, 2)
    shutil.rmtree(root / NAME / "2")
    assert registry.dangling(NAME) == {"champion": 2}
    with pytest.raises(RepositoryError, match=r"version 2 is champion, but it is gone: .*promote segm VERSION"):
        registry.store.resolve(Reference(NAME))
    promote(registry, 3)
    assert registry.store.resolve(Reference(NAME)) == 3


@pytest.mark.parametrize("text", ["{", '{"aliases": {"champion": "two"}}', '{"aliases": {"winner": 2}}', ""])
def test_aliases_that_the_registry_did_not_write_are_refused(registry: Registry, root: Path, text: str) -> None:
    (root / NAME / "aliases.json").write_text(text)
    with pytest.raises(RepositoryError, match=r"aliases\.json was changed or damaged"):
        registry.store.resolve(Reference(NAME))


def test_versions_that_would_answer_side_by_side_have_the_same_tensors(registry: Registry, root: Path) -> None:
    promote(registry, 1)
    publish(root, NAME, echo(), 5, size=64)
    with pytest.raises(RepositoryError, match="another model name"):
        promote(registry, 5, "challenger")
    assert champion(registry) == 1


def test_one_writes_at_a_time(registry: Registry, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LOCK_TIMEOUT_S", 0.1)
    with (root / NAME / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RepositoryError, match="by another command"):
            promote(registry, 1)
    promote(registry, 1)


def test_a_write_that_fails_leaves_nothing_and_says_what_failed(registry: Registry, root: Path, tmp_path: Path) -> None:
    card = registry.store.card(NAME, 1)
    with pytest.raises(RepositoryError, match=r"cannot write to the model repository: .*nowhere"):
        registry.publish(card, {"model.onnx": tmp_path / "nowhere"})
    assert registry.store.versions(NAME) == [1, 2, 3, 4]
    assert registry.store.leftovers(NAME) == []


@pytest.mark.parametrize("text", ["", "segm:", "segm:x", "segm@", "segm@winner", ":1", "@champion", "segm:1@shadow"])
def test_what_names_no_version_is_told_how_to_name_one(text: str) -> None:
    with pytest.raises(ValueError, match="NAME@ALIAS"):
        Reference.parse(text)


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "a:1", "a@b"])
def test_no_card_has_a_name_or_a_file_that_leads_elsewhere(registry: Registry, name: str) -> None:
    card = registry.store.card(NAME, 1).model_dump()
    for members in ({**card, "name": name}, {**card, "files": {name: "0" * 64}}):
        with pytest.raises(ValueError, match="pattern"):
            type(registry.store.card(NAME, 1)).model_validate(members)


def test_a_card_says_how_large_open_inputs_are(registry: Registry) -> None:
    card = registry.store.card(NAME, 1)
    size = card.input_size
    opened = [{**card.inputs[0].model_dump(), "shape": (ANY, ANY, 3)}]
    told = {**card.model_dump(), "inputs": opened, "sizes": [(size, size), (size, size // 2)]}
    assert type(card).model_validate(told).input_sizes == ((size, size), (size, size // 2))
    wrong = ({"sizes": []}, {"sizes": [(size, size // 2)]}, {"inputs": card.inputs})
    for members in wrong:
        with pytest.raises(ValueError, match="sizes"):
            type(card).model_validate({**told, **members})


def test_a_challengers_share_is_kept_until_the_challenger_or_the_champion_moves(registry: Registry, root: Path) -> None:
    def share() -> float:
        return ModelRepository(root).aliases(NAME).share

    promote(registry, 1)
    registry.promote(NAME, 2, "challenger", "a", 0.05)
    promote(registry, 3, "shadow")
    assert share() == 0.05
    registry.promote(NAME, 2, "challenger", "b", 0.2)
    assert [v.share for v in registry.versions(NAME)] == [0, 0.2, 0, 0]
    promote(registry, 4)
    assert share() == 0
    registry.promote(NAME, 2, "challenger", "c", 0.5)
    assert registry.rollback(NAME, "challenger", "back").version is None
    assert share() == 0
    assert [c.share for c in registry.store.history(NAME).changes] == [0, 0.05, 0, 0.2, 0, 0.5, 0]
    waited = SimpleNamespace(until=lambda *_: None)
    promote_everywhere(registry, NAME, 3, "challenger", "e", waited, 0.1)
    assert share() == 0.1
    with pytest.raises(ValueError, match="champion has no share"):
        registry.promote(NAME, 1, "champion", "d", 0.5)


def test_aliases_from_before_there_were_shares_are_read(registry: Registry, root: Path) -> None:
    promote(registry, 1)
    promote(registry, 2, "challenger")
    for path in (root / NAME / "aliases.json", root / NAME / "history.jsonl"):
        text = path.read_text()
        path.write_text(re.sub(r',?\s*"share": ?0\.0', "", text))
        assert "share" in text
        assert "share" not in path.read_text()
    assert registry.store.aliases(NAME).aliases == {"champion": 1, "challenger": 2}
    assert registry.store.aliases(NAME).share == 0
    assert len(registry.store.history(NAME).changes) == 2
    assert not registry.store.history(NAME).unreadable


def test_of_many_who_take_a_promotion_back_the_first_does(registry: Registry) -> None:
    for version in (1, 2, 3):
        promote(registry, version)
    assert registry.rollback(NAME, "champion", "first", expect=3).version == 2
    with pytest.raises(AliasMoved, match="version 3 of segm is not champion any more"):
        registry.rollback(NAME, "champion", "second", expect=3)
    assert champion(registry) == 2
