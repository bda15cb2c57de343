"""What a caller may ask of a parse, and how it is read from words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from fpan.contract.face import Box
from fpan.serve.api.errors import BadRequest, Impossible

FacesOption = Literal["auto", "full"] | tuple[Box, ...]
PICTURE_OUTPUTS = ("png", "overlay", "cutout", "confidence", "redact")
"""Outputs that are a picture within JSON too: indexed label map, tinted photo, RGBA cut-out, grey confidence, and the
photo with its faces covered."""
DIRECT_OUTPUTS = (*PICTURE_OUTPUTS, "alpha")
"""Outputs that can be a picture answer by themselves; ``alpha`` is the soft mask of all kept classes together."""
OUTPUTS = ("rle", *PICTURE_OUTPUTS, "polygons", "alpha", "npz")
REDACT_STYLES = ("blur", "pixelate", "fill")
MAX_DEADLINE_MS = 10 * 60 * 1000
MAX_TOLERANCE = 100.0
"""Pixels that a simplified outline may be asked to stray at most."""
_SHOWING = ("overlay", "cutout")
"""Outputs that show the faces which ``redact`` covers."""
_FOUND = frozenset({"rle", "png", "confidence", "polygons", "alpha", "npz"})
"""Outputs without a pixel of the picture. What is not among them is never kept."""
_SHOWN = 40
"""Characters of a refused value that a message shows."""


@dataclass(frozen=True)
class ParseOptions:
    """Options of one parse. Names are those of the query parameters and of the JSON body."""

    faces: FacesOption = "auto"
    """``auto`` finds them, ``full`` is the picture as one aligned face, boxes are [[x0, y0, x1, y1], ...] in pixels."""
    max_faces: int | None = None
    """Most faces to parse, the largest first; None leaves it at the server's limit."""
    classes: tuple[str, ...] = ()
    """Names of classes to keep; all others become background. Empty keeps all."""
    groups: tuple[str, ...] = ()
    """Names of groups of classes to keep, beside ``classes``."""
    output: tuple[str, ...] = ()
    """Of :data:`OUTPUTS`. Empty: ``rle`` in JSON, ``png`` for a picture."""
    tolerance: float | None = None
    """Of ``polygons``: how far an outline may run from the true border, in pixels; 0 is exact. None leaves it at the
    server's."""
    redact: Literal["blur", "pixelate", "fill"] | None = None
    """How ``output=redact`` covers; None is ``blur``."""
    abstain: float | None = None
    """Least confidence, 0 to 1, of a labelled pixel; those below it become 255. None labels all."""
    face_masks: bool = True
    """Whether each face has a mask of its own beside the picture's; else that is empty, and costs nothing."""
    frame: Literal["image", "crop"] = "image"
    """Whose pixels label maps have: the picture's, or those of each face's aligned crop."""
    taxonomy: str = ""
    """Another order of the classes, one of the taxonomy's remaps, that ids follow; empty is the model's own."""
    orientation: Literal["exif", "raw"] = "exif"
    """Turn the picture upright as its EXIF data says, or take its pixels as they lie."""
    model: str = ""
    """``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``; empty is the server's own."""
    deadline_ms: int | None = None
    """Time the answer may take; None leaves it at the server's."""

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> "ParseOptions":
        """From query parameters (words) or JSON members (values).

        Raises:
            BadRequest: an unknown option or a value that is not of its kind.
            Impossible: a box with no inside.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(members) - known):
            raise BadRequest(f"unknown option {_shown(unknown[0])}; known: {', '.join(sorted(known))}")
        # These may be empty, which is the server's own: messages of gRPC have no other word for it.
        if empty := [name for name, value in members.items() if value == "" and name not in ("model", "taxonomy")]:
            raise BadRequest(f"the option {empty[0]!r} is empty: give it a value or leave it out")
        read: dict[str, Any] = {name: _READERS[name](name, value) for name, value in members.items()}
        options = cls(**read)
        options.check()
        return options

    @property
    def wants_alpha(self) -> bool:
        """Whether soft masks are among the answer: asked for, or named classes in an ``npz``."""
        return "alpha" in self.output or ("npz" in self.output and bool(self.classes or self.groups))

    @property
    def shows_picture(self) -> bool:
        """Whether pixels of the picture are in the answer: it holds something else than what was found in it."""
        return not set(self.output) <= _FOUND

    def check(self) -> None:
        """Whether the options go together.

        Raises:
            BadRequest: what ``redact`` covers would be shown elsewhere, or turned where nobody can turn it back.
        """
        if "redact" not in self.output:
            if self.redact:
                raise BadRequest("redact says how output=redact covers: ask for that output")
            return
        if shown := [output for output in self.output if output in _SHOWING]:
            raise BadRequest(f"output {shown[0]} shows the faces that redact covers: ask for one of them")
        if self.orientation == "raw":
            raise BadRequest(
                "redact drops EXIF, so nobody could turn a raw picture upright later: leave orientation out"
            )
        if self.abstain is not None:
            raise BadRequest("redact covers what is uncertain by a rule of its own: leave abstain out")
        if self.frame == "crop":
            raise BadRequest("redact covers faces in the picture itself: leave frame=crop out")


def _shown(value: Any) -> str:
    """A value for a message: never longer than a line, and never walked through, however deep it is nested."""
    if isinstance(value, list | dict):
        numbers = isinstance(value, list) and len(value) <= 4 and all(isinstance(v, int | float) for v in value)
        return f"[{', '.join(_shown(v) for v in value)}]" if numbers else "a list or an object"
    if isinstance(value, str):
        return repr(value[:_SHOWN])
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)[:_SHOWN]


def _faces(name: str, value: Any) -> FacesOption:
    if value in ("auto", "full"):
        return "auto" if value == "auto" else "full"
    boxes = value
    if isinstance(value, str):
        try:
            boxes = json.loads(value)
        except (ValueError, RecursionError):
            boxes = None
    if not isinstance(boxes, list) or not boxes:
        raise BadRequest(f"{name} is 'auto', 'full' or boxes in pixels such as [[10, 20, 110, 140]]")
    return tuple(_box(box) for box in boxes)


def _box(value: Any) -> Box:
    numbers = isinstance(value, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    if not numbers or len(value) != 4 or not all(abs(v) < 1e9 for v in value):
        raise BadRequest(f"a box is four numbers [x0, y0, x1, y1] in pixels, not {_shown(value)}")
    x0, y0, x1, y1 = (float(v) for v in value)
    if x1 - x0 < 1 or y1 - y0 < 1:
        raise Impossible(f"the box {_shown(value)} has no inside: x1 and y1 must exceed x0 and y0 by a pixel")
    return x0, y0, x1, y1


def _whole(low: int, high: int) -> Any:
    def read(name: str, value: Any) -> int:
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
            raise BadRequest(f"{name} is a whole number from {low} to {high}, not {_shown(value)}")
        return number

    return read


def _number(low: float, high: float) -> Any:
    def read(name: str, value: Any) -> float:
        try:
            number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        except (ValueError, OverflowError):
            number = None
        if number is None or not low <= number <= high:
            raise BadRequest(f"{name} is a number from {low:g} to {high:g}, not {_shown(value)}")
        return number

    return read


def _names(name: str, value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) and item.strip() for item in items):
        raise BadRequest(f"{name} is a list of names, such as {name}=hair,skin")
    return tuple(item.strip() for item in items)


def _output(name: str, value: Any) -> tuple[str, ...]:
    names = _names(name, value)
    if unknown := [n for n in names if n not in OUTPUTS]:
        raise BadRequest(f"unknown output {_shown(unknown[0])}: the outputs are {', '.join(OUTPUTS)}")
    return names


def _one_of(*choices: str) -> Any:
    def read(name: str, value: Any) -> str:
        if value not in choices:
            raise BadRequest(f"{name} is one of {', '.join(choices)}, not {_shown(value)}")
        return str(value)

    return read


def _flag(name: str, value: Any) -> bool:
    known = {"true": True, "false": False, True: True, False: False}
    if isinstance(value, str | bool) and value in known:
        return known[value]
    raise BadRequest(f"{name} is true or false, not {_shown(value)}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{name} is text")
    return value


_READERS: dict[str, Any] = {
    "faces": _faces,
    "max_faces": _whole(1, 10_000),
    "classes": _names,
    "groups": _names,
    "output": _output,
    "tolerance": _number(0, MAX_TOLERANCE),
    "redact": _one_of(*REDACT_STYLES),
    "abstain": _number(0, 1),
    "face_masks": _flag,
    "frame": _one_of("image", "crop"),
    "taxonomy": _text,
    "orientation": _one_of("exif", "raw"),
    "model": _text,
    "deadline_ms": _whole(1, MAX_DEADLINE_MS),
}
