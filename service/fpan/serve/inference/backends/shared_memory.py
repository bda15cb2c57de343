"""Memory through which a Triton on this machine gets large inputs, instead of copies over gRPC.

Only inputs: a call that was given up may still be computed after its memory has been lent to another, which spoils an
answer that nobody waits for; written into lent memory, that answer would be taken for the other's.
"""

import logging
import math
import mmap
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fpan.contract import ModelCard
from fpan.serve.inference.backend import DTYPES, Items

_log = logging.getLogger(__name__)

WORTH_BYTES = 2**18
"""Inputs of so many bytes are handed over sooner this way (docs/results/computing.md)."""
_FOLDER = Path("/dev/shm")  # noqa: S108 (what shm_open calls shared memory)


class SharedInputs:
    """Slots of one region. It has a name until the server has opened it, and none afterwards: it cannot be left behind.

    Belongs to one event loop.
    """

    def __init__(self, slots: int, slot_bytes: int) -> None:
        """Reserves it.

        Args:
            slots: inputs that are lent at once; beyond them there is none.
            slot_bytes: the largest input.

        Raises:
            OSError: there is not so much shared memory.
        """
        self.name = f"fpan_{os.getpid()}_{secrets.token_hex(8)}"
        self.size = slots * slot_bytes
        self._slot_bytes = slot_bytes
        self._free = [i * slot_bytes for i in range(slots)]
        self._path = _FOLDER / self.name
        file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            os.posix_fallocate(file, 0, self.size)  # where memory is short this fails, and no later write does
            self._memory = mmap.mmap(file, self.size)
        except OSError:
            self.forget_name()
            raise
        finally:
            os.close(file)

    @property
    def key(self) -> str:
        """What ``shm_open`` calls it."""
        return f"/{self.name}"

    def forget_name(self) -> None:
        """Whoever has opened it goes on; nobody else can."""
        self._path.unlink(missing_ok=True)

    @contextmanager
    def lend(self, items: Items) -> Iterator[int | None]:
        """Where a copy of an input lies within the block, in bytes from the start; None where it does not pay, or fit.

        Afterwards nothing of it is left.
        """
        size = len(items) * items[0].nbytes
        if size < WORTH_BYTES or size > self._slot_bytes or not self._free:
            yield None
            return
        offset = self._free.pop()
        slot = np.ndarray((len(items), *items[0].shape), items[0].dtype, buffer=self._memory, offset=offset)
        try:
            np.stack([*items], out=slot)  # the only copy of a crop on its way
            yield offset
        finally:
            slot.fill(0)
            self._free.append(offset)


def reserve(cards: Iterable[ModelCard], max_batch: int, slots: int) -> SharedInputs | None:
    """Memory for batches of the largest input of these models; None, and a line in the log, where there is none."""
    largest = max((_input_bytes(card) for card in cards), default=0) * max_batch
    if largest < WORTH_BYTES:
        return None
    try:
        return SharedInputs(slots, largest)
    except OSError as error:
        _log.warning("no shared memory for inputs (%s): they go to Triton over gRPC, which takes longer", error)
        return None


def _input_bytes(card: ModelCard) -> int:
    """Of one item, the largest input."""
    sizes = (
        math.prod(tensor.sized(card.input_sizes[0])) * np.dtype(DTYPES[tensor.dtype]).itemsize for tensor in card.inputs
    )
    return max(sizes, default=0)
