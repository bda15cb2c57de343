"""No picture is anywhere but in memory: one that no other can be taken for goes through everything, and is searched for
wherever the service can leave something. A job's own input and result, encrypted, are no exception to that.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support import places, processes, redis_server
from tests.support import service as services
from tests.support.jobs import SECRET
from tests.support.marker import Marker, Search, forms
from tests.support.redis_server import RedisServer
from tests.support.service import Service
from tests.support.tour import Tour

PLAIN = ("--rdbcompression", "no")
"""So that what Redis writes down can be searched."""
LARGE = 2**20


@dataclass
class House:
    """A service with everything on, and wherever it can leave something."""

    service: Service
    folders: tuple[Path, ...]
    redis: dict[str, RedisServer]
    before: set[Path]
    """Regions of shared memory that were there before it."""
    marker: Marker
    search: Search
    tour: Tour
    written: int
    """Bytes that parsing made it write to disks."""

    @property
    def pids(self) -> list[int]:
        return _family(self.service)

    def places(self, *further: int) -> places.Places:
        """All of them; ``further`` processes count as the service's."""
        pids = [*self.pids, *further] if self.service.process.poll() is None else further
        yield from places.files(*self.folders)
        yield from places.shared_memory(self.before)
        yield from places.open_files(pids)
        yield from places.shared_mappings(pids)
        yield "its output", "\n".join(self.service.lines).encode("utf-8", "surrogateescape")
        for role, redis in self.redis.items():
            yield f"what the {role} Redis holds", redis.dumped()
            yield f"what the {role} Redis has written", redis.dump()

    def found(self, *further: int) -> dict[str, list[str]]:
        """Where something of a picture is: the names of it, by place."""
        found = {place: sorted(self.search.found(data)) for place, data in self.places(*further)}
        return {place: names for place, names in found.items() if names}


@pytest.fixture(scope="module")
def marker() -> Marker:
    return Marker()


@pytest.fixture(scope="module")
def search(marker: Marker) -> Search:
    return marker.search()


