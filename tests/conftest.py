"""Fixtures that more than one room uses."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import distribution
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fpan.cli._app import main
from hypothesis import settings
from PIL import Image
from skimage import data
from xdist.scheduler import LoadScopeScheduling

from tests.support import redis_server
from tests.support import service as services

TREE = Path(__file__).parents[1]
SHARED_TRAINING = "smoke_run"
"""The fixture that trains for a minute."""
ON = {"V2_MODELS": "segm", "CORS_ORIGINS": "*", "ALLOWED_HOSTS": "localhost,127.0.0.1,insecure.test"}
"""Settings of the service that all tests share."""
HEAVY_ROOMS = ("training", "rollout", "registry", "tensorrt")
"""Folders of unit tests that need torch, load networks by the dozen, or kill processes at every step."""
SERVERS = frozenset({"service", "gateway_url", "redis", "redis_process"})
"""Fixtures that start a server."""
Ended = tuple[int, str, str]
"""Exit status, output, errors."""


def pytest_configure() -> None:
    """What tests start hears Ctrl-C even where they run in the background of a shell, and so ignore it themselves."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# The same inputs in each run: what is new is looked for by `make verify`, and then becomes a test of its own.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--full``: the counts of `make verify`, which take longer than the tests may."""
    parser.addoption("--full", action="store_true", help="run long tests with their full counts")


@cache
def _trains_long(file: Path) -> bool:
    return SHARED_TRAINING in file.read_text()


class _ByFile(LoadScopeScheduling):
    """One file's tests stay in one process, and those of all files that share the long training in one too.

    (xdist's own groups need a name in pytest's node ids that those do not have any more.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return SHARED_TRAINING if _trains_long(TREE / file) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _ByFile:
    """How tests are dealt out to processes."""
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long training begins first. A test has the mark of its folder, and ``fast`` where it needs no server, no
    Redis and no torch.
    """
    items.sort(key=lambda item: not _trains_long(item.path))
    for item in items:
        kind, room, *_ = item.path.relative_to(TREE / "tests").parts
        item.add_marker(kind)
        is_light = kind == "frozen" or (kind == "unit" and room not in HEAVY_ROOMS)
        if is_light and not SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("fast")


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether tests have their full counts."""
    return bool(pytestconfig.getoption("--full"))


@pytest.fixture(scope="session")
def service() -> Iterator[services.Service]:
    """The real service with the shipped models, started once for all tests; what is off by default is on."""
    with services.running(ON) as running:
        yield running


@pytest.fixture(scope="session")
def gateway_url(service: services.Service) -> str:
    """Its address."""
    return service.url


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A photo with one face: RGB, uint8 (512, 512, 3), public domain."""
    return np.asarray(data.astronaut(), np.uint8)


@pytest.fixture(scope="session")
def astronaut_jpeg(astronaut: np.ndarray) -> bytes:
    """The same as a JPEG file."""
    file = BytesIO()
    Image.fromarray(astronaut).save(file, "JPEG", quality=95)
    return file.getvalue()


def read_group_photo() -> bytes:
    """A photo of six people, from the package that ships it."""
    path = next(p for p in distribution("insightface").files or [] if p.name == "t1.jpg")
    return Path(str(path.locate())).read_bytes()


@pytest.fixture(scope="session")
def group_photo() -> bytes:
    """A photo of six people."""
    return read_group_photo()


@pytest.fixture(scope="session")
def redis_process() -> Iterator[redis_server.RedisServer]:
    """A real Redis that writes nothing down, started once; see ``redis``."""
    with redis_server.running("--appendonly", "no") as running:
        yield running


@pytest.fixture
def redis(redis_process: redis_server.RedisServer) -> redis_server.RedisServer:
    """A real Redis, empty. A test may leave it dead, paused or full."""
    redis_process.renew()
    return redis_process


@pytest.fixture
def fpan_models(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs `fpan models`: exit status, output, errors."""

    def run(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["fpan", "models", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture(scope="session")
def fpan_data() -> Path:
    """The folder of real pictures that the environment variable FPAN_DATA names."""
    folder = os.environ.get("FPAN_DATA")
    if not folder:
        pytest.skip("FPAN_DATA names no folder of real pictures")
    return Path(folder)
