"""The folders that the experiments read, and the commands that make them."""

from dataclasses import dataclass
from pathlib import Path

from fpan_training.data.folder import DataError
from fpan_training.modules.segm.data import open_stores
from fpan_training.paper.ablation.plan import Row

OCCLUDE = "fpan-train build-occluded"
"""The command that builds the occluded set."""


@dataclass(frozen=True)
class Inputs:
    """Data sets in the documented layout, and what modules of the paper made of them."""

    occluded: Path
    """Faces with occlusions laid over them and labelled, CelebAMaskOcc-HQ: ``train``, which every row trains on, and
    ``val``, covered with other pieces; perhaps also ``heldout``, covered with a family of things that no training saw.
    `fpan-train build-occluded` makes it."""
    clean: Path
    """The same kind of faces as they are, without labels of occlusion: its ``val`` is measured on."""
    posed_test: Path | None = None
    """Faces at known yaws, the yaw in their names (``..._yaw-45``), whose ``dataset.json`` says what is told apart."""
    predictions: Path | None = None
    """What LOM and PPM say: a store for each training set by its folder's name. For +PPM and after."""
    routed: Path | None = None
    """Pictures with occlusions that nobody marked, with DOM's labels. For +DOM and after."""
    posed: Path | None = None
    """Pictures turned to other poses. For +UVM."""
    backgrounds: Path | None = None
    """Pictures that replace the background while training, in all rows."""

    def check(self, rows: tuple[Row, ...]) -> None:
        """Looks whether everything is there that some rows need.

        Raises:
            DataError: something is not; all of it is named, with the commands that make it.
        """
        problems = []
        for option, folder, needed, command in (
            ("occluded", self.occluded, True, OCCLUDE),
            ("clean", self.clean, True, "fpan-train import"),
            ("routed", self.routed, any(row.routed for row in rows), "fpan-train route"),
            ("posed", self.posed, any(row.posed for row in rows), "fpan-train pose-augment"),
        ):
            if needed and (folder is None or not (folder / "images").is_dir()):
                where = "is not given" if folder is None else f"has no pictures: {folder}"
                problems.append(f"--inputs.{option} {where}; `{command}` makes it")
        weighted = [row for row in rows if row.pose or row.occlusion]
        if weighted and self.predictions is None:
            problems.append(
                "--inputs.predictions is not given; `fpan-train predictions` makes a store for each training set"
            )
        elif self.predictions is not None:
            try:
                open_stores(self.predictions, sorted({name for row in weighted for name in self.training_sets(row)}))
            except DataError as error:
                problems.append(str(error))
        if self.posed_test is not None and not (self.posed_test / "images").is_dir():
            problems.append(f"--inputs.posed-test is not there: {self.posed_test}")
        if problems:
            raise DataError("the experiments cannot be run:\n  " + "\n  ".join(problems))

    def training_sets(self, row: Row) -> tuple[str, ...]:
        """What a row trains on, the occluded set first."""
        extra = [folder for folder, used in ((self.routed, row.routed), (self.posed, row.posed)) if used and folder]
        return (str(self.occluded), *map(str, extra))
