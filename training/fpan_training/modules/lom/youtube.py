"""The 68-landmark face crops from YouTube videos: ``images/`` and ``landmarks.csv``."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError
from fpan_training.landmarks.scheme import IBUG_POINTS


def read_youtube(folder: Path) -> dict[Path, NDArray[np.float32]]:
    """The usual 68 landmarks of every picture, float32 (68, 2) in its pixels.

    A line of the file is the picture's name and 136 numbers, x and y in turn; a line of titles may precede them.

    Raises:
        DataError: the file is missing, or a line is of another form or names no picture; all of them at once.
    """
    path = folder / "landmarks.csv"
    if not path.is_file():
        raise DataError(f"{path} does not exist: it should hold a picture's name and {2 * IBUG_POINTS} numbers a line")
    marked: dict[Path, NDArray[np.float32]] = {}
    problems: list[str] = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file), 1):
            image = folder / "images" / row[0]
            try:
                points = np.array(row[1:], np.float32)
            except ValueError:
                if number > 1:
                    problems.append(f"line {number}: not all numbers")
                continue
            if points.size != 2 * IBUG_POINTS or not image.is_file():
                problems.append(f"line {number}: {row[0]}, {points.size} numbers, {image.is_file()=}")
                continue
            marked[image] = points.reshape(IBUG_POINTS, 2)
    if problems:
        raise DataError("\n  ".join([f"{path} is not usable:", *problems]))
    return marked
