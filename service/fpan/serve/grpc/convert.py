"""Between the messages of the contract and what the pipeline speaks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.contract import AliasName, ModelCard, Taxonomy
from fpan.serve.errors import BadRequest
from fpan.serve.pipeline.encode import confidence_png, indexed_png
from fpan.serve.pipeline.options import ParseOptions
from fpan.serve.pipeline.types import ParsedFace, ParseResult, PartFigures

_MODES = {pb.FACES_MODE_UNSPECIFIED: "auto", pb.FACES_MODE_AUTO: "auto", pb.FACES_MODE_FULL: "full"}
_ORIENTATIONS = {pb.ORIENTATION_UNSPECIFIED: "exif", pb.ORIENTATION_EXIF: "exif", pb.ORIENTATION_RAW: "raw"}


def read_options(message: pb.ParseOptions) -> ParseOptions:
    """The options of a request, checked by the same rules as those of HTTP; the deadline is not among them.

    Raises:
        BadRequest: a value that this server does not know.
        Impossible: a box with no inside.
    """
    members: dict[str, Any] = {"classes": list(message.classes), "groups": list(message.groups), "model": message.model}
    if message.WhichOneof("faces") == "boxes":
        members["faces"] = [[box.x0, box.y0, box.x1, box.y1] for box in message.boxes.boxes]
    else:
        members["faces"] = _known(_MODES, message.mode, "faces")
    members["orientation"] = _known(_ORIENTATIONS, message.orientation, "orientation")
    if message.HasField("max_faces"):
        members["max_faces"] = message.max_faces
    return ParseOptions.read(members)


def _known(words: dict[Any, str], value: int, name: str) -> str:
    try:
        return words[value]
    except KeyError:
        raise BadRequest(f"{name}: this server does not know the value {value}") from None


def write_response(
    result: ParseResult, card: ModelCard, *, alias: AliasName | None = None, confidence: bool
) -> pb.ParseResponse:
    """Everything that is known, less the request's id. Encodes pictures: it belongs in a worker thread."""
    taxonomy = card.taxonomy
    assert taxonomy is not None
    whole = (0, 0, result.width, result.height)
    return pb.ParseResponse(
        image=pb.ImageSize(width=result.width, height=result.height),
        taxonomy=taxonomy.name,
        model=pb.Model(name=card.name, version=card.version, sha256=card.sha256, alias=alias or ""),
        reason=result.reason or "",
        notes=result.notes,
        faces=[_face(face, taxonomy) for face in result.faces],
        labels=_label_map(result.labels, whole, taxonomy),
        confidence_png=confidence_png(result.confidence) if confidence else b"",
        timing_ms=result.timing_ms,
    )


def _face(face: ParsedFace, taxonomy: Taxonomy) -> pb.Face:
    points = [] if face.landmarks is None else face.landmarks.tolist()
    return pb.Face(
        id=face.id,
        box=_box(face.box),
        score=face.score,
        landmarks=[pb.Point(x=x, y=y) for x, y in points],
        occluded=face.occluded,
        cut_by_crop=face.cut_by_crop,
        cut_by_image=face.cut_by_image,
        parts=[_part(part) for part in face.parts],
        labels=_label_map(face.labels, face.window, taxonomy),
    )


def _part(part: PartFigures) -> pb.Part:
    return pb.Part(id=part.id, name=part.name, area=part.area, box=_window(part.box), confidence=float(part.confidence))


def _label_map(labels: NDArray[np.uint8], window: tuple[int, int, int, int], taxonomy: Taxonomy) -> pb.LabelMap:
    found = np.flatnonzero(np.bincount(labels.ravel(), minlength=256)).tolist()
    known = [c for c in taxonomy.classes if c.id in found and c.id != taxonomy.background]
    return pb.LabelMap(
        window=_window(window),
        png=indexed_png(labels, taxonomy),
        classes=[pb.LabelClass(id=c.id, name=c.name) for c in known],
    )


def _box(box: tuple[float, float, float, float]) -> pb.Box:
    return pb.Box(x0=box[0], y0=box[1], x1=box[2], y1=box[3])


def _window(window: tuple[int, int, int, int]) -> pb.Window:
    return pb.Window(x0=window[0], y0=window[1], x1=window[2], y1=window[3])
