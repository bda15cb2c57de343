"""`fpan-train figures`: the paper's figures from our own models."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fpan_training.data.assets import Assets
from fpan_training.data.folder import DataError
from fpan_training.landmarks.aligned import read_template
from fpan_training.landmarks.teacher import Teacher, task_bytes
from fpan_training.modules.dom.pseudo import DeOcclusion
from fpan_training.modules.segm.checkpoint import load_network, read_config
from fpan_training.modules.segm.step import SegmStep
from fpan_training.modules.uvm.complete import Completion
from fpan_training.paper.figures import draw
from fpan_training.paper.figures.faces import Face, Image, read_face
from fpan_training.paper.routing.modules import load_lom
from fpan_training.taxonomy import TAXONOMY

NEEDS: dict[int, tuple[str, ...]] = {
    5: ("lom",),
    6: ("dom",),
    7: ("uvm", "segm"),
    11: ("segm",),
    12: ("baseline",),
    13: ("uvm", "baseline", "segm"),
}
"""Options that each figure of the paper needs."""
_JPEG_QUALITY = 88
_MADE_BY = {
    "lom": "fpan-train train lom",
    "dom": "fpan-train train dom",
    "uvm": "fpan-train train uvm",
    "segm": "fpan-train ablate, row +UVM (or fpan-train train segm)",
    "baseline": "fpan-train ablate, row SEGM (or fpan-train train segm)",
}


@dataclass(frozen=True)
class Figures:
    """Draws the paper's figures 5, 6, 7, 11, 12 and 13 with our models, of any pictures with a face each.

    A figure whose checkpoints are not given is left out, and it is said which are missing.
    """

    pictures: tuple[Path, ...]
    """Photos; of each the largest face is shown."""
    out: Path
    """Folder for ``figure5.jpg``, ..."""
    only: tuple[int, ...] = ()
    """Numbers of figures, which then must be possible; empty: all that are."""
    lom: Path | None = None
    """Checkpoint of `fpan-train train lom`."""
    dom: Path | None = None
    """Checkpoint of `fpan-train train dom`."""
    uvm: Path | None = None
    """Checkpoint of `fpan-train train uvm`."""
    segm: Path | None = None
    """Checkpoint of the whole Mask-FPAN's SEGM."""
    baseline: Path | None = None
    """Checkpoint of SEGM alone."""
    occluders: Path | None = None
    """Folder of cut-outs; those of validation are laid over the faces. Without one, shapes are drawn, which anybody may
    publish."""
    model: Path | None = None
    """The landmark teacher's file; without it, the one in the package that ships it."""

    def __call__(self) -> list[Path]:
        """Draws and returns the figures' paths.

        Raises:
            DataError: a picture shows no face, or checkpoints of a figure of ``only`` are missing.
            ValueError: ``only`` names a figure that is none of these.
        """
        if unknown := sorted(set(self.only) - set(NEEDS)):
            raise ValueError(f"there are figures {', '.join(map(str, NEEDS))}, not {', '.join(map(str, unknown))}")
        missing = {number: [o for o in NEEDS[number] if getattr(self, o) is None] for number in self.only or NEEDS}
        lines = [
            f"figure {number} needs " + " and ".join(f"--{option} ({_MADE_BY[option]})" for option in options)
            for number, options in missing.items()
            if options
        ]
        if lines and self.only:
            raise DataError("\n  ".join(["checkpoints are missing:", *lines]))
        for line in lines:
            print(f"left out: {line}")
        self.out.mkdir(parents=True, exist_ok=True)
        written = []
        for number in (number for number, options in missing.items() if not options):
            path = self.out / f"figure{number}.jpg"
            bgr = cv2.cvtColor(self._figure(number), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(path), bgr, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
            written.append(path)
        return written

    def _figure(self, number: int) -> Image:
        draws: dict[int, Callable[[], Image]] = {
            5: lambda: draw.figure_5(self.faces, load_lom(_given(self.lom)), self.assets),
            6: lambda: draw.figure_6(self.faces, DeOcclusion.load(_given(self.dom)), self.assets),
            7: lambda: draw.figure_7(self.faces, Completion.load(_given(self.uvm)), parser(_given(self.segm))),
            11: lambda: draw.figure_11(self.faces, parser(_given(self.segm)), self.assets),
            12: lambda: draw.figure_12(self.faces, parser(_given(self.baseline)), self.assets),
            13: lambda: draw.figure_13(
                self.faces,
                Completion.load(_given(self.uvm)),
                parser(_given(self.baseline)),
                parser(_given(self.segm)),
            ),
        }
        return draws[number]()

    @cached_property
    def faces(self) -> list[Face]:
        """The pictures' largest faces, aligned."""
        teacher, template = Teacher(task_bytes(self.model)), read_template()
        return [read_face(path, teacher, template) for path in self.pictures]

    @cached_property
    def assets(self) -> Assets:
        """What the faces are covered with."""
        return Assets.open(None, self.occluders, "val")


def parser(checkpoint: Path) -> draw.Parser:
    """A trained SEGM for square pictures of any size."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    config = read_config(content["segm"])
    network, step = load_network(config, content["network"]), SegmStep(TAXONOMY)

    def parse(image: Image) -> NDArray[np.uint8]:
        return step.label(network, image, config.input_size)

    return parse


def _given(path: Path | None) -> Path:
    if path is None:
        raise ValueError("this figure's checkpoint is not given")
    return path
