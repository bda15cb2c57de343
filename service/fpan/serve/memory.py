"""Gives the memory of large pictures back to the system at once."""

import contextlib
import ctypes

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
