"""The Python client of a face parsing server.

>>> from fpan import Client
>>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     result = client.parse("photo.jpg", groups=["eyes", "lips"])
...     result.labels  # uint8 (H, W)

:class:`Client` and :class:`AsyncClient` speak HTTP, :class:`GrpcClient` and :class:`AsyncGrpcClient` gRPC.
"""

from typing import TYPE_CHECKING, Any

from fpan.client._asynchronous import AsyncClient
from fpan.client._blocking import Client
from fpan.client._decoding import Mask, Polygon, SoftMasks
from fpan.client._options import Drawing, Options, Output, Shape
from fpan.client._patience import Retry
from fpan.client.errors import ApiError, DeadlinePassed, FpanError, ServerUnreachable, TryAgain, UnexpectedAnswer
from fpan.client.types import CoveredFace, CropFrame, Face, Health, Job, ModelVersion, Part, Pose, Result
from fpan.extras import how_to_install

if TYPE_CHECKING:
    from fpan.client._grpc_clients import AsyncGrpcClient, GrpcClient

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncGrpcClient",
    "Client",
    "CoveredFace",
    "CropFrame",
    "DeadlinePassed",
    "Drawing",
    "Face",
    "FpanError",
    "GrpcClient",
    "Health",
    "Job",
    "Mask",
    "ModelVersion",
    "Options",
    "Output",
    "Part",
    "Polygon",
    "Pose",
    "Result",
    "Retry",
    "ServerUnreachable",
    "Shape",
    "SoftMasks",
    "TryAgain",
    "UnexpectedAnswer",
]


def __getattr__(name: str) -> Any:
    """Imports the gRPC clients on first access, because the base install has no gRPC."""
    if name not in ("AsyncGrpcClient", "GrpcClient"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from fpan.client import _grpc_clients
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "fpan":
            raise
        raise ImportError(
            f"{name} needs the extra [grpc] ({error.name} is missing): {how_to_install('grpc')}"
        ) from error
    return getattr(_grpc_clients, name)
