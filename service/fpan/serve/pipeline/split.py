"""Which callers a challenger answers: a sticky split by hash."""

import hashlib
from dataclasses import dataclass

from fpan.serve.pipeline.segmenter import Segmenter

_HASH_BYTES = 8
_SEPARATOR = b"\0"


@dataclass(frozen=True)
class Split:
    """A challenger beside the version that answers where a request names none."""

    challenger: Segmenter
    share: float
    """Of the callers, the part that the challenger answers, 0 to 1."""

    def takes(self, caller: str) -> bool:
        """Whether the challenger answers a caller: the same one always, and at a larger share too."""
        return place(self.challenger.card.name, caller) < self.share


def place(model: str, caller: str) -> float:
    """Where a caller stands among all of a model's, in [0, 1): evenly spread, and elsewhere for another model."""
    digest = hashlib.blake2b(model.encode() + _SEPARATOR + caller.encode(), digest_size=_HASH_BYTES).digest()
    return (int.from_bytes(digest) >> 11) / 2**53  # as many bits as a float holds, so that 1 is never reached
