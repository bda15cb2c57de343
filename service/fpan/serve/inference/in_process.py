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

from fpan.contract import ModelCard, ModelRepository
from fpan.serve.errors import DeadlineExceeded, GatewayError, NotFound, Unavailable
from fpan.serve.inference.backend import Tensors
from fpan.serve.inference.runtime import Network, version_of
from fpan.serve.inference.shapes import fits
from fpan.serve.settings import Settings

_log = logging.getLogger(__name__)

_Networks = dict[tuple[str, int], tuple[ModelCard, Network]]


class InProcessBackend:
    """An :class:`~fpan.serve.inference.backend.InferenceBackend` of threads of this process."""

    def __init__(self, networks: _Networks, description: str, at_once: int) -> None:
        self.description = description
        self._networks = networks
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="network")

    @classmethod
    async def open(cls, settings: Settings, repository: ModelRepository, cards: Iterable[ModelCard]) -> Self:
        """Checks and compiles the networks.

        Raises:
            RepositoryError: a file is missing or was changed.
        """

        def load(card: ModelCard) -> Network:
            repository.verify(card)
            path = repository.folder(card.name, card.version) / "model.onnx"
            network = Network(path, settings.runtime, settings.runtime_threads, settings.instances)
            everything = {tensor.name for tensor in card.outputs}
            network.prepare(everything - set(card.on_demand))
            network.prepare(everything)
            return network

        networks = {(card.name, card.version): (card, await asyncio.to_thread(load, card)) for card in cards}
        description = f"in process, {version_of(settings.runtime)}, {settings.runtime_threads} threads"
        return cls(networks, description, settings.instances)

    async def infer(
        self, model: str, version: int, inputs: Tensors, outputs: Sequence[str], timeout_s: float
    ) -> dict[str, NDArray[np.generic]]:
        """See :class:`~fpan.serve.inference.backend.InferenceBackend`."""
        try:
            card, network = self._networks[model, version]
        except KeyError:
            raise NotFound(f"version {version} of model {model} is not served") from None
        names = {tensor.name for tensor in card.outputs}
        if not (names >= set(outputs) and inputs.keys() == {t.name for t in card.inputs}) or not all(
            len(inputs[t.name]) and fits(t, inputs[t.name][0]) for t in card.inputs
        ):
            raise GatewayError(f"model {model} does not take what it was given")
        try:
            async with asyncio.timeout(timeout_s):
                # A run that has begun cannot be stopped; one that has not is taken out when its caller leaves.
                return await asyncio.get_running_loop().run_in_executor(self._pool, network.run, inputs, outputs)
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
