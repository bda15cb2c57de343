"""Results to bytes and plain values: pictures, polygons, soft masks, arrays, redacted photos."""

from fpan.serve.pipeline.encode.arrays import arrays_npz
from fpan.serve.pipeline.encode.pictures import (
    alpha_png,
    confidence_png,
    cutout_png,
    face_matte_png,
    indexed_png,
    matte_png,
    overlay_png,
    rgb_png,
)
from fpan.serve.pipeline.encode.polygons import ClassPolygons, Polygon, check_outlines, class_polygons
from fpan.serve.pipeline.encode.redact import Redaction, Redactor, Style

__all__ = [
    "ClassPolygons",
    "Polygon",
    "Redaction",
    "Redactor",
    "Style",
    "alpha_png",
    "arrays_npz",
    "check_outlines",
    "class_polygons",
    "confidence_png",
    "cutout_png",
    "face_matte_png",
    "indexed_png",
    "matte_png",
    "overlay_png",
    "rgb_png",
]
