"""Writes a serving tree that goes elsewhere, for a Triton that this project does not start."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast, get_args

from fpan.serve.inference.backends.runtime import RuntimeName
from fpan.serve.inference.triton_server.profiles import PROFILES, Profile, ServingOptions
from fpan.serve.inference.triton_server.tree import put_together
from fpan.serve.rollout.repository import WatchedRepository
from fpan.serve.rollout.settings import RolloutSettings
from fpan.tensorrt.manifest import Precision, Target
from fpan.tensorrt.plans import Plans
from fpan.tensorrt.trtexec import target_at_hand


class UnknownChoice(ValueError):
    """A profile or a runtime that does not exist; the message lists those that do."""


def write_tree(
    folder: Path,
    settings: RolloutSettings,
    profile: str,
    runtime: str,
    threads: int,
    instances: int,
    max_batch: int,
    plans: Plans | None = None,
) -> list[str]:
    """Copies the versions that the gateway would serve into ``folder``, with a configuration for ``profile``.

    The profile ``ngc-tensorrt`` takes those of ``plans`` that fit; see :func:`put_together`.

    Args:
        folder: made where it is missing.
        settings: which repository and models.
        profile: where the models will be served.
        runtime: what computes where there is no TensorRT.
        threads: of one instance.
        instances: of each model.
        max_batch: crops of the largest batch.
        plans: of TensorRT.

    Returns:
        The names of the models.

    Raises:
        UnknownChoice: there is no such profile or runtime.
        RepositoryError: the repository, or a file in it, is missing or was changed.
    """
    for word, known in ((profile, PROFILES), (runtime, get_args(RuntimeName))):
        if word not in known:
            raise UnknownChoice(f"{word!r} is none of {', '.join(known)}")
    options = ServingOptions(cast(Profile, profile), cast(RuntimeName, runtime), threads, instances, max_batch)
    with TemporaryDirectory(prefix="fpan-") as fetched:
        followed = WatchedRepository(settings, Path(fetched) / "repository")
        versions = [each.version for each in followed.wanted()]
        return put_together(followed.repository, versions, folder, options, plans=plans, copy=True)


def find_plans(folder: Path, precision: Precision, tensorrt: str | None, gpu: str | None) -> Plans:
    """A folder of TensorRT plans, for the TensorRT and the GPU that are named or else are this machine's.

    Raises:
        EngineError: this machine's cannot be told apart.
    """
    if tensorrt is not None and gpu is not None:
        return Plans(folder, Target(tensorrt=tensorrt, gpu=gpu), precision)
    here = target_at_hand() if folder.is_dir() else None
    if here is None:
        return Plans(folder, None, precision)
    return Plans(folder, Target(tensorrt=tensorrt or here.tensorrt, gpu=gpu or here.gpu), precision)
