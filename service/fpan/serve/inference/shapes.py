"""The card's tensors in numpy's words."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan.contract.card import Tensor

DTYPES: dict[str, type[np.generic]] = {"UINT8": np.uint8, "FP32": np.float32}
"""numpy's type for each ``dtype`` of a card."""
ANY = -1
"""A dimension of a card's tensor that may have any size."""


def fits(tensor: Tensor, array: NDArray[Any]) -> bool:
    """Whether an array without a batch dimension has the dtype and shape that the card names."""
    return (
        array.dtype == DTYPES[tensor.dtype]
        and array.ndim == len(tensor.shape)
        and all(want in (ANY, have) for want, have in zip(tensor.shape, array.shape, strict=True))
    )
