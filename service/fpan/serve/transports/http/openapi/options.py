"""What the OpenAPI document says of the options of a parse: one table for the query and for the JSON body."""

from dataclasses import dataclass
from typing import Any

from fpan.serve.api.options import DIRECT_OUTPUTS, MAX_TOLERANCE, OUTPUTS
from fpan.serve.transports.http.openapi.components import ref

_NAMES: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_FRACTION: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}


@dataclass(frozen=True)
class Option:
    """One option, as callers may give it.

    No schema has a ``default``: generated clients send what it says, and an option that is sent counts as chosen. But
    ``redact`` is refused without ``output=redact``, and no option may be both in the query and in the body. The text
    says what holds where an option is left out.
    """

    name: str
    query: dict[str, Any]
    """Schema of the query parameter."""
    text: str
    body: dict[str, Any] | None = None
    """Schema of the member of a JSON body, where that may be more than the query parameter."""

    @property
    def parameter(self) -> dict[str, Any]:
        """The query parameter."""
        return {
            "name": self.name,
            "in": "query",
            "required": False,
            "schema": self.query,
            "description": self.text,
        }

    @property
    def member(self) -> dict[str, Any]:
        """The member of a JSON body."""
        examples = {key: self.query[key] for key in ("examples",) if key in self.query}
        return {**examples, **(self.body or self.query), "description": self.text}


OPTIONS: tuple[Option, ...] = (
    Option(
        "faces",
        {"type": "string", "examples": ["auto", "full", "[[180, 70, 290, 210]]"]},
        "`auto`, the default, finds the faces; `full` takes the whole picture as one aligned face (letterboxed); "
        "boxes are JSON, `[[x0, y0, x1, y1], ...]`, in pixels.",
        {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": ref("schemas", "FaceBox")}]},
    ),
    Option("max_faces", {"type": "integer", "minimum": 1}, "Most faces to parse, the largest first."),
    Option(
        "classes",
        {"type": "string", "examples": ["hair,skin"]},
        "Classes to keep; all others become background.",
        _NAMES,
    ),
    Option(
        "groups",
        {"type": "string", "examples": ["lips,eyes"]},
        "Groups of classes to keep, beside `classes`.",
        _NAMES,
    ),
    Option(
        "output",
        {"type": "string", "examples": ["rle,confidence"]},
        f"Of {', '.join(f'`{output}`' for output in OUTPUTS)}: any of them, with commas, in JSON (default `rle`); one "
        f"of {', '.join(f'`{output}`' for output in DIRECT_OUTPUTS)} for image/png; `npz`, `alpha` for "
        "application/x-npz.",
        {"anyOf": [{"type": "string"}, {"type": "array", "items": ref("schemas", "Output")}]},
    ),
    Option(
        "tolerance",
        {"type": "number", "minimum": 0, "maximum": MAX_TOLERANCE},
        "How far outlines of `polygons` may run from the true border, in pixels; 0 is exact.",
    ),
    Option(
        "redact",
        ref("schemas", "RedactStyle"),
        "How `output=redact` covers the faces, or the parts that `classes` and `groups` name; `blur` where it is left "
        "out. It is refused without that output.",
    ),
    Option("abstain", _FRACTION, "Least confidence of a labelled pixel; those below it become 255, `unknown`."),
    Option(
        "face_masks",
        {"type": "boolean"},
        "Whether each face has a mask of its own beside the picture's, as it has where this is left out; `false` "
        "leaves it empty, for callers who do not need it.",
    ),
    Option(
        "frame",
        ref("schemas", "Frame"),
        "Whose pixels masks and parts are in: the picture's (`image`, the default), or those of each face's aligned "
        "crop.",
    ),
    Option(
        "taxonomy",
        {"type": "string", "examples": ["bisenet"]},
        "Tell classes by the ids of another order, one of the `remaps` of `/v1/labels`.",
    ),
    Option(
        "orientation",
        ref("schemas", "Orientation"),
        "Turn the picture upright as its EXIF data says (`exif`, the default), or take its pixels as they lie.",
    ),
    Option("model", {"type": "string", "examples": ["segm"]}, "`NAME`, `NAME:VERSION` or `NAME@ALIAS`."),
    Option("deadline_ms", {"type": "integer", "minimum": 1}, "Time the answer may take, in milliseconds."),
)

OPTION_PARAMETERS: dict[str, dict[str, Any]] = {option.name: option.parameter for option in OPTIONS}
"""Components: the options as query parameters, by name."""

OPTION_SCHEMAS: dict[str, dict[str, Any]] = {
    "Output": {"type": "string", "enum": [*OUTPUTS], "description": "What an answer may hold for each face."},
    "Frame": {"type": "string", "enum": ["image", "crop"], "description": "Whose pixels masks and parts are in."},
    "Orientation": {
        "type": "string",
        "enum": ["exif", "raw"],
        "description": "Whether a picture is turned upright as its EXIF data says.",
    },
    "FaceBox": {
        "type": "array",
        "items": {"type": "number"},
        "minItems": 4,
        "maxItems": 4,
        "description": "A box round a face, x0, y0, x1, y1, in pixels; x1 and y1 exceed x0 and y0 by 1 or more.",
    },
    "ParseOptions": {
        "type": "object",
        "properties": {option.name: option.member for option in OPTIONS},
        "description": "The options of a parse as members of a JSON body. None may be in the query as well.",
    },
}
"""Components: the schemas of options."""


def option_parameters() -> list[dict[str, Any]]:
    """The options of a parse in the query, as references."""
    return [ref("parameters", name) for name in OPTION_PARAMETERS]
