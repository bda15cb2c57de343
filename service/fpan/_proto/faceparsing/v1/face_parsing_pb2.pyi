from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Output(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTPUT_UNSPECIFIED: _ClassVar[Output]
    OUTPUT_POLYGONS: _ClassVar[Output]
    OUTPUT_ALPHA: _ClassVar[Output]
    OUTPUT_CONFIDENCE: _ClassVar[Output]
    OUTPUT_OVERLAY: _ClassVar[Output]
    OUTPUT_CUTOUT: _ClassVar[Output]
    OUTPUT_REDACT: _ClassVar[Output]
    OUTPUT_NPZ: _ClassVar[Output]

class RedactStyle(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REDACT_STYLE_UNSPECIFIED: _ClassVar[RedactStyle]
    REDACT_STYLE_BLUR: _ClassVar[RedactStyle]
    REDACT_STYLE_PIXELATE: _ClassVar[RedactStyle]
    REDACT_STYLE_FILL: _ClassVar[RedactStyle]

class Frame(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FRAME_UNSPECIFIED: _ClassVar[Frame]
    FRAME_IMAGE: _ClassVar[Frame]
    FRAME_CROP: _ClassVar[Frame]

class FacesMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FACES_MODE_UNSPECIFIED: _ClassVar[FacesMode]
    FACES_MODE_AUTO: _ClassVar[FacesMode]
    FACES_MODE_FULL: _ClassVar[FacesMode]

class Orientation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORIENTATION_UNSPECIFIED: _ClassVar[Orientation]
    ORIENTATION_EXIF: _ClassVar[Orientation]
    ORIENTATION_RAW: _ClassVar[Orientation]
OUTPUT_UNSPECIFIED: Output
OUTPUT_POLYGONS: Output
OUTPUT_ALPHA: Output
OUTPUT_CONFIDENCE: Output
OUTPUT_OVERLAY: Output
OUTPUT_CUTOUT: Output
OUTPUT_REDACT: Output
OUTPUT_NPZ: Output
REDACT_STYLE_UNSPECIFIED: RedactStyle
REDACT_STYLE_BLUR: RedactStyle
REDACT_STYLE_PIXELATE: RedactStyle
REDACT_STYLE_FILL: RedactStyle
FRAME_UNSPECIFIED: Frame
FRAME_IMAGE: Frame
FRAME_CROP: Frame
FACES_MODE_UNSPECIFIED: FacesMode
FACES_MODE_AUTO: FacesMode
FACES_MODE_FULL: FacesMode
ORIENTATION_UNSPECIFIED: Orientation
ORIENTATION_EXIF: Orientation
ORIENTATION_RAW: Orientation

class ParseRequest(_message.Message):
    __slots__ = ("image", "options")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    options: ParseOptions
    def __init__(self, image: _Optional[bytes] = ..., options: _Optional[_Union[ParseOptions, _Mapping]] = ...) -> None: ...

class ParseOptions(_message.Message):
    __slots__ = ("mode", "boxes", "max_faces", "classes", "groups", "orientation", "model", "confidence", "outputs", "tolerance", "redact", "abstain", "frame", "taxonomy", "face_masks")
    MODE_FIELD_NUMBER: _ClassVar[int]
    BOXES_FIELD_NUMBER: _ClassVar[int]
    MAX_FACES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    ORIENTATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    REDACT_FIELD_NUMBER: _ClassVar[int]
    ABSTAIN_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    TAXONOMY_FIELD_NUMBER: _ClassVar[int]
    FACE_MASKS_FIELD_NUMBER: _ClassVar[int]
    mode: FacesMode
    boxes: Boxes
    max_faces: int
    classes: _containers.RepeatedScalarFieldContainer[str]
    groups: _containers.RepeatedScalarFieldContainer[str]
    orientation: Orientation
    model: str
    confidence: bool
    outputs: _containers.RepeatedScalarFieldContainer[Output]
    tolerance: float
    redact: RedactStyle
    abstain: float
    frame: Frame
    taxonomy: str
    face_masks: bool
    def __init__(self, mode: _Optional[_Union[FacesMode, str]] = ..., boxes: _Optional[_Union[Boxes, _Mapping]] = ..., max_faces: _Optional[int] = ..., classes: _Optional[_Iterable[str]] = ..., groups: _Optional[_Iterable[str]] = ..., orientation: _Optional[_Union[Orientation, str]] = ..., model: _Optional[str] = ..., confidence: _Optional[bool] = ..., outputs: _Optional[_Iterable[_Union[Output, str]]] = ..., tolerance: _Optional[float] = ..., redact: _Optional[_Union[RedactStyle, str]] = ..., abstain: _Optional[float] = ..., frame: _Optional[_Union[Frame, str]] = ..., taxonomy: _Optional[str] = ..., face_masks: _Optional[bool] = ...) -> None: ...

class Boxes(_message.Message):
    __slots__ = ("boxes",)
    BOXES_FIELD_NUMBER: _ClassVar[int]
    boxes: _containers.RepeatedCompositeFieldContainer[Box]
    def __init__(self, boxes: _Optional[_Iterable[_Union[Box, _Mapping]]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("x0", "y0", "x1", "y1")
    X0_FIELD_NUMBER: _ClassVar[int]
    Y0_FIELD_NUMBER: _ClassVar[int]
    X1_FIELD_NUMBER: _ClassVar[int]
    Y1_FIELD_NUMBER: _ClassVar[int]
    x0: float
    y0: float
    x1: float
    y1: float
    def __init__(self, x0: _Optional[float] = ..., y0: _Optional[float] = ..., x1: _Optional[float] = ..., y1: _Optional[float] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ("x0", "y0", "x1", "y1")
    X0_FIELD_NUMBER: _ClassVar[int]
    Y0_FIELD_NUMBER: _ClassVar[int]
    X1_FIELD_NUMBER: _ClassVar[int]
    Y1_FIELD_NUMBER: _ClassVar[int]
    x0: int
    y0: int
    x1: int
    y1: int
    def __init__(self, x0: _Optional[int] = ..., y0: _Optional[int] = ..., x1: _Optional[int] = ..., y1: _Optional[int] = ...) -> None: ...

class ParseResponse(_message.Message):
    __slots__ = ("request_id", "image", "taxonomy", "model", "reason", "notes", "faces", "labels", "confidence_png", "timing_ms", "polygons", "overlay_png", "cutout_png", "redaction", "npz")
    class TimingMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TAXONOMY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_PNG_FIELD_NUMBER: _ClassVar[int]
    TIMING_MS_FIELD_NUMBER: _ClassVar[int]
    POLYGONS_FIELD_NUMBER: _ClassVar[int]
    OVERLAY_PNG_FIELD_NUMBER: _ClassVar[int]
    CUTOUT_PNG_FIELD_NUMBER: _ClassVar[int]
    REDACTION_FIELD_NUMBER: _ClassVar[int]
    NPZ_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    image: ImageSize
    taxonomy: str
    model: Model
    reason: str
    notes: _containers.RepeatedScalarFieldContainer[str]
    faces: _containers.RepeatedCompositeFieldContainer[Face]
    labels: LabelMap
    confidence_png: bytes
    timing_ms: _containers.ScalarMap[str, float]
    polygons: _containers.RepeatedCompositeFieldContainer[ClassPolygons]
    overlay_png: bytes
    cutout_png: bytes
    redaction: Redaction
    npz: bytes
    def __init__(self, request_id: _Optional[str] = ..., image: _Optional[_Union[ImageSize, _Mapping]] = ..., taxonomy: _Optional[str] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., reason: _Optional[str] = ..., notes: _Optional[_Iterable[str]] = ..., faces: _Optional[_Iterable[_Union[Face, _Mapping]]] = ..., labels: _Optional[_Union[LabelMap, _Mapping]] = ..., confidence_png: _Optional[bytes] = ..., timing_ms: _Optional[_Mapping[str, float]] = ..., polygons: _Optional[_Iterable[_Union[ClassPolygons, _Mapping]]] = ..., overlay_png: _Optional[bytes] = ..., cutout_png: _Optional[bytes] = ..., redaction: _Optional[_Union[Redaction, _Mapping]] = ..., npz: _Optional[bytes] = ...) -> None: ...

class ClassPolygons(_message.Message):
    __slots__ = ("id", "name", "polygons")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    POLYGONS_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    polygons: _containers.RepeatedCompositeFieldContainer[Polygon]
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., polygons: _Optional[_Iterable[_Union[Polygon, _Mapping]]] = ...) -> None: ...

class Polygon(_message.Message):
    __slots__ = ("outline", "holes")
    OUTLINE_FIELD_NUMBER: _ClassVar[int]
    HOLES_FIELD_NUMBER: _ClassVar[int]
    outline: Ring
    holes: _containers.RepeatedCompositeFieldContainer[Ring]
    def __init__(self, outline: _Optional[_Union[Ring, _Mapping]] = ..., holes: _Optional[_Iterable[_Union[Ring, _Mapping]]] = ...) -> None: ...

class Ring(_message.Message):
    __slots__ = ("corners",)
    CORNERS_FIELD_NUMBER: _ClassVar[int]
    corners: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, corners: _Optional[_Iterable[int]] = ...) -> None: ...

class SoftMask(_message.Message):
    __slots__ = ("id", "name", "window", "png")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    window: Window
    png: bytes
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., window: _Optional[_Union[Window, _Mapping]] = ..., png: _Optional[bytes] = ...) -> None: ...

class CropFrame(_message.Message):
    __slots__ = ("size", "matrix")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    MATRIX_FIELD_NUMBER: _ClassVar[int]
    size: int
    matrix: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, size: _Optional[int] = ..., matrix: _Optional[_Iterable[float]] = ...) -> None: ...

class Redaction(_message.Message):
    __slots__ = ("png", "faces")
    PNG_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    png: bytes
    faces: _containers.RepeatedCompositeFieldContainer[CoveredFace]
    def __init__(self, png: _Optional[bytes] = ..., faces: _Optional[_Iterable[_Union[CoveredFace, _Mapping]]] = ...) -> None: ...

class CoveredFace(_message.Message):
    __slots__ = ("id", "whole", "why")
    ID_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    id: int
    whole: bool
    why: str
    def __init__(self, id: _Optional[int] = ..., whole: _Optional[bool] = ..., why: _Optional[str] = ...) -> None: ...

class ImageSize(_message.Message):
    __slots__ = ("width", "height")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "sha256", "alias", "precision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    sha256: str
    alias: str
    precision: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., sha256: _Optional[str] = ..., alias: _Optional[str] = ..., precision: _Optional[str] = ...) -> None: ...

class LabelMap(_message.Message):
    __slots__ = ("window", "png", "classes")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    window: Window
    png: bytes
    classes: _containers.RepeatedCompositeFieldContainer[LabelClass]
    def __init__(self, window: _Optional[_Union[Window, _Mapping]] = ..., png: _Optional[bytes] = ..., classes: _Optional[_Iterable[_Union[LabelClass, _Mapping]]] = ...) -> None: ...

class LabelClass(_message.Message):
    __slots__ = ("id", "name")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class Face(_message.Message):
    __slots__ = ("id", "box", "score", "landmarks", "occluded", "cut_by_crop", "cut_by_image", "parts", "labels", "polygons", "alpha", "crop", "confidence_png", "overlay_png", "cutout_png", "pose", "sharpness")
    ID_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LANDMARKS_FIELD_NUMBER: _ClassVar[int]
    OCCLUDED_FIELD_NUMBER: _ClassVar[int]
    CUT_BY_CROP_FIELD_NUMBER: _ClassVar[int]
    CUT_BY_IMAGE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    POLYGONS_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_PNG_FIELD_NUMBER: _ClassVar[int]
    OVERLAY_PNG_FIELD_NUMBER: _ClassVar[int]
    CUTOUT_PNG_FIELD_NUMBER: _ClassVar[int]
    POSE_FIELD_NUMBER: _ClassVar[int]
    SHARPNESS_FIELD_NUMBER: _ClassVar[int]
    id: int
    box: Box
    score: float
    landmarks: _containers.RepeatedCompositeFieldContainer[Point]
    occluded: float
    cut_by_crop: _containers.RepeatedScalarFieldContainer[str]
    cut_by_image: bool
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    labels: LabelMap
    polygons: _containers.RepeatedCompositeFieldContainer[ClassPolygons]
    alpha: _containers.RepeatedCompositeFieldContainer[SoftMask]
    crop: CropFrame
    confidence_png: bytes
    overlay_png: bytes
    cutout_png: bytes
    pose: Pose
    sharpness: float
    def __init__(self, id: _Optional[int] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., score: _Optional[float] = ..., landmarks: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., occluded: _Optional[float] = ..., cut_by_crop: _Optional[_Iterable[str]] = ..., cut_by_image: _Optional[bool] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., labels: _Optional[_Union[LabelMap, _Mapping]] = ..., polygons: _Optional[_Iterable[_Union[ClassPolygons, _Mapping]]] = ..., alpha: _Optional[_Iterable[_Union[SoftMask, _Mapping]]] = ..., crop: _Optional[_Union[CropFrame, _Mapping]] = ..., confidence_png: _Optional[bytes] = ..., overlay_png: _Optional[bytes] = ..., cutout_png: _Optional[bytes] = ..., pose: _Optional[_Union[Pose, _Mapping]] = ..., sharpness: _Optional[float] = ...) -> None: ...

class Pose(_message.Message):
    __slots__ = ("yaw", "pitch", "roll")
    YAW_FIELD_NUMBER: _ClassVar[int]
    PITCH_FIELD_NUMBER: _ClassVar[int]
    ROLL_FIELD_NUMBER: _ClassVar[int]
    yaw: float
    pitch: float
    roll: float
    def __init__(self, yaw: _Optional[float] = ..., pitch: _Optional[float] = ..., roll: _Optional[float] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("id", "name", "area", "box", "confidence")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AREA_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    area: int
    box: Window
    confidence: float
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., area: _Optional[int] = ..., box: _Optional[_Union[Window, _Mapping]] = ..., confidence: _Optional[float] = ...) -> None: ...
