"""What the gateway needs of whatever computes the networks."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fpan.contract import ModelCard
from fpan.contract.card import Tensor
from fpan.serve.telemetry.traces import NO_TRACE, Trace

Tensors = Mapping[str, NDArray[np.generic]]
"""The inputs of one item, by name."""
Items = Sequence[NDArray[np.generic]] | NDArray[np.generic]
"""One input of a batch: an array for each item, or one whose first dimension is the batch."""
Batch = Mapping[str, Items]
"""The inputs of a batch, by name."""


class CannotLoad(Exception):
    """A version cannot be computed here, however often it is tried. The message says which; the log, why."""


def stacked(items: Items) -> NDArray[np.generic]:
    """One array of them all."""
    return items if isinstance(items, np.ndarray) else np.stack(items)


class InferenceBackend(Protocol):
    """Runs versions of the repository's models. Coroutine-safe: many calls may be under way at once."""

    description: str
    """One line for people: what computes, and where."""

    async def infer(
        self,
        model: str,
        version: int,
        inputs: Batch,
        outputs: Sequence[str],
        timeout_s: float,
        trace: Trace = NO_TRACE,
    ) -> dict[str, NDArray[np.generic]]:
        """Computes the named outputs of one batch.

        Args:
            model: the model's name.
            version: its version.
            inputs: with shapes and dtypes as the card says, the same number of items each.
            outputs: names of the outputs that are wanted; no other is computed where that can be avoided.
            timeout_s: how long it may take, in seconds.
            trace: which the inference belongs to.

        Raises:
            NotFound: the model or version is not served.
            Unavailable: the backend does not answer or broke down.
            DeadlineExceeded: it took longer than ``timeout_s``.
        """
        ...

    async def serve(self, cards: Sequence[ModelCard]) -> None:
        """Makes these versions answer and no others, while those that stay go on answering. One call at a time.

        Raises:
            CannotLoad: a version is of no use here.
            RepositoryError: a file of a version is missing or was changed.
            Unavailable: it did not work now, and may later.

        Whichever it is, what was served before still is.
        """
        ...

    async def ready(self, model: str, version: int) -> bool:
        """Whether that version answers now. Never raises."""
        ...

    async def close(self) -> None:
        """Ends it and everything that it started."""
        ...


DTYPES: dict[str, type[np.generic]] = {"UINT8": np.uint8, "FP32": np.float32}
"""numpy's type for each ``dtype`` of a card."""


def input_shapes(card: ModelCard, tensor: Tensor) -> list[tuple[int, ...]]:
    """The shapes that an input of the card may have, without a batch dimension, the largest first."""
    return list(dict.fromkeys(tensor.sized(size) for size in card.input_sizes))


def fits(card: ModelCard, tensor: Tensor, array: NDArray[Any]) -> bool:
    """Whether an array without a batch dimension has the dtype and one of the shapes of an input of the card."""
    return array.dtype == DTYPES[tensor.dtype] and array.shape in input_shapes(card, tensor)
