"""`python -m tools.cli_page` makes docs/reference/cli.md from the commands of `fpan`; a test compares the two."""

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
_TITLE = "Command line"
_HEAD = f"""# {_TITLE}

<!-- Made by `python -m tools.cli_page` from the help in service/fpan/cli: change it there. -->

This page lists every command of `fpan`, its arguments and its options, as `--help` tells them. The flags of
`fpan serve` and `fpan worker` are the [settings](settings.md). `fpan` stands for `.venv/bin/fpan`
([how it is called](../how-to/install.md#after-make-serve)).

"""


def page() -> str:
    """The whole page."""
    command = (sys.executable, "-m", "typer", "fpan.cli._app", "utils", "docs", "--name", "fpan", "--title", _TITLE)
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line.rstrip() for line in made.removeprefix(f"# {_TITLE}\n").strip().splitlines()]
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
