"""What callers get wrong: every one gets a clear RFC 9457 answer, and the process serves on with its memory back."""

import os
import signal
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from io import BytesIO

import httpx
import numpy as np
import pytest
from fpan.serve.api.errors import PROBLEM_BASE
from PIL import Image

from tests.support import processes
from tests.support import service as services
from tests.support.service import Service

MEBIBYTE = 2**20
GROWTH_MIB = 64
"""Resident memory, of the gateway and its Triton together, that allocators may keep after five storms of bad input."""


@pytest.fixture(scope="module")
def client(service: Service):
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


def bomb(side: int) -> bytes:
    """A whole PNG of ``side`` x ``side`` black pixels in some kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(side // 8 + 2)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def gif() -> bytes:
    file = BytesIO()
    frames = [Image.fromarray(np.full((60, 80), value, np.uint8)) for value in (10, 200, 90)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def png(width: int = 300, height: int = 200) -> bytes:
    file = BytesIO()
    Image.fromarray(np.full((height, width, 3), 120, np.uint8)).save(file, "PNG")
    return file.getvalue()


def problem(answer: httpx.Response, status: int, slug: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == PROBLEM_BASE + slug
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"]
    assert len(body["detail"]) > 10
    return body


BODIES = {
    "not an image": (b"%PDF-1.7 something else entirely" * 40, 415, "unsupported-image"),
    "a text file named .jpg": (b"Dear diary, today I went to the sea.\n" * 30, 415, "unsupported-image"),
    "empty": (b"", 400, "bad-request"),
    "100 MB": (bytes(100 * MEBIBYTE), 413, "too-large"),
    "a decompression bomb": (bomb(30_000), 413, "too-large"),
}


@pytest.mark.parametrize("what", BODIES)
def test_bad_body_is_told(client, what):
    body, status, slug = BODIES[what]
    problem(client.post("/v1/parse", content=body, headers={"Content-Type": "image/jpeg"}), status, slug)


def test_the_bomb_is_a_bomb():
    assert len(bomb(30_000)) < 300_000


def test_truncated_picture_is_told(client, astronaut_jpeg):
    cut = astronaut_jpeg[: len(astronaut_jpeg) // 2]
    problem(client.post("/v1/parse", content=cut), 422, "impossible")


def test_animated_gif_gives_its_first_frame_and_says_so(client):
    answer = client.post("/v1/parse", content=gif())
    assert answer.status_code == 200
    assert any("first of 3 frames" in note for note in answer.json()["notes"])


@pytest.mark.parametrize(
    ("options", "status", "slug", "word"),
    [
        ({"colour": "red"}, 400, "bad-request", "unknown option"),
        ({"classes": "beard"}, 400, "bad-request", "unknown class"),
        ({"groups": "beards"}, 400, "bad-request", "unknown group"),
        ({"output": "jpeg"}, 400, "bad-request", "unknown output"),
        ({"max_faces": "many"}, 400, "bad-request", "whole number"),
        ({"max_faces": "0"}, 400, "bad-request", "whole number"),
        ({"faces": "some"}, 400, "bad-request", "boxes"),
        ({"faces": "[[1,2,3]]"}, 400, "bad-request", "four numbers"),
        ({"faces": "[[5,5,5,9]]"}, 422, "impossible", "no inside"),
        ({"faces": "[[900,900,990,990]]"}, 422, "impossible", "outside"),
        ({"faces": "[[-90,-90,-9,-9]]"}, 422, "impossible", "outside"),
        ({"model": "nobody"}, 404, "not-found", "no model"),
        ({"orientation": "left"}, 400, "bad-request", "one of"),
        ({"deadline_ms": "0"}, 400, "bad-request", "whole number"),
        ({"deadline_ms": "1"}, 504, "deadline-exceeded", "1 ms"),
    ],
)
def test_bad_option_is_told(client, options, status, slug, word):
    assert word in problem(client.post("/v1/parse", content=png(1200, 900), params=options), status, slug)["detail"]


def test_unwanted_media_type_is_told(client):
    answer = client.post("/v1/parse", content=png(), headers={"Accept": "text/html"})
    problem(answer, 406, "not-acceptable")


def test_two_outputs_are_no_picture(client):
    answer = client.post("/v1/parse?output=png,overlay", content=png(), headers={"Accept": "image/png"})
    problem(answer, 400, "bad-request")


def test_no_such_route_and_method_are_told(client):
    problem(client.get("/v9/nothing"), 404, "not-found")
    problem(client.get("/v1/parse"), 405, "method-not-allowed")


NO_HTTP = (b"\0\0\0\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n")
GOODBYE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)) + bytes((0, 0, 12, 7, 0, 0, 0, 0, 0))
"""The beginning of a connection of HTTP/2, and of a frame that ends it, with an error and words of the caller's."""


