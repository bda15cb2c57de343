"""Chooses what computes the networks."""

import logging
from collections.abc import Sequence
from pathlib import Path

from fpan.contract import ModelCard, ModelRepository
from fpan.serve.inference.backend import InferenceBackend
from fpan.serve.inference.backends.embedded_triton import EmbeddedBackend
from fpan.serve.inference.backends.in_process import InProcessBackend
from fpan.serve.inference.backends.triton import TritonBackend
from fpan.serve.inference.settings import InferenceSettings
from fpan.serve.inference.triton_server.server import TritonError

_log = logging.getLogger(__name__)


async def open_backend(
    settings: InferenceSettings, repository: ModelRepository, models: Sequence[ModelCard], runtime_dir: Path
) -> InferenceBackend:
    """Opens the backend that the settings ask for; its ``description`` is the line for start-up.

    Args:
        settings: ``triton_url`` names an external Triton, else ``backend`` chooses.
        repository: the folder that the versions are in.
        models: cards of the versions that are served.
        runtime_dir: folder for the embedded server's files; it belongs to this gateway alone.

    Raises:
        TritonError: ``backend=triton``, and the embedded server cannot run here or did not start; with ``auto`` the
            networks are computed in process then.
        RepositoryError: a version is missing or was changed.
        ValueError: two versions of a model differ in their tensors.
    """
    if settings.triton_url:
        return TritonBackend(settings.triton_url)
    reason = ""
    if settings.backend != "in-process":
        try:
            return await EmbeddedBackend.open(settings, repository, models, runtime_dir)
        except TritonError as error:
            if settings.backend == "triton":
                raise
            _log.warning("%s", error)
            reason = f" ({str(error).splitlines()[0]})"
    backend = await InProcessBackend.open(settings, repository, models)
    backend.description += reason
    return backend
