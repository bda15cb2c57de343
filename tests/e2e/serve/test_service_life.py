"""A real service while it is shut down, and while callers do not read."""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from tests.support.known_face import file_of
from tests.support.service import Service, running

PATIENCE_S = 30
DELAY_S, SEND_S = 180, 1
BOUNDARY = b"b0undary"


@pytest.fixture(scope="module")
def slow_to_leave() -> Iterator[Service]:
    chosen = {
        "BACKEND": "in-process",
        "MAX_CONCURRENCY": "1",
        "DRAIN_DELAY_S": str(DELAY_S),
        "SEND_TIMEOUT_S": str(SEND_S),
    }
    with running(chosen) as service:
        yield service


def batch_that_nobody_reads(service: Service, picture: bytes) -> socket.socket:
    part = b'--%b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%b\r\n' % (BOUNDARY, picture)
    body = part * 4 + b"--%b--\r\n" % BOUNDARY
    head = (
        "POST /v1/parse/batch?output=overlay&faces=full HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n"
        f"Content-Length: {len(body)}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n\r\n"
    )
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", service.port))
    connection.sendall(head.encode() + body)
    return connection


def test_an_answer_that_nobody_reads_gives_its_permit_back_and_its_connection_up(slow_to_leave: Service) -> None:
    noise = file_of(np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8))
    small = file_of(np.zeros((64, 64, 3), np.uint8))
    with contextlib.closing(batch_that_nobody_reads(slow_to_leave, noise)) as unread:
        statuses, until = [], time.monotonic() + PATIENCE_S
        while not statuses or statuses[-1] == 429 or 429 not in statuses:
            assert time.monotonic() < until, set(statuses)
            statuses.append(httpx.post(f"{slow_to_leave.url}/v1/parse?faces=full", content=small).status_code)
            time.sleep(0.05)
        assert set(statuses[statuses.index(429) :]) == {429, 200}
        unread.settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionError):
            while unread.recv(1 << 20):
                pass
    assert not [line for line in slow_to_leave.lines if "ERROR" in line or "Traceback" in line]


def test_other_names_are_refused(slow_to_leave: Service) -> None:
    told = httpx.get(f"{slow_to_leave.url}/v1/labels", headers={"Host": "evil.example"})
    assert (told.status_code, told.json()["type"]) == (421, "urn:mask-fpan:problem:misdirected")


def test_the_port_tells_that_it_is_closing_until_the_delay_or_a_second_signal_ends(slow_to_leave: Service) -> None:
    """The last: it ends the service."""
    slow_to_leave.process.send_signal(signal.SIGTERM)
    until = time.monotonic() + PATIENCE_S
    while httpx.get(f"{slow_to_leave.url}/v1/health/ready").status_code != 503:
        assert time.monotonic() < until
    assert httpx.post(f"{slow_to_leave.url}/v1/parse", content=b"x").status_code == 503
    assert httpx.get(f"{slow_to_leave.url}/v1/health/live").status_code == 200
    began = time.monotonic()
    assert slow_to_leave.stop() == 0
    assert time.monotonic() - began < DELAY_S / 3
