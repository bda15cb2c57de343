"""The Python client of a face parsing server.

>>> from fpan import Client
>>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     result = client.parse("photo.jpg", groups=["eyes", "lips"])
...     result.labels  # uint8 (H, W)
"""

from fpan.client._asynchronous import AsyncClient
from fpan.client._blocking import Client
from fpan.client._masks import Mask
from fpan.client._options import Drawing, Options, Shape
from fpan.client._patience import Retry
from fpan.client._shapes import Polygon, SoftMasks
from fpan.client.errors import ApiError, DeadlinePassed, FpanError, ServerUnreachable, TryAgain, UnexpectedAnswer
from fpan.client.types import CoveredFace, CropFrame, Face, Health, Job, ModelVersion, Part, Pose, Result

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "CoveredFace",
    "CropFrame",
    "DeadlinePassed",
    "Drawing",
    "Face",
    "FpanError",
    "Health",
    "Job",
    "Mask",
    "ModelVersion",
    "Options",
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
