"""Which pictures show no people, so that they may stand behind, or be pasted over, a labelled face."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError, read_rgb
from fpan_training.data.packages import SOURCES, SourceError
from fpan_training.engine.progress import track
from fpan_training.files import cache_folder, write_whole

_LOOKS = ((640, 0.5), (1280, 0.6))
"""Longer sides in pixels at which a picture is looked at, and scores from which a face counts as seen there. Low: dogs
and monkeys are taken for people then, which costs a background; somebody who is not seen would be labelled background.
The larger size is for people far away. ``benchmarks/studies/people.py`` measures what that finds.
"""
_VERSION = 1
"""Of the way of looking: what an older one found is not used."""


def people_free(folder: Path, cache: Path | None = None) -> list[Path]:
    """The pictures (``.jpg``) of a folder in which YuNet sees no face, in order of their names.

    Hands, legs and people from behind stay.

    Args:
        folder: the backgrounds; it is only read.
        cache: folder that keeps what was seen, so that every picture is looked at once; None:
            :func:`fpan_training.files.cache_folder`.

    Raises:
        DataError: the folder has no pictures, or all of them show people; a picture is not readable; the package with
            the detector is not installed.
    """
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise DataError(f"{folder} has no backgrounds (.jpg)")
    key = hashlib.sha256(f"{_VERSION} {folder.resolve()}".encode()).hexdigest()[:16]
    memory = (cache or cache_folder()) / f"people-{key}.json"
    known = _read(memory)
    states = {path: _state(path) for path in files}
    new = [path for path, state in states.items() if known.get(path.name, {}).get("state") != state]
    if new:
        detector = _yunet()
        for path in track(new, f"looking for people in {folder.name}"):
            known[path.name] = {"state": states[path], "people": shows_people(read_rgb(path), detector)}
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_whole(memory, json.dumps(dict(sorted(known.items())), indent=0).encode())
    free = [path for path in files if not known[path.name]["people"]]
    if new:
        print(f"{folder}: {len(files) - len(free)} of {len(files)} pictures show people or look like it: left out")
    if not free:
        raise DataError(f"all {len(files)} pictures in {folder} show people: they cannot be backgrounds")
    return free


def shows_people(image: NDArray[np.uint8], detector: cv2.FaceDetectorYN) -> bool:
    """Whether the detector sees a face in a picture, RGB uint8 (H, W, 3)."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    for side, score in _LOOKS:
        scale = side / max(bgr.shape[:2])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        # A strip has a pixel at least; the detector's own score column is the last.
        size = tuple(max(1, round(edge * scale)) for edge in bgr.shape[1::-1])
        view = cv2.resize(bgr, size, interpolation=how)
        detector.setInputSize(size)
        faces = detector.detect(view)[1]
        if faces is not None and faces[:, -1].max() >= score:
            return True
    return False


def _yunet() -> cv2.FaceDetectorYN:
    """YuNet, from the package that ships it."""
    try:
        content = np.frombuffer(SOURCES["yunet"].onnx_bytes(), np.uint8)
    except SourceError as error:
        raise DataError(f"people in backgrounds are found by YuNet, but {error}") from error
    score = min(score for _, score in _LOOKS)
    return cv2.FaceDetectorYN.create("onnx", content, np.empty(0, np.uint8), (640, 640), score)


def _state(path: Path) -> list[int]:
    """What changes when a file does: its size in bytes and its time of change in ns."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _read(memory: Path) -> dict[str, dict[str, object]]:
    """What was seen before; nothing where the file cannot be used."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
