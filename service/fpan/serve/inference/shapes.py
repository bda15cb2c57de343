"""The card's tensors in numpy's words."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan.contract import ModelCard
from fpan.contract.card import Tensor

DTYPES: dict[str, type[np.generic]] = {"UINT8": np.uint8, "FP32": np.float32}
"""numpy's type for each ``dtype`` of a card."""


def input_shapes(card: ModelCard, tensor: Tensor) -> list[tuple[int, ...]]:
    """The shapes that an input of the card may have, without a batch dimension, the largest first."""
    return list(dict.fromkeys(tensor.sized(size) for size in card.input_sizes))


def fits(card: ModelCard, tensor: Tensor, array: NDArray[Any]) -> bool:
    """Whether an array without a batch dimension has the dtype and one of the shapes of an input of the card."""
    return array.dtype == DTYPES[tensor.dtype] and array.shape in input_shapes(card, tensor)
