"""Starts a program that dies with its parent. Run as a script: ``python launch.py PARENT_PID PROGRAM ARGUMENT...``.

A script of its own because a process with threads cannot safely run Python between fork and exec.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>; the setting survives exec


def main() -> None:
    """Asks the kernel for SIGTERM when the parent ends, then becomes the program."""
    parent = int(sys.argv[1])
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the kernel was asked
        sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - that is the point


if __name__ == "__main__":
    main()
