"""What a crash may leave behind: nothing."""

import contextlib
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
