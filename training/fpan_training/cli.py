"""The command `fpan-train`."""

from collections.abc import Callable

import tyro

from fpan_training.alignment import AlignmentFit
from fpan_training.detector.build import DetectorBuild
from fpan_training.segm.compare import Compare
from fpan_training.segm.register import Register
from fpan_training.segm.train import SegmTraining

COMMANDS: dict[str, Callable[..., object]] = {
    "segm": SegmTraining,
    "compare": Compare,
    "register": Register,
    "detector": DetectorBuild,
    "alignment": AlignmentFit,
}


def main() -> None:
    """Reads the command line and runs what it names."""
    tyro.extras.subcommand_cli_from_dict(COMMANDS, description=__doc__)()


if __name__ == "__main__":
    main()
