"""The command `fpan-train`."""

from collections.abc import Callable

import tyro

from fpan_training.segm.register import Register
from fpan_training.segm.train import SegmTraining


def main() -> None:
    """Reads the command line and runs what it names."""
    commands: dict[str, Callable[..., object]] = {"segm": SegmTraining, "register": Register}
    command = tyro.extras.subcommand_cli_from_dict(commands, description=__doc__)
    command()


if __name__ == "__main__":
    main()
