"""Bytes of a picture to RGB pixels, in memory alone, with bounded time and memory whatever the bytes are."""

from fpan.serve.pipeline.decode.reader import Header, decode, read_header

__all__ = ["Header", "decode", "read_header"]
