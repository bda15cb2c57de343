"""What a row of the table of quality is, and what it is measured of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fpan_training.evaluate.quality.network import Network, parse
from fpan_training.evaluate.quality.pictures import PictureSet, draw_sheet
from fpan_training.evaluate.quality.results import RowResult


class Answer(NamedTuple):
    """What the service said of a picture."""

    labels: NDArray[np.uint8]
    """Label map of the whole picture, uint8 (H, W)."""
    faces: int
    """That it found."""


Service = Callable[[Path, Literal["auto", "full"]], Answer]
"""A picture's file and the option ``faces`` to what the service says of it."""


@dataclass(frozen=True)
class Subject:
    """What is measured."""

    network: Network
    service: Service | None
    """A service with this network; None where there is none, as for a checkpoint in training."""
    folder: Path
    """For contact sheets, which show people and are not for publication."""

    def draw(self, row: str, pictures: PictureSet, errors: Sequence[float]) -> None:
        """Draws the contact sheet of a row, ``ROW.png``: the pictures with the largest errors."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{row}.png"
        draw_sheet(path, pictures, errors, lambda image: parse(self.network, image).labels, self.network.taxonomy)


class Row(Protocol):
    """A row of the table of quality."""

    name: ClassVar[str]
    definition: ClassVar[int]
    """Raised whenever what is measured changes: figures of different definitions are not set beside each other."""

    def __call__(self, subject: Subject) -> RowResult:
        """Measures it."""
        ...
