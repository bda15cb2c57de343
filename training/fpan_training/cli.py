"""The command `fpan-train`. What goes wrong is told in one line; with FPAN_TRACEBACK=1 also where it was found."""

import os
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, NoReturn

from fpan_training.commands import COMMANDS, GROUPS
from fpan_training.errors import UserError

_PROGRAM = "fpan-train"
_HELP = ("-h", "--help")


def main() -> None:
    """Reads the command line and runs what it names; what is wrong with data or options is told in words."""
    try:
        _run(sys.argv[1:])
    except KeyboardInterrupt as stopped:
        _stop(stopped)


def read(words: Sequence[str]) -> Any:
    """What the words of a command line ask for, as an instance of the command's class.

    Raises:
        SystemExit: help was asked for and is printed, or the words make no command.
    """
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            return _parse(name, words[length:])
    if not words or words[0] in _HELP:
        print(overview())
        sys.exit(0 if words else 2)
    below = [name for name in COMMANDS if name.split()[0] == words[0]]
    if below and (len(words) == 1 or words[1] in _HELP):
        print(overview(below))
        sys.exit(0 if len(words) > 1 else 2)
    asked = " ".join(words[:2]) if below else words[0]
    named = [name for name in COMMANDS if words[0] == name.split()[-1]]
    alike = named or get_close_matches(asked, below or COMMANDS, n=2)
    hint = f"did you mean {' or '.join(alike)}? " if alike else ""
    print(f"{_PROGRAM}: there is no command {asked!r}; {hint}`{_PROGRAM} --help` lists them all", file=sys.stderr)
    sys.exit(2)


def overview(names: Sequence[str] = tuple(COMMANDS)) -> str:
    """The commands of these names by group, a line each."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"usage: {_PROGRAM} COMMAND [options]", f"       {_PROGRAM} COMMAND --help    tells all of its options"]
    for title, group in GROUPS.items():
        shown = [name for name in group if name in names]
        lines += ["", f"{title}:"] if shown else []
        lines += [f"  {name:{width}}{group[name].about}" for name in shown]
    return "\n".join(lines)


def _parse(name: str, words: Sequence[str]) -> Any:
    import tyro

    kind = COMMANDS[name].load()
    given = dict(pairwise(words)) | dict(word.split("=", 1) for word in words if "=" in word)
    settings = getattr(kind, "presets", {}).get(given.get("--preset"))
    # All options of a training start from its preset; what is not given here and has no default is asked for.
    default = {} if settings is None else {"default": kind(tyro.MISSING, tyro.MISSING, settings=settings)}
    return tyro.cli(kind, prog=f"{_PROGRAM} {name}", args=list(words), **default)


def _run(words: Sequence[str]) -> None:
    command = read(words)
    from fpan.contract import RepositoryError

    try:
        command()
    except (UserError, RepositoryError, ValueError, FileNotFoundError) as error:
        if os.environ.get("FPAN_TRACEBACK") == "1":
            raise
        sys.exit(f"{_PROGRAM}: {error}")


def _stop(stopped: KeyboardInterrupt) -> NoReturn:
    from fpan_training.engine.stopping import TrainingStopped

    if not isinstance(stopped, TrainingStopped):
        print(f"{_PROGRAM}: stopped", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    if not str(stopped):
        # Of several processes one tells. Fabric kills it where another ends with a status of its own.
        sys.exit(0)
    print(f"{_PROGRAM}: {stopped}", file=sys.stderr)
    sys.exit(128 + stopped.number)


if __name__ == "__main__":
    main()
