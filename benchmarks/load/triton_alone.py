"""The embedded Triton by itself, as the gateway would start it, for its own load generator.

python -m benchmarks.load.triton_alone    prints its gRPC address and runs until SIGTERM
"""

import asyncio
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

from fpan.contract import ModelRepository
from fpan.serve.config import Settings
from fpan.serve.inference.backends.embedded_triton import EmbeddedBackend

from tests.support.service import ROOT


async def main() -> None:
    """Starts it, says where, and ends it."""
    settings = Settings(model_repository=ROOT / "model_repository")
    repository = ModelRepository(settings.model_repository)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    with TemporaryDirectory() as folder:
        backend = await EmbeddedBackend.open(settings, repository, [repository.card("segm", 2)], Path(folder))
        assert backend.server is not None
        print(backend.server.grpc_address, flush=True)
        await over.wait()
        await backend.close()


if __name__ == "__main__":
    asyncio.run(main())
