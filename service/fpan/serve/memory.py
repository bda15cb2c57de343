"""What becomes of memory: that of large pictures goes back at once, that of the program is not looked through again."""

import contextlib
import ctypes
import gc

_M_MMAP_THRESHOLD = -3
"""Of glibc's ``malloc.h``."""
LARGE_BYTES = 4 * 2**20
"""Blocks from this size on are mapped on their own, and so are gone when they are freed."""


def return_large_blocks() -> None:
    """Fixes glibc's limit, which otherwise grows with what is freed: after one large picture the process would keep
    hundreds of megabytes for the next. Elsewhere than under glibc this does nothing.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def keep_what_is_loaded() -> None:
    """Has Python's collector pass over all that there is now: looking through modules and models holds up everybody for
    70 ms each time, and finds nothing. To be called once, when all is loaded.
    """
    gc.collect()
    gc.freeze()
