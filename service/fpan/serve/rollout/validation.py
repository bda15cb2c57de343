"""The trial of a version before it may answer: its golden pictures, computed where requests will be."""

import asyncio
from pathlib import Path

import numpy as np

from fpan.contract import GOLDEN_FILE, GoldenPictures, ModelCard, RepositoryError
from fpan.serve.inference.backend import DTYPES, InferenceBackend

_LABELS = "labels"
_ROUNDED = 0.98
"""Least share of a version in int8 or bf16, where the limit is not lower yet. Runtimes round eight bits differently:
OpenVINO gives 99.4 % of ONNX Runtime's labels in int8, and in bf16 99.6 % of those of float32."""


class ValidationFailed(Exception):
    """A version does not say what it must. The message says which, and how far it is off."""


async def validate(
    backend: InferenceBackend, card: ModelCard, folder: Path, least: float, batch: int, timeout_s: float
) -> None:
    """Passes the version's golden pictures through the backend; of one without any, sees whether it answers at all.

    Args:
        backend: where it is loaded.
        card: of the version.
        folder: of its files.
        least: share of the pixels whose label must be as it should, 0 to 1, of a version in float32. Runtimes round
            differently, and much more so in int8 and bf16, of which 98 % are asked at most.
        batch: pictures that go through at once.
        timeout_s: how long a batch may take, in seconds.

    Raises:
        ValidationFailed: it says something else.
        RepositoryError: the file of its golden pictures is of no use.
        GatewayError: it does not answer.
    """
    if GOLDEN_FILE not in card.files:
        await _answers(backend, card, timeout_s)
        return
    golden = await asyncio.to_thread(GoldenPictures.read, folder / GOLDEN_FILE)
    (images,) = card.inputs
    if golden.images.shape[1:] != images.shape:
        raise RepositoryError(f"{folder / GOLDEN_FILE} holds pictures {golden.images.shape[1:]}, not {images.shape}")
    said = []
    for first in range(0, len(golden.images), batch):
        inputs = {images.name: golden.images[first : first + batch]}
        said.append((await backend.infer(card.name, card.version, inputs, (_LABELS,), timeout_s))[_LABELS])
    share = float(np.mean(np.concatenate(said) == golden.labels))
    least = least if card.precision == "fp32" else min(least, _ROUNDED)
    if share < least:
        raise ValidationFailed(
            f"{card.name} version {card.version} gives {share:.2%} of the pixels of its golden pictures the label that "
            f"they must have, less than {least:.2%}"
        )


async def _answers(backend: InferenceBackend, card: ModelCard, timeout_s: float) -> None:
    outputs = [tensor.name for tensor in card.outputs if tensor.name not in card.on_demand]
    for size in card.input_sizes:
        inputs = {each.name: np.zeros((1, *each.sized(size)), DTYPES[each.dtype]) for each in card.inputs}
        await backend.infer(card.name, card.version, inputs, outputs, timeout_s)
