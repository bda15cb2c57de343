"""Options of a parse request, and how they are written as query parameters."""

import json
import warnings
from collections.abc import Sequence
from typing import Any, Literal, TypedDict, get_args

Faces = Literal["auto", "full"] | Sequence[Sequence[float]]
Drawing = Literal["png", "overlay", "cutout", "confidence", "redact"]
"""A picture that the server draws: indexed label map, tinted photo, RGBA cut-out, grey confidence, photo with its faces
covered."""
Shape = Literal["polygons", "alpha", "npz"]
"""What a result can hold besides label maps: outlines, soft masks, a file of arrays."""
Output = Drawing | Shape
"""What a response can hold besides its masks, as the query parameter ``output`` names it."""
DRAWINGS: tuple[Drawing, ...] = get_args(Drawing)


def outputs(output: Sequence[Output], **former: Sequence[Any]) -> tuple[Output, ...]:
    """The requested outputs without repeats, with those given under deprecated argument names. Each of these warns."""
    for name, wanted in former.items():
        if wanted:
            warnings.warn(f"{name} is called output: parse(..., output={[*wanted]})", DeprecationWarning, stacklevel=4)
    return tuple(dict.fromkeys((*output, *(each for wanted in former.values() for each in wanted))))


class Options(TypedDict, total=False):
    """Options of a parse request. The server chooses the value of options that are left out or None."""

    faces: Faces
    """``auto`` detects faces; ``full`` takes the picture as one aligned face; or boxes (x0, y0, x1, y1) in pixels."""
    max_faces: int | None
    """Maximum number of faces to parse; the largest are kept."""
    classes: Sequence[str]
    """Names of the classes to keep; all others become background. Empty, with empty ``groups``, keeps all."""
    groups: Sequence[str]
    """Names of groups of classes to keep, in addition to ``classes``."""
    tolerance: float | None
    """Maximum distance of ``polygons`` from the true border, in pixels; 0 is exact."""
    redact: Literal["blur", "pixelate", "fill"] | None
    """How the output ``redact`` covers the faces, or the parts that ``classes`` and ``groups`` name."""
    abstain: float | None
    """Minimum confidence, 0 to 1, of a labelled pixel; pixels below it become 255."""
    face_masks: bool
    """Whether each face has its own mask in addition to the picture's. False leaves those empty: a smaller response."""
    frame: Literal["image", "crop"]
    """The pixel grid of the label maps: that of the picture, or that of each face's aligned crop."""
    taxonomy: str | None
    """An alternative order of class ids, one of the taxonomy's ``remaps``."""
    orientation: Literal["exif", "raw"]
    """``exif`` rotates the picture upright by its EXIF orientation; ``raw`` takes the pixels as they are stored."""
    model: str | None
    """``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``."""
    deadline_ms: int | None
    """Time limit for the answer in milliseconds, including retries and the waits between them."""


def known(options: Options) -> Options:
    """Returns the options unchanged.

    Raises:
        TypeError: an option does not exist.
    """
    if unknown := sorted(set(options) - Options.__optional_keys__):
        names = ", ".join(sorted(Options.__optional_keys__))
        raise TypeError(f"unknown option {unknown[0]!r}: the options are {names}")
    return options


def query(options: Options) -> dict[str, str]:
    """The options as query parameters, without the deadline, which each attempt sets; errors as :func:`known`."""
    told = {name: word(name, value) for name, value in known(options).items() if name != "deadline_ms"}
    return {name: text for name, text in told.items() if text}


def word(name: str, value: Any) -> str:
    """The value of an option as the text of a query parameter; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    if name == "faces":  # an empty list is sent too: the server refuses it and does not detect faces
        return json.dumps([[float(number) for number in box] for box in value])
    return ",".join(value)
