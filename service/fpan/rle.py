"""COCO run lengths: label maps as short text, in numpy alone.

A mask is read column by column (column-major), and its run lengths alternate between outside and inside, beginning
with outside; ``counts`` is the compressed text of those lengths that COCO tools write (``pycocotools.mask``): from the
fourth length on, each is stored as its difference from the length two before it; numbers are cut into groups of five
bits, the lowest first, a sixth bit says that more follow, and 48 is added to make a printable character. A label map
is one such text for each class that occurs; the background is what no class covers::

    {"encoding": "coco_rle", "order": "column-major", "size": [height, width],
     "classes": [{"id": 17, "name": "hair", "counts": "..."}, ...]}
"""

from collections.abc import Mapping
from typing import Final, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

ENCODING: Final = "coco_rle"
_FIRST_CHARACTER = 48
_MORE, _SIGN, _BITS = 0x20, 0x10, 5
_MAX_GROUPS = 12
"""Groups of a number at most; 12 x 5 bits hold every length below 2**59."""

Counts = NDArray[np.int64]
"""Alternating run lengths, int64 (N,), the first outside the mask."""


class ClassCounts(TypedDict):
    """One class of a label map."""

    id: int
    name: str
    counts: str


class LabelRle(TypedDict):
    """A label map as it stands in JSON."""

    encoding: Literal["coco_rle"]
    order: Literal["column-major"]
    size: list[int]
    """Height and width in pixels."""
    classes: list[ClassCounts]
    """Those that occur, by rising id."""


def encode(mask: NDArray[np.bool_]) -> str:
    """A mask, bool (H, W), as compressed counts."""
    return compress(mask_counts(mask))


