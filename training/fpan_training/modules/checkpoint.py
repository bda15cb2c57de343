"""Checkpoints of the modules, as their networks are built again from them."""

from pathlib import Path
from typing import Any

from fpan_training.data.folder import DataError
from fpan_training.engine.checkpoint import load


def read(checkpoint: Path, module: str) -> dict[str, Any]:
    """A checkpoint that ``fpan-train train MODULE`` made: the sizes under the module's name, the weights under
    ``network``.

    Raises:
        DataError: it is another module's.
    """
    stored = load(checkpoint)
    if module not in stored:
        raise DataError(
            f"{checkpoint} is no checkpoint of {module.upper()}: give the best.pt of `fpan-train train {module}`"
        )
    return stored
