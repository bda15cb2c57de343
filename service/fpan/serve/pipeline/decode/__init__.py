"""Decodes a picture's bytes to RGB pixels, in memory only. Time and memory are bounded for any input."""

from fpan.serve.pipeline.decode.reader import Header, decode, read_header

__all__ = ["Header", "decode", "read_header"]
