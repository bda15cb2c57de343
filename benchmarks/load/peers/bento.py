"""BentoML: two workers, a picture each at a time; its documentation: as many workers as cores for CPU-bound services.

bentoml serve benchmarks.load.peers.bento:Parse --port PORT
"""

from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from benchmarks.load.peers.work import Work


@bentoml.service(
    workers=2, threads=1, traffic={"timeout": 60}, metrics={"enabled": False}, logging={"access": {"enabled": False}}
)
class Parse:
    """The whole request in a worker."""

    def __init__(self) -> None:
        self.work = Work()

    @bentoml.api(route="/parse")
    def parse(self, image: Path, /) -> Annotated[bytes, ContentType("image/png")]:
        return self.work(image.read_bytes())

    @bentoml.api(route="/full")
    def full(self, image: Path, /) -> Annotated[bytes, ContentType("image/png")]:
        return self.work(image.read_bytes(), "full")
