"""The command `fpan-train`: what it lists, what it says to words that it does not know, and that all of it is there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from fpan_training import cli
from fpan_training.commands import COMMANDS, GROUPS
from fpan_training.data.check import Check

from tests.support.service import ROOT


def _said(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.read(words)
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_help_lists_every_command_in_its_group_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _said(["--help"], capsys)
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    for title, group in GROUPS.items():
        at = lines.index(f"{title}:")
        for name, line in zip(group, lines[at + 1 :], strict=False):
            assert line.split("  ")[1] == name
            assert line.endswith(group[name].about)
    assert _said([], capsys)[0] == 2


def test_help_needs_no_torch() -> None:
    code = "import sys; from fpan_training import cli; cli.overview(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_modules_are_listed_where_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["train"], ["train", "--help"]):
        _, out, _ = _said(words, capsys)
        assert [line.split()[1] for line in out.splitlines()[4:]] == ["segm", "lom", "dom", "uvm", "ppm"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["segm", "--data", "x"], "did you mean train segm or report segm?"),
        (["train", "lomm"], "no command 'train lomm'; did you mean train lom"),
        (["landmark", "--data", "x"], "did you mean landmarks"),
        (["dessert"], "there is no command 'dessert'; `fpan-train --help` lists them all"),
    ],
)
def test_words_that_are_no_command_are_told_in_one_line(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = _said(words, capsys)
    assert (code, out) == (2, "")
    assert meant in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_says_what_it_does(name: str) -> None:
    found = COMMANDS[name].load()
    assert callable(found.__call__)
    assert found.__doc__


def test_options_are_read_and_what_is_wrong_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["check", "--data", str(tmp_path / "nowhere")]
    assert cli.read(words) == Check((tmp_path / "nowhere",))
    monkeypatch.setattr(sys, "argv", ["fpan-train", "merge", "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert str(ended.value).startswith("fpan-train: these data sets cannot be merged:")


def _documented() -> Iterator[tuple[str, str, list[str]]]:
    """Commands of the pages: where, the command's words, the options that it is given."""
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]):
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^\s{4,}(?:\S+=\S+ )*(?:\S*/)?fpan-train (.*)$", text, flags=re.M):
            words = line.split("#")[0].split()
            name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS), "")
            options = [word for word in words if word.startswith("--")]
            yield f"{page.relative_to(ROOT)}: {line}", name, options


def _options(kind: Any) -> set[str]:
    """The options of a command's class, up to a dot; a member that is called nothing gives its own."""
    found: set[str] = set()
    for name, hint in get_type_hints(kind, include_extras=True).items():
        given = [each.name for each in getattr(hint, "__metadata__", ()) if getattr(each, "name", None) is not None]
        called = given[0] if given else name.replace("_", "-")
        found |= {called} if called else _options(get_args(hint)[0])
    return found


def test_pages_name_commands_and_options_that_there_are() -> None:
    known: dict[str, set[str]] = {}
    wrong = []
    for where, name, options in _documented():
        if not name:
            wrong.append(where)
            continue
        if name not in known:
            known[name] = _options(COMMANDS[name].load()) | {"preset", "help"}
        for option in options:
            first = option.removeprefix("--").split(".")[0]
            if not {first, first.removeprefix("no-")} & known[name]:
                wrong.append(f"{where}: {option}")
    assert not wrong, "\n".join(wrong)
    assert len(known) > 12