def test_what_callers_do_to_their_connections_is_not_logged(client, service):
    logged = len(service.lines)
    for said in NO_HTTP:
        assert said_and_heard(service.port, said).startswith(b"HTTP/1.1 400 ")
    said_and_heard(service.grpc_port, GOODBYE + struct.pack(">II", 0, 99) + b"hi!!")
    assert client.get("/v1/health/live").status_code == 200
    assert service.lines[logged:] == []


def said_and_heard(port: int, said: bytes) -> bytes:
    """What comes until the connection ends."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(4096):
            heard += piece
    return heard


@pytest.fixture(scope="module")
def crowd(astronaut) -> bytes:
    """A picture with two hundred faces."""
    face = np.asarray(Image.fromarray(astronaut[0:240, 100:340]).resize((120, 120)))
    file = BytesIO()
    Image.fromarray(np.tile(face, (10, 20, 1))).save(file, "JPEG", quality=92)
    return file.getvalue()


def test_two_hundred_faces_are_parsed_up_to_the_limit(client, crowd):
    answer = client.post("/v1/parse", content=crowd, params={"deadline_ms": 60000}, timeout=90)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["faces"]) == 100
    assert any("the largest 100 were parsed" in note for note in answer.json()["notes"])


def test_memory_is_back_after_the_storm(client, service, astronaut_jpeg):
    def storm() -> None:
        client.post("/v1/parse", content=gif())
        client.post("/v1/parse", content=png(6000, 4000), params={"faces": "full"})
        for body, _, _ in BODIES.values():
            client.post("/v1/parse", content=body)
        client.post("/v1/parse", content=astronaut_jpeg[:9000])
        assert client.post("/v1/parse", content=astronaut_jpeg).status_code == 200

    for _ in range(2):
        storm()
    everything = {service.process.pid: "gateway", **processes.descendants(service.process.pid)}
    before = {pid: processes.resident(pid) for pid in everything}
    for _ in range(5):
        storm()
    grown = {everything[pid]: (processes.resident(pid) - before[pid]) / MEBIBYTE for pid in everything}
    assert sum(grown.values()) < GROWTH_MIB, grown


def test_work_of_a_caller_who_leaves_is_dropped(client, service, crowd):
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{service.url}/v1/parse", content=crowd, timeout=httpx.Timeout(5, read=0.2))
    until(lambda: in_flight(client) == 0, within_s=3)


def test_triton_dead_in_mid_request_is_told_and_comes_back(astronaut_jpeg):
    with services.running() as service, httpx.Client(base_url=service.url, timeout=60) as client:
        assert client.post("/v1/parse", content=astronaut_jpeg).status_code == 200
        triton = triton_of(service)
        answers: list[httpx.Response] = []
        dead = threading.Event()

        def ask() -> None:
            while not dead.is_set():
                answers.append(httpx.post(f"{service.url}/v1/parse", content=astronaut_jpeg, timeout=60))

        callers = [threading.Thread(target=ask) for _ in range(4)]
        for caller in callers:
            caller.start()
        until(lambda: in_flight(client) >= 2, within_s=20)
        os.kill(triton, signal.SIGKILL)
        until(lambda: any(answer.status_code != 200 for answer in answers), within_s=20)
        dead.set()
        for caller in callers:
            caller.join()
        failed = [answer for answer in answers if answer.status_code != 200]
        assert failed
        for answer in failed:
            problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            assert "triton" not in answer.json()["detail"].lower()
        until(lambda: client.get("/v1/health/ready").status_code == 200, within_s=30)
        assert client.post("/v1/parse", content=astronaut_jpeg).status_code == 200
        assert triton_of(service) != triton


def triton_of(service: Service) -> int:
    """The process of its Triton server."""
    below = processes.descendants(service.process.pid)
    return next(pid for pid, name in below.items() if name.startswith("tritonserver"))


def in_flight(client: httpx.Client) -> float:
    """Requests that are being handled."""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("fpan_requests_in_flight "):
            return float(line.split()[1])
    raise AssertionError("no such metric")


def until(condition: Callable[[], bool], within_s: float) -> None:
    """Waits for it."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
