"""kill -9 at every step of writing: whatever was under way, the next call goes on, and readers saw old or new."""

import subprocess
import sys
from pathlib import Path

import pytest
from fpan.contract import ModelRepository
from fpan.registry import FolderStore, Registry

from tests.support.networks import echo, publish

NAME = "segm"
LONGEST = 60
"""More steps than any of the calls takes."""

CHILD = """
import os, shutil, signal, sys
from pathlib import Path
from fpan.registry import FolderStore, Registry

root, last = Path(sys.argv[1]), int(sys.argv[2])
registry = Registry(FolderStore(root))
card = registry.store.card("segm", 1)
files = {"model.onnx": registry.store.folder("segm", 1) / "model.onnx"}
steps = 0

def dying(function, halfway=None):
    def called(*args, **kwargs):
        global steps
        steps += 1
        if steps == last:
            if halfway:
                halfway(*args)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return called

def half_copied(source, target):
    data = Path(source).read_bytes()
    Path(target).write_bytes(data[: len(data) // 2])

shutil.copyfile = dying(shutil.copyfile, half_copied)
for name in ("mkdir", "open", "fsync", "rename", "replace", "chmod", "unlink", "rmdir"):
    setattr(os, name, dying(getattr(os, name)))
def half_written(path, data):
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(number, data[: len(data) // 2])

Path.write_bytes = dying(Path.write_bytes, half_written)
"""

CALLS = {
    "publish": "registry.publish(card, files)",
    "promote": 'registry.promote("segm", 3, "champion", "promote")',
    "rollback": 'registry.rollback("segm", "champion", "rollback")',
    "gc": 'registry.clean("segm", keep=1)',
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    for _ in range(5):
        publish(root, NAME, echo(), None)
    registry = Registry(FolderStore(root))
    for version in (1, 2):
        registry.promote(NAME, version, "champion", "before")
    return root


BEFORE = ((1, 2, 3, 4, 5), 2)
"""Versions and champion."""
THEN = {
    "publish": [((1, 2, 3, 4, 5, 6), 2)],
    "promote": [((1, 2, 3, 4, 5), 3)],
    "rollback": [((1, 2, 3, 4, 5), 1)],
    "gc": [((1, 2, 4, 5), 2), ((1, 2, 5), 2)],
}
"""What it goes through, the end last."""


@pytest.mark.parametrize("call", CALLS)
def test_a_crash_at_any_step_leaves_a_state_from_which_the_next_call_goes_on(
    root: Path, tmp_path: Path, call: str
) -> None:
    allowed = [BEFORE, *THEN[call]]
    seen = set()
    for step in range(1, LONGEST):
        here = tmp_path / f"step-{step}"
        subprocess.run(["cp", "-a", root, here], check=True)
        child = [sys.executable, "-c", CHILD + CALLS[call], str(here), str(step)]
        ended = subprocess.run(child, capture_output=True, text=True, timeout=60)
        assert ended.returncode in (-9, 0), ended.stderr
        repository = ModelRepository(here)
        state = (tuple(repository.versions(NAME)), repository.current(NAME))
        assert state in allowed
        seen.add(state)
        for card in repository.cards():
            repository.verify(card)
        if ended.returncode == 0:
            assert state == allowed[-1]
            break
        goes_on(Registry(FolderStore(here)), state[1])
    else:
        raise AssertionError("the call has more steps than were tried")
    assert seen == set(allowed)


def goes_on(registry: Registry, champion: int) -> None:
    """Everything works, and the history is whole."""
    changes = registry.store.history(NAME).changes
    assert changes[-1].version == champion
    fresh = publish(registry.store.root, NAME, echo(), None).version
    assert registry.store.leftovers(NAME) == []
    registry.promote(NAME, fresh, "champion", "after")
    assert registry.rollback(NAME, "champion", "back").version == champion
    history = registry.store.history(NAME)
    assert history.unreadable == ()
    assert [c.serial for c in history.changes] == list(range(1, len(changes) + 3))
    registry.clean(NAME, keep=1)
    assert champion in registry.store.versions(NAME)


def test_two_that_publish_at_once_get_two_versions(root: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", CHILD + CALLS["publish"], str(root), "0"]) for _ in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
    assert ModelRepository(root).versions(NAME) == list(range(1, 10))
