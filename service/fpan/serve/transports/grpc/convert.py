"""Between the messages of the contract and what the pipeline speaks."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.contract import Taxonomy
from fpan.contract.messages import write_fields
from fpan.serve.api.errors import BadRequest
from fpan.serve.api.options import ParseOptions
from fpan.serve.pipeline.encode import ClassPolygons, Redaction, alpha_png, indexed_png, rgb_png
from fpan.serve.pipeline.encode.answer import UNKNOWN, AnswerEncoder
from fpan.serve.pipeline.types import CropFrame, ParsedFace

T = TypeVar("T")
_MODES = {pb.FACES_MODE_UNSPECIFIED: "auto", pb.FACES_MODE_AUTO: "auto", pb.FACES_MODE_FULL: "full"}
_ORIENTATIONS = {pb.ORIENTATION_UNSPECIFIED: "exif", pb.ORIENTATION_EXIF: "exif", pb.ORIENTATION_RAW: "raw"}
_OUTPUTS = {
    pb.OUTPUT_POLYGONS: "polygons",
    pb.OUTPUT_ALPHA: "alpha",
    pb.OUTPUT_CONFIDENCE: "confidence",
    pb.OUTPUT_OVERLAY: "overlay",
    pb.OUTPUT_CUTOUT: "cutout",
    pb.OUTPUT_REDACT: "redact",
    pb.OUTPUT_NPZ: "npz",
}
_STYLES = {
    pb.REDACT_STYLE_UNSPECIFIED: None,
    pb.REDACT_STYLE_BLUR: "blur",
    pb.REDACT_STYLE_PIXELATE: "pixelate",
    pb.REDACT_STYLE_FILL: "fill",
}
_FRAMES = {pb.FRAME_UNSPECIFIED: "image", pb.FRAME_IMAGE: "image", pb.FRAME_CROP: "crop"}
_PICTURES = ("confidence", "overlay", "cutout")
"""Outputs with a member of their own, in the answer or, with the crop's frame, in each face: NAME_png."""


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
    members["frame"] = _known(_FRAMES, message.frame, "frame")
    members["taxonomy"] = message.taxonomy
    if style := _known(_STYLES, message.redact, "redact"):
        members["redact"] = style
    outputs = [_known(_OUTPUTS, output, "outputs") for output in message.outputs]
    if message.confidence and "confidence" not in outputs:
        outputs.append("confidence")
    if outputs:
        members["output"] = outputs
    for name in ("max_faces", "tolerance", "abstain", "face_masks"):
        if message.HasField(name):
            members[name] = getattr(message, name)
    return ParseOptions.read(members)


def _known(words: dict[Any, T], value: int, name: str) -> T:
    try:
        return words[value]
    except KeyError:
        raise BadRequest(f"{name}: this server does not know the value {value}") from None


def write_response(answer: AnswerEncoder) -> pb.ParseResponse:
    """Everything that is known, less the request's id and timing. Encodes pictures: it belongs in a worker thread."""
    result, card, wanted = answer.result, answer.card, answer.options.output
    if "polygons" in wanted:
        answer.check_polygons()
    response = pb.ParseResponse(
        image=pb.ImageSize(width=result.width, height=result.height),
        taxonomy=answer.taxonomy.name,
        model=pb.Model(
            name=card.name,
            version=card.version,
            sha256=card.sha256,
            alias=answer.alias or "",
            precision=card.precision,
        ),
        reason=result.reason or "",
        notes=result.notes,
        faces=[_face(answer, face) for face in result.faces],
    )
    if result.frame == "image":
        whole = (0, 0, result.width, result.height)
        response.labels.CopyFrom(_label_map(result.labels, whole, answer.taxonomy))
        if "polygons" in wanted:
            response.polygons.extend(_polygons(answer.polygons(result.labels, (0, 0))))
        for output in _PICTURES:
            if output in wanted:
                setattr(response, f"{output}_png", answer.picture(output))
    if "redact" in wanted:
        response.redaction.CopyFrom(_redaction(answer.redaction))
    if "npz" in wanted:
        response.npz = answer.npz()
    return response


def _face(answer: AnswerEncoder, face: ParsedFace) -> pb.Face:
    wanted = answer.options.output
    own = _label_map(face.labels, face.window, answer.taxonomy) if answer.options.face_masks else None
    message = pb.Face(labels=own)
    write_fields(message, face.facts)
    if "polygons" in wanted:
        message.polygons.extend(_polygons(answer.polygons(face.labels, face.window[:2])))
    if "alpha" in wanted:
        message.alpha.extend(
            pb.SoftMask(id=mask.id, name=answer.names[mask.id], window=_window(mask.window), png=alpha_png(mask))
            for mask in face.alpha
        )
    if face.crop is not None:
        message.crop.CopyFrom(_crop(face.crop))
        for output in _PICTURES:
            if output in wanted:
                setattr(message, f"{output}_png", answer.of_face(output, face))
    return message


def _polygons(classes: tuple[ClassPolygons, ...]) -> list[pb.ClassPolygons]:
    def ring(corners: NDArray[np.int64]) -> pb.Ring:
        return pb.Ring(corners=corners.ravel().tolist())

    return [
        pb.ClassPolygons(
            id=one.id,
            name=one.name,
            polygons=[
                pb.Polygon(outline=ring(each.outline), holes=[ring(hole) for hole in each.holes])
                for each in one.polygons
            ],
        )
        for one in classes
    ]


def _crop(crop: CropFrame) -> pb.CropFrame:
    return pb.CropFrame(size=crop.size, matrix=crop.matrix.ravel().tolist())


def _redaction(redaction: Redaction) -> pb.Redaction:
    faces = [pb.CoveredFace(id=f.id, whole=f.why is not None, why=f.why or "") for f in redaction.faces]
    return pb.Redaction(png=rgb_png(redaction.pixels), faces=faces)


def _label_map(labels: NDArray[np.uint8], window: tuple[int, int, int, int], taxonomy: Taxonomy) -> pb.LabelMap:
    found = np.flatnonzero(np.bincount(labels.ravel(), minlength=256)).tolist()
    known = [(c.id, c.name) for c in taxonomy.classes if c.id in found and c.id != taxonomy.background]
    if taxonomy.ignore in found:
        known.append((taxonomy.ignore, UNKNOWN))
    return pb.LabelMap(
        window=_window(window),
        png=indexed_png(labels, taxonomy),
        classes=[pb.LabelClass(id=number, name=name) for number, name in known],
    )


def _window(window: tuple[int, int, int, int]) -> pb.Window:
    return pb.Window(x0=window[0], y0=window[1], x1=window[2], y1=window[3])
