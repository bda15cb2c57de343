"""The serving tree of a Triton: a folder and a configuration for each model."""

import logging
import shutil
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Protocol

import onnx

from fpan.contract import ModelCard, ModelRepository
from fpan.contract.network import full
from fpan.serve.inference.backends import runtime
from fpan.serve.inference.triton_server.profiles import (
    MODEL_FILE,
    PLAN_FILE,
    ServingOptions,
    config_of,
)

CONFIG_FILE = "config.pbtxt"
_log = logging.getLogger(__name__)


class NoPlan(Exception):
    """No plan fits; ``str()`` says why: which there is, and what of it does not fit."""


class Plans(Protocol):
    """TensorRT plans; see :class:`~fpan.tensorrt.plans.Plans`."""

    def find(self, card: ModelCard, max_batch: int) -> Path:
        """The plan of a version for batches of that size; raises :class:`NoPlan` where none fits."""
        ...


_PYTHON_FILES = {
    "model.py": Path(__file__).parent / "python_model" / "model.py",
    "fpan_runtime.py": Path(runtime.__file__),
}
"""Name in the tree -> file of this package. Triton's Python process finds only what lies beside ``model.py``."""


def put_together(
    repository: ModelRepository,
    versions: Iterable[tuple[str, int]],
    tree: Path,
    options: ServingOptions,
    *,
    plans: Plans | None = None,
    copy: bool = False,
) -> list[str]:
    """Makes the serving tree and returns the names of its models.

    Args:
        repository: the model repository; every file is compared with its card's sha256 first.
        versions: (name, version) of what is to be served.
        tree: folder of the tree; models of an earlier tree in it that are not to be served are removed.
        options: profile and sizes.
        plans: TensorRT plans for the profile ``ngc-tensorrt``. Of a segmentation model without one that fits a warning
            says why, and ONNX Runtime with its TensorRT accelerator computes it.
        copy: copies files instead of linking them, for a tree that goes elsewhere, e.g. into a container.

    Raises:
        RepositoryError: a version is missing or was changed.
        ValueError: two versions of a model differ in their tensors.
    """
    cards = [repository.card(name, version) for name, version in sorted(set(versions))]
    for card in cards:
        repository.verify(card)
    names = []
    for name, group in groupby(cards, lambda card: card.name):
        _model(repository, list(group), tree / name, options, plans, copy)
        names.append(name)
    for old in tree.iterdir() if tree.is_dir() else ():
        if old.name not in names:
            shutil.rmtree(old)
    return names


def _model(
    repository: ModelRepository,
    cards: list[ModelCard],
    folder: Path,
    options: ServingOptions,
    plans: Plans | None,
    copy: bool,
) -> None:
    found = _plans(cards, plans, options) if plans is not None and options.profile == "ngc-tensorrt" else {}
    config = config_of(cards, options, plan=bool(found))
    for card in cards:
        version = folder / str(card.version)
        version.mkdir(parents=True, exist_ok=True)
        network = repository.folder(card.name, card.version) / MODEL_FILE
        if options.profile == "ngc-tensorrt" and card.precision == "int8":
            # TensorRT takes no bytes without a sign: it makes of float32 what it wants.
            (version / MODEL_FILE).unlink(missing_ok=True)
            onnx.save(full(onnx.load(network)), version / MODEL_FILE)
        else:
            _place(network, version / MODEL_FILE, copy)
        if found:
            _place(found[card.version], version / PLAN_FILE, copy)
        else:
            (version / PLAN_FILE).unlink(missing_ok=True)
        if options.profile == "embedded":
            for target, source in _PYTHON_FILES.items():
                _place(source, version / target, copy)
    temporary = folder / f".{CONFIG_FILE}"
    temporary.write_text(config)
    temporary.replace(folder / CONFIG_FILE)  # at once: a server that looks in the middle sees the old or the new one


def _plans(cards: list[ModelCard], plans: Plans, options: ServingOptions) -> dict[int, Path]:
    """Version -> its plan; empty unless each has one, since one configuration is for all versions of a model."""
    if any(card.task != "segmentation" for card in cards):  # no plans are built of others
        return {}
    found = {}
    for card in cards:
        try:
            found[card.version] = plans.find(card, options.max_batch)
        except NoPlan as why:
            _log.warning(
                "%s version %d: %s; ONNX Runtime with its TensorRT accelerator computes %s instead "
                "(`fpan engine` builds a plan)",
                card.name,
                card.version,
                why,
                card.name,
            )
            return {}
    return found


def _place(source: Path, target: Path, copy: bool) -> None:
    """Links a file, or copies it where links cannot be made."""
    target.unlink(missing_ok=True)
    if not copy:
        try:
            target.symlink_to(source.resolve())
        except OSError:
            copy = True
    if copy:
        temporary = target.with_name(f".{target.name}")
        shutil.copyfile(source, temporary)
        temporary.replace(target)
