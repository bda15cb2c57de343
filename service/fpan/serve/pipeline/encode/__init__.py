"""Label maps and pictures to PNG: arrays in, bytes out."""

from fpan.serve.pipeline.encode.indexed import indexed_png
from fpan.serve.pipeline.encode.overlay import overlay_png
from fpan.serve.pipeline.encode.plain import confidence_png, cutout_png

__all__ = ["confidence_png", "cutout_png", "indexed_png", "overlay_png"]
