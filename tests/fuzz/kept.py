"""Memory that decoding keeps, in a process that does nothing else and has the service's allocator.

python -m tests.fuzz.kept FIRST COUNT MIB
"""

import os
import sys

from fpan.serve.process import return_large_blocks

from tests.fuzz.corpus import broken, verdict
from tests.fuzz.tally import MIB
from tests.support import processes

_WARM_SHARE = 4


def kept_mib(first: int, count: int) -> float:
    """Of so many broken pictures from a number on, after the first quarter of them."""
    numbers = range(first, first + count)
    warm = count // _WARM_SHARE
    for number in numbers[:warm]:
        verdict(broken(number))
    before = processes.resident(os.getpid())
    for number in numbers[warm:]:
        verdict(broken(number))
    return (processes.resident(os.getpid()) - before) / MIB


if __name__ == "__main__":
    return_large_blocks()
    first, count, most = map(int, sys.argv[1:])
    kept = kept_mib(first, count)
    sys.exit(f"decoding keeps {kept:.1f} MiB, more than {most}" if kept > most else 0)
