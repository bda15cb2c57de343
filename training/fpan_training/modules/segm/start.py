"""The registered version that a run starts from: found, verified, and copied into the run's folder."""

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from fpan.contract import CARD_FILE, ModelCard, Reference, RepositoryError, read_card
from fpan.contract.aliases import CHAMPION
from fpan.registry import Registry, open_store

from fpan_training.files import write_whole
from fpan_training.modules.segm.stored import RESUME, read_checkpoint

CHECKPOINT, CONFIG = "checkpoint_fp16.pt", "config.json"
"""Files of a version that training goes on from. Versions from before ``resume.npz`` have the checkpoint whole."""
MODEL = "model.onnx"
FOLDER = "start"
"""In a run's folder."""


@dataclass(frozen=True)
class Start:
    """A version's checkpoint, configuration and card, in a folder of the run."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Its weights, rounded to half precision."""
        return self.folder / CHECKPOINT

    @property
    def card(self) -> ModelCard:
        """Its card, which lies beside the checkpoint, so that sources and licences are carried over."""
        return read_card((self.folder / CARD_FILE).read_bytes())

    @property
    def config(self) -> dict[str, Any]:
        """How it was trained."""
        return dict(json.loads((self.folder / CONFIG).read_text(encoding="utf-8")))


def take_start(repository: str, name: str, version: str, run: Path) -> Start:
    """The version that a run starts from; one that was begun goes on from its own, wherever the alias points now.

    Args:
        repository: address of the model repository.
        name: of the model.
        version: an alias or a number. ``champion`` is the highest version where none is champion.
        run: folder of the run.

    Raises:
        RepositoryError: there is no such version, a file of it was changed, or it has no checkpoint.
        ValueError: ``version`` is neither, or the run was begun from another one.
    """
    start = Start(run / FOLDER)
    if (start.folder / CARD_FILE).is_file():
        begun = start.card
        if (name, version) != (begun.name, str(begun.version)) and (name != begun.name or version.isdecimal()):
            raise ValueError(
                f"{run} was begun from {begun.name} version {begun.version}, not {name} version {version}: name "
                "another --run"
            )
        print(f"{run} goes on as it was begun, from {begun.name} version {begun.version}")
        return start
    registry = Registry(open_store(repository))
    card = registry.verified(_reference(name, version))
    checkpoint = {CHECKPOINT} if CHECKPOINT in card.files else {MODEL, RESUME}
    if missing := sorted({*checkpoint, CONFIG} - set(card.files)):
        raise RepositoryError(
            f"{name} version {card.version} has no {' and no '.join(missing)}: only versions that "
            "`fpan-train register` wrote can be trained on"
        )
    start.folder.mkdir(parents=True, exist_ok=True)
    # The card comes last: with it the copy is whole.
    if CHECKPOINT in card.files:
        write_whole(start.checkpoint, registry.store.read(card, CHECKPOINT))
    else:
        made = BytesIO()
        torch.save(read_checkpoint(registry.store.read(card, MODEL), registry.store.read(card, RESUME)), made)
        write_whole(start.checkpoint, made.getvalue())
    for file in (CONFIG, CARD_FILE):
        write_whole(start.folder / file, registry.store.read(card, file))
    print(f"starting from {name} version {card.version} of {registry.store.address}")
    return start


def _reference(name: str, version: str) -> Reference:
    if version == CHAMPION:
        return Reference(name)
    return Reference.parse(f"{name}:{version}" if version.isdecimal() else f"{name}@{version}")
