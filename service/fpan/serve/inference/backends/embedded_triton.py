"""The embedded Triton as a backend: started with the gateway, watched, and started again when it breaks down."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fpan.contract import ModelCard, ModelRepository
from fpan.serve.api.errors import Unavailable
from fpan.serve.inference.backend import Batch, CannotLoad
from fpan.serve.inference.backends.runtime import version_of
from fpan.serve.inference.backends.shared_memory import reserve
from fpan.serve.inference.backends.triton import TritonBackend
from fpan.serve.inference.settings import InferenceSettings
from fpan.serve.inference.triton_server.install import Installation, supported
from fpan.serve.inference.triton_server.profiles import ServingOptions
from fpan.serve.inference.triton_server.server import TritonError, TritonServer
from fpan.serve.inference.triton_server.tree import put_together
from fpan.serve.telemetry.traces import NO_TRACE, Trace

_log = logging.getLogger(__name__)

_POLL_S = 0.05
"""Between two looks whether a server that starts is ready, in seconds."""
_WATCH_S = 1.0
"""Between two looks whether a server that runs is still well, in seconds."""
_STRIKES = 3
"""Looks in a row that find a model not ready before the server is started again."""
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_STABLE_S = 60.0
"""A server that ran for so long, in seconds, is started again without a growing pause."""
_PORT_TRIES = 3

_Versions = frozenset[tuple[str, int]]


class EmbeddedBackend:
    """An :class:`~fpan.serve.inference.backend.InferenceBackend` that owns its Triton server."""

    def __init__(self, settings: InferenceSettings, repository: ModelRepository, runtime_dir: Path) -> None:
        self.description = "embedded Triton"
        self._repository = repository
        self._options = ServingOptions(
            "embedded", settings.runtime, settings.runtime_threads, settings.instances, settings.max_batch
        )
        self._start_timeout_s = settings.triton_start_timeout_s
        self._tree, self._home = runtime_dir / "models", runtime_dir / "triton"
        self._served: _Versions = frozenset()
        self._changing = asyncio.Lock()
        self._installation = Installation.find()
        self._server: TritonServer | None = None
        self._client: TritonBackend | None = None
        self._watcher: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, settings: InferenceSettings, repository: ModelRepository, cards: Sequence[ModelCard], runtime_dir: Path
    ) -> Self:
        """Puts the serving tree together and starts the server.

        Raises:
            TritonError: it cannot run here, or did not start.
            RepositoryError: a version is missing or was changed.
            ValueError: two versions of a model differ in their tensors.
        """
        if reason := supported():
            raise TritonError(f"The embedded Triton cannot run here: {reason}")
        self = cls(settings, repository, runtime_dir)
        await self._put_together(_versions(cards))
        await asyncio.to_thread(self._installation.assemble, self._home)
        version = await self._start()
        runtime = f"{version_of(settings.runtime)}, {settings.runtime_threads} threads"
        self.description = f"embedded Triton {version}, {runtime}"
        self._watcher = asyncio.create_task(self._watch(), name="watch over the embedded Triton")
        return self

    @property
    def server(self) -> TritonServer | None:
        """The server that runs now; None while it is being started again."""
        return self._server

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
        if self._client is None:
            raise Unavailable("the inference server is starting again; try again in a moment")
        return await self._client.infer(model, version, inputs, outputs, timeout_s, trace)

    async def serve(self, cards: Sequence[ModelCard]) -> None:
        """See :class:`~fpan.serve.inference.backend.InferenceBackend`.

        The server knows no load of a single version: it loads all versions of a changed model anew, beside those that
        answer meanwhile.
        """
        async with self._changing:
            former, wanted = self._served, _versions(cards)
            if wanted == former:
                return
            try:
                await self._put_together(wanted)
            except ValueError as error:
                await self._put_together(former)
                raise CannotLoad(str(error)) from error
            except Exception:
                await self._put_together(former)
                raise
            try:
                await self._follow(former, wanted)
            except Exception:
                await self._put_together(former)
                await self._follow(wanted, former)
                raise

    async def _put_together(self, versions: _Versions) -> None:
        await asyncio.to_thread(put_together, self._repository, versions, self._tree, self._options)
        # What a server that is started again from now on serves.
        self._served = versions

    async def _follow(self, before: _Versions, now: _Versions) -> None:
        """Makes the running server do as the tree says. One that is being started again does so by itself."""
        server, client = self._server, self._client
        if server is None or client is None:
            return
        server.started(0)  # processes come and go for a while
        try:
            for model in sorted({name for name, _ in before ^ now}):
                act = client.load if model in _names(now) else client.unload
                await act(model, server.grpc_headers, self._start_timeout_s)
        finally:
            server.started(self._workers)

    @property
    def _workers(self) -> int:
        return len(self._served) * self._options.instances

    async def ready(self, model: str, version: int) -> bool:
        """See :class:`~fpan.serve.inference.backend.InferenceBackend`."""
        return self._client is not None and await self._client.ready(model, version)

    async def close(self) -> None:
        """Ends the server. Returns when nothing of it is left."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        await self._end()

    async def _start(self) -> str:
        """Starts the server, waits until all models answer, and returns its version."""
        for attempt in range(_PORT_TRIES):
            names = _names(self._served)
            server = await TritonServer.spawn(self._installation, self._tree, names, self._home)
            client = TritonBackend(server.grpc_address, direct=True)
            try:
                version = await self._until_ready(server, client)
            except BaseException as error:
                await client.close()
                await server.stop()
                # Somebody took one of the ports between our choice and the server's start.
                if isinstance(error, TritonError) and "already in use" in str(error) and attempt + 1 < _PORT_TRIES:
                    continue
                raise
            server.started(self._workers)
            await self._share(server, client)
            self._server, self._client = server, client
            return version
        raise AssertionError  # the last attempt has returned or raised

    async def _share(self, server: TritonServer, client: TritonBackend) -> None:
        cards = [self._repository.card(*version) for version in self._served]
        # A batch of each of two models for each instance: the detector and what segments.
        memory = reserve(cards, self._options.max_batch, slots=2 * self._options.instances)
        if memory is not None:
            await client.share(memory, server.grpc_headers)

    async def _until_ready(self, server: TritonServer, client: TritonBackend) -> str:
        try:
            async with asyncio.timeout(self._start_timeout_s):
                while server.running:
                    match await client.server():
                        case (server.id, version):
                            return version
                    await asyncio.sleep(_POLL_S)
                status = await server.ended()
        except TimeoutError:
            text = f"The embedded Triton was not ready within {self._start_timeout_s:.3g} s"
            raise TritonError(f"{text}. Its last words:\n{server.log_tail}") from None
        text = f"The embedded Triton ended with status {status} at its start"
        raise TritonError(f"{text}. Its last words:\n{server.log_tail}")

    async def _watch(self) -> None:
        """Starts the server again whenever it breaks down, after pauses that grow while that does not help."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE_S
        while True:
            since = loop.time()
            _log.error("%s; it is started again", await self._trouble())
            await self._end(at_once=True)
            if loop.time() - since > _STABLE_S:
                pause = _FIRST_PAUSE_S
            while self._server is None:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                try:
                    async with self._changing:  # what is served must not change under it
                        await self._start()
                except (TritonError, OSError) as error:
                    _log.error("%s", error)
            _log.warning("the embedded Triton is back")

    async def _trouble(self) -> str:
        """Waits until the server breaks down, and says how."""
        assert self._server is not None
        assert self._client is not None
        strikes = 0
        while strikes < _STRIKES:
            with contextlib.suppress(TimeoutError):
                status = await asyncio.wait_for(self._server.ended(), _WATCH_S)
                return f"the embedded Triton ended with status {status}"
            if not self._server.whole:
                return "a Python process of the embedded Triton died"
            ready = [await self._client.ready(name, version) for name, version in self._served]
            strikes = 0 if all(ready) or self._changing.locked() else strikes + 1
        return "a model of the embedded Triton does not answer any more"

    async def _end(self, *, at_once: bool = False) -> None:
        client, self._client = self._client, None
        server, self._server = self._server, None
        if client is not None:
            await client.close()
        if server is not None:
            await server.stop(at_once=at_once)


def _versions(cards: Iterable[ModelCard]) -> _Versions:
    return frozenset((card.name, card.version) for card in cards)


def _names(versions: _Versions) -> list[str]:
    return sorted({name for name, _ in versions})
