"""Which pictures show no person's face, so that they may stand behind, or be pasted over, a labelled one."""

import json
from pathlib import Path

import cv2
import numpy as np

from fpan_training.data.folder import read_rgb
from fpan_training.data.packages import SOURCES
from fpan_training.files import write_whole

_SCORE = 0.6
"""From which a face counts as seen: dogs and monkeys still do, which costs nothing; a face unlabelled would."""
_SIDE = 640
"""Longer side in pixels at which pictures are looked at."""


def yunet() -> cv2.FaceDetectorYN:
    """The YuNet face detector, from the package that ships it.

    Raises:
        SourceError: the package is missing or holds something else.
    """
    content = np.frombuffer(SOURCES["yunet"].onnx_bytes(), np.uint8)
    return cv2.FaceDetectorYN.create("onnx", content, np.empty(0, np.uint8), (_SIDE, _SIDE), _SCORE)


def people_free(folder: Path, detector: cv2.FaceDetectorYN, cache: Path) -> frozenset[str]:
    """Names of the pictures (``.jpg``) of a folder in which the detector sees no face.

    It sees faces, not people: somebody from behind stays.

    Args:
        folder: the backgrounds.
        detector: see :func:`yunet`.
        cache: JSON file of the list, best beside the run. Where it knows all of the pictures nothing is looked at.

    Raises:
        DataError: a picture is not readable.
    """
    files = sorted(folder.glob("*.jpg"))
    known: dict[str, bool] = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    for path in files:
        if path.name not in known:
            known[path.name] = not _shows_face(path, detector)
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_whole(cache, json.dumps(dict(sorted(known.items())), indent=0).encode())
    return frozenset(path.name for path in files if known[path.name])


def _shows_face(path: Path, detector: cv2.FaceDetectorYN) -> bool:
    image = cv2.cvtColor(read_rgb(path), cv2.COLOR_RGB2BGR)
    scale = _SIDE / max(image.shape[:2])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    detector.setInputSize(image.shape[1::-1])
    return detector.detect(image)[1] is not None
