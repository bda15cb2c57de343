"""A result as arrays in one file for numpy."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan.contract import Taxonomy
from fpan.serve.api.errors import TooLarge
from fpan.serve.pipeline.encode.pictures import class_mask
from fpan.serve.pipeline.settings import PipelineSettings
from fpan.serve.pipeline.types import ParseResult

_LEVEL = 1
"""Of deflate: labels shrink to a hundredth at any level."""
_LANDMARKS = (5, 2)


def arrays_npz(result: ParseResult, taxonomy: Taxonomy, rules: PipelineSettings) -> bytes:
    """An ``.npz`` without pickles, for ``numpy.load``; the same bytes for the same result.

    ``labels`` and ``confidence``, uint8 (H, W), or (faces, size, size) with ``frame=crop``; ``class_names`` in the
    order of their ids and ``taxonomy``, the name of the set; ``box`` float32 (faces, 4), ``score`` float32 (faces,) and
    ``landmarks`` float32 (faces, 5, 2), NaN where the detector was not asked. With soft masks ``alpha``, uint8
    (classes, H, W), the largest of several faces', or (faces, classes, size, size), and ``alpha_ids`` uint8 (classes,).
    With ``frame=crop`` ``matrix``, float64 (faces, 2, 3), from the picture's pixels to each crop's.

    Raises:
        TooLarge: the soft masks, stacked, have more bytes than they may.
    """
    faces = result.faces
    blank = np.full(_LANDMARKS, np.nan, np.float32)
    members: dict[str, NDArray[Any]] = {
        "labels": result.labels,
        "confidence": result.confidence,
        "taxonomy": np.array(taxonomy.name),
        "class_names": np.array([c.name for c in taxonomy.classes]),
        "box": np.array([face.box for face in faces], np.float32).reshape(-1, 4),
        "score": np.array([np.nan if face.score is None else face.score for face in faces], np.float32),
        "landmarks": np.array(
            [blank if face.landmarks is None else face.landmarks for face in faces], np.float32
        ).reshape(-1, *_LANDMARKS),
    }
    if result.frame == "crop":
        size = faces[0].crop.size if faces and faces[0].crop else 0
        members["labels"] = np.array([face.labels for face in faces], np.uint8).reshape(len(faces), size, size)
        members["confidence"] = np.array([face.confidence for face in faces], np.uint8).reshape(len(faces), size, size)
        members["matrix"] = np.array([face.crop.matrix for face in faces if face.crop]).reshape(-1, 2, 3)
    if ids := sorted({mask.id for face in faces for mask in face.alpha}):
        members["alpha_ids"] = np.array(ids, np.uint8)
        members["alpha"] = _stacked(result, ids, rules.max_alpha_bytes)
    return _zipped(members)


def _stacked(result: ParseResult, ids: list[int], most: int) -> NDArray[np.uint8]:
    if result.frame == "crop":
        return np.stack([[class_mask(face, number) for number in ids] for face in result.faces])
    if (needed := len(ids) * result.width * result.height) > most:
        raise TooLarge(f"the soft masks have {needed} bytes, more than {most}: name fewer classes, or ask for JSON")
    stack = np.zeros((len(ids), result.height, result.width), np.uint8)
    for face in result.faces:
        for mask in face.alpha:
            x0, y0, x1, y1 = mask.window
            part = stack[ids.index(mask.id), y0:y1, x0:x1]
            np.maximum(part, mask.values, out=part)
    return stack


def _zipped(members: Mapping[str, NDArray[Any]]) -> bytes:
    """As ``numpy.savez_compressed``, but faster and without the time of day."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, values in members.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(values), allow_pickle=False)
    return file.getvalue()