@pytest.fixture(scope="module", params=["in Redis", "in a folder"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, marker: Marker, search: Search, full: bool
) -> Iterator[House]:
    if request.param == "in a folder" and not full:
        pytest.skip("--full keeps the pictures of jobs in a folder too; tests/unit/jobs/test_stores.py looks into it")
    folder = tmp_path_factory.mktemp("house")
    folders = {name: folder / name for name in ("TMPDIR", "HOME", "work", "jobs")}
    for each in folders.values():
        each.mkdir()
    key = _key(folder / "keys.json")
    before = places.regions()
    with redis_server.running(*PLAIN) as cache, redis_server.running(*PLAIN) as jobs, _pictures(marker) as host:
        settings = {
            **{name: str(folders[name]) for name in ("TMPDIR", "HOME")},
            "PYTHONDONTWRITEBYTECODE": "1",
            "LOG_LEVEL": "debug",
            "KEYS_FILE": str(folder / "keys.json"),
            "REDIS_CACHE_URL": cache.url,
            "CACHE_KEY": "a secret of the tests",
            "REDIS_JOBS_URL": jobs.url,
            "JOBS_SECRET": SECRET,
            "JOBS_STORE": str(folders["jobs"]) if request.param == "in a folder" else "",
            "URL_HOSTS": f"http://{host}",
            "URL_PRIVATE_NETWORKS": "127.0.0.0/8",
            "V2_MODELS": "segm",
            "RATE_LIMIT_PER_MINUTE": "100000",
            "REDIS_TIMEOUT_MS": "5000",
        }
        with (
            services.running(settings, folder=folders["work"]) as service,
            contextlib.closing(Tour(service, marker, key, f"http://{host}/{marker.address}", full=full)) as tour,
        ):
            family = _family(service)
            written = places.written_bytes(family)
            tour.parse()
            written = places.written_bytes(family) - written
            tour.jobs()
            tour.fill()
            yield House(
                service, tuple(folders.values()), {"cache": cache, "jobs": jobs}, before, marker, search, tour, written
            )


def test_nothing_of_a_picture_is_found_while_the_service_runs(house: House) -> None:
    assert house.found() == {}


def test_what_is_told_of_broken_pictures_has_nothing_of_them(house: House) -> None:
    assert len(house.tour.problems) > 5
    assert not house.search.found("\n".join(house.tour.problems).encode())
    assert not house.search.found(house.tour.metrics().encode())


def test_no_other_user_of_the_machine_can_read_shared_memory(house: House) -> None:
    mine = list(places.SHARED_MEMORY.glob(f"*fpan_{house.service.process.pid}_*"))
    assert mine
    assert not [path for path in mine if path.stat().st_mode & 0o077]


def test_no_upload_goes_by_way_of_a_disk(house: House) -> None:
    """Not even into a file without a name, which is gone with the request."""
    spool = "import os, tempfile; f = tempfile.TemporaryFile(); f.write(os.urandom({})); f.flush(); input()"
    with _child(spool.format(LARGE), TMPDIR=str(house.folders[0])) as child:
        if places.written_bytes([child]) < LARGE:
            pytest.skip("temporary files lie in memory here: what is written to them is not counted")
    assert house.written < LARGE // 4


def test_what_is_left_anywhere_would_be_found(house: House, tmp_path: Path) -> None:
    """The control of all others here."""
    piece = house.marker.crop.tobytes()[4096:8192]
    planted = []
    for folder in house.folders:
        planted.append(folder / "below" / "left")
        planted[-1].parent.mkdir()
        planted[-1].write_bytes(b"..." + piece)
    planted.append(places.SHARED_MEMORY / f"fpan_test_{os.getpid()}")
    planted[-1].write_bytes(piece)
    for redis in house.redis.values():
        redis.client.set("left", piece)
        redis.client.hset("left of a job", "in-000000", piece)
    with Path(f"/proc/{house.service.process.pid}/fd/1").open("wb") as output:
        output.write(b"left: " + piece.translate(None, b"\r\n") + b"\n")
    nameless = "import tempfile; f = tempfile.TemporaryFile(); f.write(open({0!r}, 'rb').read()); f.flush(); input()"
    shared = (
        "import mmap; data = open({0!r}, 'rb').read(); m = mmap.mmap(-1, len(data), mmap.MAP_SHARED); "
        "m.write(data); del data; input()"
    )
    source = tmp_path / "source"
    source.write_bytes(piece)
    try:
        with (
            _child(nameless.format(str(source))) as first,
            _child(shared.format(str(source))) as second,
        ):
            found = house.found(first, second)
        for redis in house.redis.values():
            redis.client.delete("left", "left of a job")
        afterwards = house.found()
    finally:
        for path in planted:
            path.unlink()
        for folder in house.folders:
            (folder / "below").rmdir()
    assert {str(path) for path in planted} <= found.keys()
    for role in house.redis:
        assert {f"what the {role} Redis holds", f"what the {role} Redis has written"} <= found.keys()
        assert f"what the {role} Redis holds" not in afterwards
        assert f"what the {role} Redis has written" in afterwards  # what it has forgotten lies there for a while
    assert "its output" in found
    assert any(place.startswith(f"/proc/{first}/fd") for place in found)
    assert any(place.startswith(f"{second}: ") for place in found)
    house.service.lines[:] = [line for line in house.service.lines if not line.startswith("left: ")]
    for redis in house.redis.values():
        redis.rewrite()


def test_nothing_of_a_picture_is_found_when_the_service_has_ended(house: House) -> None:
    assert house.service.stop() == 0
    assert house.found() == {}
    assert not list(house.folders[0].iterdir())


def test_a_picture_is_found_in_every_form(marker: Marker, search: Search) -> None:
    piece = marker.note[:1200]
    for form, written in forms(piece).items():
        for shift in range(4):
            assert any(name.startswith("note") for name in search.found(b"." * shift + written)), form
    assert not search.found(bytes(2**20) + os.urandom(2**20))


def _family(service: Service) -> list[int]:
    pid = service.process.pid
    return [pid, *processes.descendants(pid)]


def _key(file: Path) -> str:
    words = ["add", "test", "--file", str(file), "--scopes", "parse,jobs,inference,metrics"]
    command = [sys.executable, "-m", "fpan.cli", "keys", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def _child(code: str, **environment: str) -> Iterator[int]:
    """A process that has done as it was told and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", code.replace("input()", "print(flush=True); input()")],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.communicate(b"\n")


@contextlib.contextmanager
def _pictures(marker: Marker) -> Iterator[str]:
    """A server that has one of the pictures, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = marker.files["png"] if self.path == f"/{marker.address}" else b""
            self.send_response(200 if data else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