def decode(counts: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask, bool (H, W), of compressed counts.

    Args:
        counts: As :func:`encode` gives them.
        size: Height and width in pixels.

    Raises:
        ValueError: no run lengths, or they do not add up to the size.
    """
    height, width = size
    flat = np.zeros(height * width, np.bool_)
    first, inside = _inside(counts, size)
    flat[first : first + inside.size] = inside
    return flat.reshape(width, height).T


def encode_classes(
    labels: NDArray[np.uint8],
    names: Mapping[int, str],
    window: tuple[int, int, int, int] | None = None,
    size: tuple[int, int] | None = None,
) -> LabelRle:
    """A label map, uint8 (H, W), as the JSON object that the module describes.

    Args:
        labels: A whole label map, or a window of one.
        names: The classes to write: name by id. Pixels of any other id are left to the background.
        window: What ``labels`` covers of the whole map: x0, y0, x1, y1, the last two exclusive; all of it without.
        size: Height and width of the whole map; without, that of ``labels``.

    Raises:
        ValueError: the window is not of the shape of ``labels`` or does not lie in the map.
    """
    rows, columns = labels.shape
    height, width = size or (rows, columns)
    x0, y0, x1, y1 = window or (0, 0, columns, rows)
    if (y1 - y0, x1 - x0) != (rows, columns) or min(x0, y0) < 0 or y1 > height or x1 > width:
        raise ValueError(f"the window {(x0, y0, x1, y1)} of {rows} x {columns} does not lie in {height} x {width}")
    classes: list[ClassCounts] = []
    if labels.size:
        starts, ends, values = _column_runs(labels, x0, y0, height)
        for value in np.unique(values).tolist():
            if value in names:
                mine = values == value
                counts = _alternate(starts[mine], ends[mine], height * width)
                classes.append({"id": value, "name": names[value], "counts": compress(counts)})
    return {"encoding": ENCODING, "order": "column-major", "size": [height, width], "classes": classes}


def decode_classes(rle: LabelRle, *, background: int = 0) -> NDArray[np.uint8]:
    """The label map, uint8 (H, W), of such an object; ``background`` where no class is.

    Raises:
        ValueError: another encoding, or counts that do not fit the size.
    """
    if rle["encoding"] != ENCODING:
        raise ValueError(f"the encoding {rle['encoding']!r} is not {ENCODING}")
    height, width = rle["size"]
    flat = np.full(height * width, background, np.uint8)
    for one in rle["classes"]:
        first, inside = _inside(one["counts"], (height, width))
        flat[first : first + inside.size][inside] = one["id"]
    return flat.reshape(width, height).T


def mask_counts(mask: NDArray[np.bool_]) -> Counts:
    """The run lengths of a mask, bool (H, W): COCO's uncompressed ``counts``."""
    flat = np.asarray(mask, np.bool_).T.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate(([0], edges, [flat.size]))
    counts = np.diff(bounds)
    return np.concatenate(([0], counts)) if flat.size and flat[0] else counts


def compress(counts: Counts) -> str:
    """Run lengths as COCO's text."""
    numbers = np.asarray(counts, np.int64).copy()
    numbers[3:] -= counts[1:-2]
    characters = np.empty((numbers.size, _MAX_GROUPS), np.uint8)
    used = np.zeros((numbers.size, _MAX_GROUPS), np.bool_)
    more = np.ones(numbers.size, np.bool_)
    for group in range(_MAX_GROUPS):
        low = numbers & 0x1F
        numbers = numbers >> _BITS
        used[:, group] = more
        # A number ends where the rest is nothing but the sign that its last group already shows.
        more = more & (numbers != np.where(low & _SIGN, -1, 0))
        characters[:, group] = low + np.where(more, _MORE, 0) + _FIRST_CHARACTER
        if not more.any():
            break
    return characters[used].tobytes().decode("ascii")


def decompress(text: str) -> Counts:
    """The run lengths of COCO's text.

    Raises:
        ValueError: it is no such text.
    """
    if not text.isascii():
        raise ValueError("run lengths are plain ASCII")
    groups = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if groups.size == 0:
        return np.zeros(0, np.int64)
    last = (groups & _MORE) == 0
    if groups.min() < 0 or groups.max() > 0x3F or not last[-1]:
        raise ValueError("these are no run lengths: a character is none of theirs, or the last number has no end")
    starts = np.concatenate(([0], np.flatnonzero(last)[:-1] + 1))
    position = np.arange(groups.size) - np.repeat(starts, np.diff(np.append(starts, groups.size)))
    if position.max() >= _MAX_GROUPS:
        raise ValueError("a run length is longer than any picture")
    numbers = np.add.reduceat((groups & 0x1F) << (_BITS * position), starts)
    signed = (groups[last] & _SIGN) != 0
    numbers[signed] -= np.int64(1) << (_BITS * (position[last][signed] + 1))
    # Undo the differences: lengths 1, 3, 5, ... and 2, 4, 6, ... are running sums; the very first stands alone.
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def _inside(text: str, size: tuple[int, int]) -> tuple[int, NDArray[np.bool_]]:
    """Where a mask begins in column-major order, and the mask, bool (N,), from there to its last pixel."""
    height, width = size
    runs = decompress(text)
    # The lengths are checked one by one before they are added: a sum of huge ones could wrap round to the right size.
    if runs.size and (runs.min() < 0 or runs.max() > height * width):
        raise ValueError(f"a run length lies outside 0 to {height * width}")
    if runs.sum() != height * width:
        raise ValueError(f"the run lengths add up to {runs.sum()} pixels, not to {height} x {width}")
    inner = runs[1 : runs.size // 2 * 2]
    return int(runs[:1].sum()), np.repeat(np.arange(inner.size) % 2 == 0, inner)


def _column_runs(labels: NDArray[np.uint8], x: int, y: int, height: int) -> tuple[Counts, Counts, NDArray[np.uint8]]:
    """Runs of equal labels down each column of a window: start and end in the whole map's column-major order, label."""
    rows = labels.shape[0]
    flat = np.ascontiguousarray(labels.T).ravel()
    breaks = np.empty(flat.size, np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=breaks[1:])
    breaks[::rows] = True
    starts = np.flatnonzero(breaks)
    ends = np.append(starts[1:], flat.size)
    offset = (starts // rows + x) * height + y - starts // rows * rows
    return starts + offset, ends + offset, flat[starts]


def _alternate(starts: Counts, ends: Counts, total: int) -> Counts:
    """Alternating run lengths from the pieces of one class, those that touch each other joined."""
    apart = starts[1:] != ends[:-1]
    bounds = np.stack([starts[np.append(True, apart)], ends[np.append(apart, True)]], axis=1).ravel()
    if bounds[-1] != total:
        bounds = np.append(bounds, total)
    return np.diff(bounds, prepend=0)
