"""Computes the networks in a Triton server, over gRPC."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from fpan.contract import ModelCard
from fpan.serve.api.errors import DeadlineExceeded, GatewayError, NotFound, Unavailable
from fpan.serve.inference.backend import Batch, CannotLoad, Items, stacked
from fpan.serve.inference.backends.shared_memory import SharedInputs
from fpan.serve.telemetry.traces import NO_TRACE, Trace

_log = logging.getLogger(__name__)

_CHECK_TIMEOUT_S = 5.0
"""How long a question after readiness may take, in seconds."""
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that comes back is found again within a second; by default that may take two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A call is never sent twice: what the server has begun to compute is not begun again.
    ("grpc.enable_retries", 0),
]


class TritonBackend:
    """An :class:`~fpan.serve.inference.backend.InferenceBackend` of a Triton server at some address."""

    def __init__(self, address: str, *, direct: bool = False) -> None:
        """Connects when first used.

        Args:
            address: HOST:PORT of the server's gRPC.
            direct: never through a proxy that the environment names.
        """
        self.description = f"Triton at {address}"
        self._client = InferenceServerClient(
            address, channel_args=[*_CHANNEL, ("grpc.enable_http_proxy", 0 if direct else 1)]
        )
        self._shared: SharedInputs | None = None

    async def share(self, memory: SharedInputs, headers: Mapping[str, str]) -> None:
        """From now on hands large inputs over in memory that the server, on this machine, opens.

        Args:
            memory: whose name is forgotten, whatever comes of it.
            headers: what opens the server's registration of shared memory.
        """
        try:
            with _unclosed():
                await self._client.register_system_shared_memory(
                    memory.name, memory.key, memory.size, headers=headers, client_timeout=_CHECK_TIMEOUT_S
                )
        except (InferenceServerException, Unavailable) as error:
            _log.warning("Triton takes no inputs from shared memory (%s): they go over gRPC, which takes longer", error)
        else:
            self._shared = memory
        finally:
            memory.forget_name()

    async def infer(
        self,
        model: str,
        version: int,
        inputs: Batch,
        outputs: Sequence[str],
        timeout_s: float,
        trace: Trace = NO_TRACE,
    ) -> dict[str, NDArray[np.generic]]:
        """See :class:`~fpan.serve.inference.backend.InferenceBackend`. The arrays are read-only."""
        if timeout_s <= 0:
            raise DeadlineExceeded(f"there was no time left for model {model}")
        try:
            with ExitStack() as lent, _unclosed():
                result = await self._client.infer(
                    model,
                    [self._input(name, items, lent) for name, items in inputs.items()],
                    model_version=str(version),
                    outputs=[InferRequestedOutput(name) for name in outputs],
                    client_timeout=timeout_s,
                    headers=dict(trace),
                )
        except InferenceServerException as error:
            raise _translated(error, model, version, timeout_s) from error
        arrays = {name: result.as_numpy(name) for name in outputs}
        if missing := [name for name, array in arrays.items() if array is None]:
            _log.error("Triton left out %s of model %s version %d", missing, model, version)
            raise Unavailable(f"model {model} failed; try again")
        return arrays

    def _input(self, name: str, items: Items, lent: ExitStack) -> InferInput:
        tensor = InferInput(name, (len(items), *items[0].shape), np_to_triton_dtype(items[0].dtype))
        if self._shared is not None and (offset := lent.enter_context(self._shared.lend(items))) is not None:
            return tensor.set_shared_memory(self._shared.name, len(items) * items[0].nbytes, offset)
        return tensor.set_data_from_numpy(stacked(items))

    async def ready(self, model: str, version: int) -> bool:
        """See :class:`~fpan.serve.inference.backend.InferenceBackend`."""
        try:
            with _unclosed():
                return bool(await self._client.is_model_ready(model, str(version), client_timeout=_CHECK_TIMEOUT_S))
        except (InferenceServerException, Unavailable):
            return False

    async def serve(self, cards: Sequence[ModelCard]) -> None:
        """See :class:`~fpan.serve.inference.backend.InferenceBackend`. Somebody else loads what this server serves."""
        for card in cards:
            if not await self.ready(card.name, card.version):
                raise Unavailable(
                    f"{self.description} does not serve {card.name} version {card.version}: load it there"
                )

    async def load(self, model: str, headers: Mapping[str, str], timeout_s: float) -> None:
        """Has the server load a model as its folder is now; versions that answered go on until that is done.

        Args:
            model: its name.
            headers: what opens the server's model control.
            timeout_s: how long it may take, in seconds.

        Raises:
            CannotLoad: it cannot be loaded.
            Unavailable: the server does not answer.
        """
        try:
            with _unclosed():
                await self._client.load_model(model, headers=headers, client_timeout=timeout_s)
        except InferenceServerException as error:
            raise _not_done("load", model, error) from error

    async def unload(self, model: str, headers: Mapping[str, str], timeout_s: float) -> None:
        """Has the server take a model away, once what it computes is done; see :meth:`load`."""
        try:
            with _unclosed():
                await self._client.unload_model(model, headers=headers, client_timeout=timeout_s)
        except InferenceServerException as error:
            raise _not_done("unload", model, error) from error

    async def server(self) -> tuple[str, str] | None:
        """The server's name for itself and its version once all its models are ready, else None."""
        try:
            with _unclosed():
                if not await self._client.is_server_ready(client_timeout=_CHECK_TIMEOUT_S):
                    return None
                metadata = await self._client.get_server_metadata(client_timeout=_CHECK_TIMEOUT_S)
        except (InferenceServerException, Unavailable):
            return None
        return str(metadata.name), str(metadata.version)

    async def close(self) -> None:
        """Closes the connection. Calls under way end with :class:`Unavailable`."""
        await self._client.close()


@contextmanager
def _unclosed() -> Iterator[None]:
    """Tells a call whose connection was closed under it, which ends as if its task had been cancelled, from that."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable("the inference server went away; try again") from None


def _not_done(what: str, model: str, error: InferenceServerException) -> Exception:
    _log.error("Triton cannot %s model %s: %s", what, model, error)
    if error.status() in ("StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED"):
        return Unavailable("the inference server does not answer; try again")
    return CannotLoad(f"the inference server cannot {what} model {model}; the gateway's log says why")


def _translated(error: InferenceServerException, model: str, version: int, timeout_s: float) -> GatewayError:
    """Our error for the server's. Its own text goes to the log alone: it may name paths and addresses."""
    _log.warning("Triton on model %s version %d: %s", model, version, error)
    match error.status():
        case "StatusCode.NOT_FOUND":
            return NotFound(f"version {version} of model {model} is not served")
        case "StatusCode.DEADLINE_EXCEEDED":
            return DeadlineExceeded(f"model {model} took longer than {timeout_s:.3g} s")
        case "StatusCode.INVALID_ARGUMENT":
            return GatewayError(f"model {model} does not take what it was given")
        case "StatusCode.UNAVAILABLE":
            return Unavailable("the inference server does not answer; try again")
        case _:
            return Unavailable(f"model {model} failed; try again")
