"""Options of a parse, and how they are written as query parameters."""

import json
import warnings
from collections.abc import Sequence
from typing import Any, Literal, TypedDict, get_args

Faces = Literal["auto", "full"] | Sequence[Sequence[float]]
Drawing = Literal["png", "overlay", "cutout", "confidence", "redact"]
"""A picture that the server draws: indexed label map, tinted photo, RGBA cut-out, grey confidence, photo with its faces
covered."""
Shape = Literal["polygons", "alpha", "npz"]
"""What a result holds beside label maps when it is asked for: outlines, soft masks, a file of arrays."""
Output = Drawing | Shape
"""What an answer may hold beside its masks, under the names of HTTP's option ``output``."""
DRAWINGS: tuple[Drawing, ...] = get_args(Drawing)


def outputs(output: Sequence[Output], **former: Sequence[Any]) -> tuple[Output, ...]:
    """The outputs that are asked for, each once, also where they are given under a former name, which warns."""
    for name, wanted in former.items():
        if wanted:
            warnings.warn(f"{name} is called output: parse(..., output={[*wanted]})", DeprecationWarning, stacklevel=4)
    return tuple(dict.fromkeys((*output, *(each for wanted in former.values() for each in wanted))))


class Options(TypedDict, total=False):
    """What may be asked of a parse. Whatever is left out or None is the server's choice."""

    faces: Faces
    """``auto`` finds them; ``full`` takes the picture as one aligned face; or boxes (x0, y0, x1, y1) in pixels."""
    max_faces: int | None
    """Most faces to parse, the largest first."""
    classes: Sequence[str]
    """Names of the classes to keep; all others become background. Empty, with empty ``groups``, keeps all."""
    groups: Sequence[str]
    """Names of groups of classes to keep, beside ``classes``."""
    tolerance: float | None
    """How far ``polygons`` may run from the true border, in pixels; 0 is exact."""
    redact: Literal["blur", "pixelate", "fill"] | None
    """How the drawing ``redact`` covers the faces, or the parts that ``classes`` and ``groups`` name."""
    abstain: float | None
    """Least confidence, 0 to 1, of a labelled pixel; those below it become 255."""
    face_masks: bool
    """Whether each face has a mask of its own beside the picture's; else that is empty, and the answer smaller."""
    frame: Literal["image", "crop"]
    """Whose pixels label maps have: the picture's, or those of each face's aligned crop."""
    taxonomy: str | None
    """Another order of the classes that ids follow, one of the taxonomy's ``remaps``."""
    orientation: Literal["exif", "raw"]
    """Turn the picture upright as its EXIF data says, or take its pixels as they lie."""
    model: str | None
    """``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``."""
    deadline_ms: int | None
    """Time the answer may take in milliseconds, retries and their waits included."""


def known(options: Options) -> Options:
    """The same.

    Raises:
        TypeError: an option that does not exist.
    """
    if unknown := sorted(set(options) - Options.__optional_keys__):
        names = ", ".join(sorted(Options.__optional_keys__))
        raise TypeError(f"unknown option {unknown[0]!r}: the options are {names}")
    return options


def query(options: Options) -> dict[str, str]:
    """The options as query parameters, all but the deadline, which each attempt tells anew; errors as :func:`known`."""
    told = {name: word(name, value) for name, value in known(options).items() if name != "deadline_ms"}
    return {name: text for name, text in told.items() if text}


def word(name: str, value: Any) -> str:
    """The value of an option as a query parameter has it; empty where it is left out."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    if name == "faces":  # no box at all, too, is no leave to find faces: the server refuses it
        return json.dumps([[float(number) for number in box] for box in value])
    return ",".join(value)
