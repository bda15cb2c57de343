"""What a crash may leave behind: nothing."""

import contextlib
import ctypes
import gc
import resource

_NO_CORE = 1
"""Bytes. Linux writes no core file of less than a page, and hands none to a program (``core_pattern`` with a pipe, as
systemd's and Ubuntu's) exactly where this is the limit: with 0 such a program gets it all the same."""


def leave_no_core() -> None:
    """From now on neither this process nor any that it starts leaves its memory, where faces are, on disk when it
    crashes.

    Not by ``PR_SET_DUMPABLE``: it does not outlast ``exec``, so that the embedded Triton would be left out, and it
    hides the process from whoever looks for what is wrong with it (py-spy, /proc).
    """
    with contextlib.suppress(ValueError):  # somebody has set a lower limit, which cannot be raised again
        resource.setrlimit(resource.RLIMIT_CORE, (_NO_CORE, _NO_CORE))


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
