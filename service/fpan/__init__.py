"""Mask-FPAN Serve: face parsing as a service.

The base package is the Python client, the command line and the model contract. The gateway is the extra ``[serve]``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fpan.client import AsyncClient, AsyncGrpcClient, Client, GrpcClient

__all__ = ["AsyncClient", "AsyncGrpcClient", "Client", "GrpcClient", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Loads the client when it is asked for: training and the gateway import this package without it."""
    if name in ("AsyncClient", "AsyncGrpcClient", "Client", "GrpcClient"):
        from fpan import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
