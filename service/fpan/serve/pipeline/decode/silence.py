"""Keeps decoders from remarking on broken files where the log goes.

Their callers are told. A log is no place for it: whoever sends such files could fill it, with bytes of pictures.
"""

import contextlib
import ctypes
import logging

from PIL import _imaging


def silence_decoders() -> None:
    """Takes their voices from Pillow, and from libtiff, which Pillow lets write to this process's errors by itself."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    # Of the library that Pillow has loaded, wherever it lies; where it is linked in out of reach, it goes on writing.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        pillow = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetErrorHandlerExt", "TIFFSetWarningHandler"):
            set_handler = getattr(pillow, name)
            set_handler.restype = ctypes.c_void_p
            set_handler(None)
