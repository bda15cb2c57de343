"""Augmented pictures a second and processor core, with and without pictures that are decoded once.

FPAN_DATA=/path/to/data python -m benchmarks.studies.decoding --size 256
"""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import tyro
from fpan.contract import Taxonomy
from fpan_training.data.augment import Augment
from fpan_training.data.decoded import decode_once
from fpan_training.data.mixture import MixedData, Part
from fpan_training.recipes.segm import AUGMENT

_BLOCK = 50
"""Pictures that the two ways take turns at, so that a busy machine slows both."""


@dataclass(frozen=True)
class Decoding:
    """Measures."""

    size: int = 256
    """Side of the augmented pictures."""
    pictures: int = 400

    def __call__(self) -> None:
        """Prints the figures."""
        cv2.setNumThreads(1)
        data = Path(os.environ["FPAN_DATA"])
        whole = MixedData(
            tuple(Part.open(data / name, "train") for name in ("celeba19", "celeba19_more")), self.size, self._augment
        )
        kept = replace(whole, parts=tuple(decode_once(part, self.size * 3 // 2) for part in whole.parts))
        seconds = dict.fromkeys(("decoded whenever read", "decoded once"), 0.0)
        order = np.random.default_rng(0).permutation(len(whole))[: self.pictures].tolist()
        for first in range(0, len(order), _BLOCK):
            for way, mixed in zip(seconds, (whole, kept), strict=True):
                began = time.process_time()
                for item in order[first : first + _BLOCK]:
                    mixed[item]
                seconds[way] += time.process_time() - began
        for way, taken in seconds.items():
            print(f"{way}: {len(order) / taken:.0f} pictures of {self.size} pixels a second and core")

    def _augment(self, taxonomy: Taxonomy) -> Augment:
        return Augment(taxonomy, self.size, AUGMENT)


if __name__ == "__main__":
    tyro.cli(Decoding)()
