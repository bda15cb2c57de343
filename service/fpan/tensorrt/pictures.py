"""Pictures that a plan is judged on and INT8 is calibrated with: aligned crops, as the network gets them."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.contract import ModelCard
from fpan.tensorrt.trtexec import EngineError

GOLDEN_FILE = "golden.npz"
"""Pictures that a version carries: ``images``, uint8 (N, S, S, 3), RGB."""
_IMAGES = "images"
_HINT = "name aligned face crops with --pictures: a folder of them, or an .npz whose `images` is uint8 (N, S, S, 3)"


def load_pictures(source: Path | None, version: Path, card: ModelCard) -> NDArray[np.uint8]:
    """The pictures, RGB, uint8 (N, S, S, 3), S being the network's input size in pixels.

    Args:
        source: an .npz file or a folder of pictures; None takes what the version carries.
        version: the version's folder.
        card: its card.

    Raises:
        EngineError: there are none, or they do not fit.
    """
    if source is None:
        source = version / GOLDEN_FILE
        if not source.is_file():
            raise EngineError(f"{card.name} version {card.version} carries no {GOLDEN_FILE}: {_HINT}")
    if source.is_dir():
        return _folder(source, card.input_size)
    if not source.is_file():
        raise EngineError(f"there is no {source}: {_HINT}")
    return _archive(source, card.input_size)


def _archive(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            images = archive[_IMAGES]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise EngineError(f"{path} has no pictures `{_IMAGES}` ({error}): {_HINT}") from error
    if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3) or not len(images):
        raise EngineError(f"{path}: `{_IMAGES}` is {images.dtype} {images.shape}, not uint8 (N, {size}, {size}, 3)")
    return np.ascontiguousarray(images)


def _folder(path: Path, size: int) -> NDArray[np.uint8]:
    images = []
    for file in sorted(path.iterdir()):
        bgr = cv2.imread(str(file), cv2.IMREAD_COLOR) if file.is_file() else None
        if bgr is None:
            continue
        if bgr.shape[0] != bgr.shape[1]:
            raise EngineError(f"{file} is {bgr.shape[1]} x {bgr.shape[0]} pixels: an aligned crop is square")
        crop = cv2.resize(bgr, (size, size), interpolation=cv2.INTER_AREA)
        images.append(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB))
    if not images:
        raise EngineError(f"there is no picture in {path}: {_HINT}")
    return np.stack(images).astype(np.uint8)
