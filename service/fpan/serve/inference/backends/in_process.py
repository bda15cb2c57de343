"""Computes the networks in the gateway's own process, where the embedded Triton cannot run.

Same repository, same runtime, same interface; threads instead of a server.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fpan.contract import ModelCard, ModelRepository, RepositoryError
from fpan.serve.api.errors import DeadlineExceeded, GatewayError, NotFound, Unavailable
from fpan.serve.inference.backend import Batch, CannotLoad, fits, stacked
from fpan.serve.inference.backends.runtime import Network, version_of
from fpan.serve.inference.settings import InferenceSettings
from fpan.serve.telemetry.traces import NO_TRACE, Trace

_log = logging.getLogger(__name__)


class InProcessBackend:
    """An :class:`~fpan.serve.inference.backend.InferenceBackend` of threads of this process."""

    def __init__(self, settings: InferenceSettings, repository: ModelRepository) -> None:
        self.description = f"in process, {version_of(settings.runtime)}, {settings.runtime_threads} threads"
        self._settings = settings
        self._repository = repository
        self._networks: dict[tuple[str, int], tuple[ModelCard, Network]] = {}
        self._pool = ThreadPoolExecutor(settings.instances, thread_name_prefix="network")

    @classmethod
    async def open(cls, settings: InferenceSettings, repository: ModelRepository, cards: Iterable[ModelCard]) -> Self:
        """Checks and compiles the networks.

        Raises:
            RepositoryError: a file is missing or was changed.
        """
        self = cls(settings, repository)
        for card in cards:
            self._networks[card.name, card.version] = card, await asyncio.to_thread(self._load, card)
        return self

    def _load(self, card: ModelCard) -> Network:
        self._repository.verify(card)
        path = self._repository.folder(card.name, card.version) / "model.onnx"
        settings = self._settings
        network = Network(path, settings.runtime, settings.runtime_threads, settings.instances, card.precision)
        everything = {tensor.name for tensor in card.outputs}
        for size in card.input_sizes:
            shapes = {tensor.name: tensor.sized(size) for tensor in card.inputs}
            network.prepare(everything - set(card.on_demand), shapes)
            network.prepare(everything, shapes)
        return network

    async def serve(self, cards: Sequence[ModelCard]) -> None:
        """See :class:`~fpan.serve.inference.backend.InferenceBackend`."""
        networks = {}
        for card in cards:
            key = card.name, card.version
            try:
                networks[key] = self._networks.get(key) or (card, await asyncio.to_thread(self._load, card))
            except RepositoryError:
                raise
            except Exception as error:  # whatever a runtime raises
                _log.exception("model %s version %d cannot be loaded", *key)
                raise CannotLoad(
                    f"model {card.name} version {card.version} cannot be loaded; the log says why"
                ) from error
        self._networks = networks

    async def infer(
        self,
        model: str,
        version: int,
        inputs: Batch,
        outputs: Sequence[str],
        timeout_s: float,
        trace: Trace = NO_TRACE,
    ) -> dict[str, NDArray[np.generic]]:
        """See :class:`~fpan.serve.inference.backend.InferenceBackend`."""
        try:
            card, network = self._networks[model, version]
        except KeyError:
            raise NotFound(f"version {version} of model {model} is not served") from None
        names = {tensor.name for tensor in card.outputs}
        if not (names >= set(outputs) and inputs.keys() == {t.name for t in card.inputs}) or not all(
            len(inputs[t.name]) and fits(card, t, inputs[t.name][0]) for t in card.inputs
        ):
            raise GatewayError(f"model {model} does not take what it was given")

        def run() -> dict[str, NDArray[np.generic]]:
            return network.run({name: stacked(items) for name, items in inputs.items()}, outputs)

        try:
            async with asyncio.timeout(timeout_s):
                # A run that has begun cannot be stopped; one that has not is taken out when its caller leaves.
                return await asyncio.get_running_loop().run_in_executor(self._pool, run)
        except TimeoutError:
            raise DeadlineExceeded(f"model {model} took longer than {timeout_s:.3g} s") from None
        except Exception as error:
            _log.exception("model %s version %d failed", model, version)
            raise Unavailable(f"model {model} failed; try again") from error

    async def ready(self, model: str, version: int) -> bool:
        """See :class:`~fpan.serve.inference.backend.InferenceBackend`."""
        return (model, version) in self._networks

    async def close(self) -> None:
        """See :class:`~fpan.serve.inference.backend.InferenceBackend`."""
        self._networks.clear()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
