"""The command `fpan-train`: what it lists, what it says to words that it does not know, and that all of it is there."""

import subprocess
import sys
from pathlib import Path

import pytest
from fpan_training import cli
from fpan_training.commands import COMMANDS, GROUPS
from fpan_training.data.check import Check


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
