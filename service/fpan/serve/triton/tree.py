"""Puts a serving tree together: links to the chosen versions in the model repository, and each model's configuration.

::

    <tree>/<model>/config.pbtxt
    <tree>/<model>/<version>/model.onnx    -> the model repository
                             model.py, fpan_runtime.py -> this package (embedded server)
                             model.plan    -> the cache of TensorRT plans
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from fpan.contract import ModelCard, ModelRepository
from fpan.serve.inference import runtime
from fpan.serve.triton.profiles import MODEL_FILE, PLAN_FILE, ServingOptions, config_of

CONFIG_FILE = "config.pbtxt"
_PYTHON_FILES = {
    "model.py": Path(__file__).parent / "python_model" / "model.py",
    "fpan_runtime.py": Path(runtime.__file__),
}
"""Name in the tree -> file of this package. Triton's Python process finds only what lies beside ``model.py``."""


@dataclass(frozen=True)
class PlanCache:
    """A folder of TensorRT plans. A plan fits one network, one TensorRT version and one type of GPU."""

    folder: Path
    tensorrt: str
    """Version, e.g. ``10.8.0.43``."""
    gpu: str
    """Name, e.g. ``NVIDIA L4``."""

    def path(self, card: ModelCard) -> Path:
        """Where the plan of a version is, or would be."""
        gpu = "-".join(self.gpu.lower().split())
        return self.folder / f"{card.sha256}-trt{self.tensorrt}-{gpu}.plan"


def put_together(
    repository: ModelRepository,
    versions: Iterable[tuple[str, int]],
    tree: Path,
    options: ServingOptions,
    *,
    plans: PlanCache | None = None,
    copy: bool = False,
) -> list[str]:
    """Makes the serving tree and returns the names of its models.

    Args:
        repository: the model repository; every file is compared with its card's sha256 first.
        versions: (name, version) of what is to be served.
        tree: folder of the tree; models of an earlier tree in it that are not to be served are removed.
        options: profile and sizes.
        plans: TensorRT plans for the profile ``ngc-tensorrt``.
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
    plans: PlanCache | None,
    copy: bool,
) -> None:
    found = {card.version: plans.path(card) for card in cards if plans is not None and plans.path(card).is_file()}
    plan = options.profile == "ngc-tensorrt" and len(found) == len(cards)
    config = config_of(cards, options, plan=plan)
    for card in cards:
        version = folder / str(card.version)
        version.mkdir(parents=True, exist_ok=True)
        _place(repository.folder(card.name, card.version) / MODEL_FILE, version / MODEL_FILE, copy)
        if plan:
            _place(found[card.version], version / PLAN_FILE, copy)
        if options.profile == "embedded":
            for target, source in _PYTHON_FILES.items():
                _place(source, version / target, copy)
    temporary = folder / f".{CONFIG_FILE}"
    temporary.write_text(config)
    temporary.replace(folder / CONFIG_FILE)  # at once: a server that looks in the middle sees the old or the new one


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
