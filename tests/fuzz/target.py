"""What is fuzzed: the real service as a child process, with the shipped detector and a small segmentation network."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.fuzz.corpus import MAX_PIXELS
from tests.fuzz.tally import HANG_S, Fault
from tests.support import processes, redis_server
from tests.support import service as services
from tests.support.helpers_images import file_of, scene
from tests.support.jobs import SECRET
from tests.support.networks import publish_saying

LABEL = 1
BODY_TIMEOUT_S = 1.0
SETTINGS = {
    "BACKEND": "in-process",
    "RUNTIME": "onnxruntime",
    "RUNTIME_THREADS": "1",
    "V2_MODELS": "segm",
    "CORS_ORIGINS": "*",
    "MAX_PIXELS": str(MAX_PIXELS),
    "MAX_BODY_BYTES": str(2**20),
    "MAX_BATCH_BYTES": str(2 * 2**20),
    "MAX_JOB_BYTES": str(2 * 2**20),
    "MAX_JOBS": "100000",
    "BODY_TIMEOUT_S": str(BODY_TIMEOUT_S),
    "JOB_BODY_TIMEOUT_S": str(BODY_TIMEOUT_S),
    "DEADLINE_MS": str(round(HANG_S * 500)),
}
"""All that is off by default is on; limits are low, so that inputs can pass them."""
GOOD = file_of("png", scene())
MOST_LINES = 20
"""Lines that the service may print in all: it logs changes of its state, and nothing of requests."""


@dataclass(frozen=True)
class Target:
    """A running service, and what it must still be able to do at the end."""

    service: services.Service
    http: httpx.Client
    before: dict[str, Any]
    """What it answers to :data:`GOOD`."""

    @property
    def resident(self) -> int:
        """Its memory in bytes."""
        return processes.resident(self.service.process.pid)

    def check_well(self) -> None:
        """Whether it serves on as before, and nothing broke in it that its callers were not told.

        Raises:
            Fault: it does not.
        """
        ready = self.http.get("/v1/health/ready")
        if ready.status_code != 200:
            raise Fault(f"it is not ready: {ready.text}")
        if (now := answer_to_good(self.http)) != self.before:
            raise Fault(f"the same picture has another answer: {now} and not {self.before}")
        if len(self.service.lines) > MOST_LINES:
            raise Fault("\n".join(["it logs what callers do:", *self.service.lines[: 3 * MOST_LINES]]))


def answer_to_good(http: httpx.Client) -> dict[str, Any]:
    """The answer to a good picture, less what differs each time."""
    answer = http.post("/v1/parse", params={"faces": "full", "output": "rle,polygons"}, content=GOOD)
    if answer.status_code != 200:
        raise Fault(f"a good picture is answered with {answer.status_code}: {answer.text}")
    told = answer.json()
    return {name: value for name, value in told.items() if name not in ("request_id", "timing_ms")}


@contextmanager
def target(folder: Path) -> Iterator[Target]:
    """Starts it; with jobs where there is a Redis for them."""
    root = folder / "models"
    shutil.copytree(services.ROOT / "model_repository/detector", root / "detector")
    publish_saying(root, LABEL)
    with ExitStack() as stack:
        chosen = {**SETTINGS, "MODEL_REPOSITORY": str(root)}
        if shutil.which("redis-server"):
            redis = stack.enter_context(redis_server.running("--appendonly", "no"))
            chosen |= {"REDIS_JOBS_URL": redis.url, "JOBS_SECRET": SECRET, "REDIS_CACHE_URL": redis.url}
        service = stack.enter_context(services.running(chosen))
        http = stack.enter_context(httpx.Client(base_url=service.url, timeout=HANG_S))
        yield Target(service, http, answer_to_good(http))
