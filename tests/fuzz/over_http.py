"""What is sent over HTTP, and which answers are faults."""

import base64
import re
import socket
from random import Random
from typing import Any

import httpx
from fpan.serve.api.errors import PROBLEM_BASE

from tests.fuzz.corpus import broken
from tests.fuzz.hostile import BATCH, INFER, JOBS, PARSE
from tests.fuzz.tally import HANG_S, Fault
from tests.fuzz.target import GOOD

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_TIMED_OUT = 504
_SHOWN = 300
"""Characters of an answer that a fault shows."""


def checked(answer: httpx.Response, deadline: bool = False) -> str:
    """The outcome: its status.

    Args:
        answer: of any route.
        deadline: whether the input had one of its own, which may pass.

    Raises:
        Fault: what nobody may get while nothing is wrong with the service, or an error that is not told as one.
    """
    status = answer.status_code
    if status >= 500 and not (deadline and status == _TIMED_OUT):
        raise Fault(f"{status}: {answer.text[:_SHOWN]}")
    kind = answer.headers.get("content-type", "")
    if answer.request.method == "HEAD":
        return str(status)
    if status >= 400 and not _is_told(answer, kind):
        raise Fault(f"{status} is told as {kind}: {answer.text[:_SHOWN]}")
    if kind == "application/json":
        answer.json()
    return str(status)


def _is_told(answer: httpx.Response, kind: str) -> bool:
    """Whether an error is told as errors are."""
    told = answer.json()
    if answer.request.url.path.startswith("/v2"):
        return bool(told.keys() == {"error"})
    return (
        kind == "application/problem+json"
        and told["status"] == answer.status_code
        and told["type"].startswith(PROBLEM_BASE)
        and told["request_id"] == answer.headers["x-request-id"]
    )


def send(http: httpx.Client, request: dict[str, Any]) -> str:
    """Sends a request of :mod:`tests.fuzz.hostile`.

    Raises:
        Fault: see :func:`checked`.
    """
    content = request.get("content", b"")
    deadline = "deadline_ms" in request["params"] or b"deadline_ms" in content or b"timeout" in content
    return checked(http.request(**request), deadline)


def picture(http: httpx.Client, number: int, data: bytes, options: dict[str, str]) -> int:
    """The status of one picture, sent in one of the ways in which pictures come.

    Raises:
        Fault: see :func:`checked`.
    """
    way = number % 5
    if way == 0:
        answer = http.post(PARSE, params=options, files={"image": ("a", data)})
    elif way == 1:
        answer = http.post(PARSE, json={"image": base64.b64encode(data).decode(), **options})
    else:
        headers = {"Content-Type": "image/*"} if way == 2 else {}
        answer = http.post(PARSE, params=options, content=data, headers=headers)
    return int(checked(answer))


def several(http: httpx.Client, number: int) -> str:
    """Some pictures in one batch or job, one of them whole.

    Raises:
        Fault: one of them spoils the others, or breaks something.
    """
    files = [("image", ("a", data)) for data in (broken(number), GOOD, broken(number + 1))]
    answer = http.post((BATCH, JOBS)[number % 2], params={"faces": "full"}, files=files)
    outcome = checked(answer)
    if answer.status_code == 200:
        statuses = [result["status"] for result in answer.json()["results"]]
        if statuses[1] != 200 or max(statuses) >= 500:
            raise Fault(f"the pictures of a batch have {statuses}")
    return outcome


def raw(port: int, number: int) -> str:
    """Bytes that are a request in part: lengths and chunks that lie, heads without an end, callers who leave in it.

    Raises:
        Fault: 5xx, or the server keeps the connection open and says nothing.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
        heard = b""
        try:
            connection.sendall(_request_in_part(Random(number), broken(number)))
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                heard += piece
        except TimeoutError:
            raise Fault("the connection stays open although nothing more can come") from None
        except OSError:
            return "reset"
    statuses = [int(status) for status in _STATUS_LINE.findall(heard)]
    if any(status >= 500 for status in statuses):
        raise Fault(heard[:_SHOWN].decode("latin-1"))
    return str(statuses[-1]) if statuses else "closed"


def _request_in_part(rng: Random, body: bytes) -> bytes:
    path = rng.choice((PARSE, BATCH, JOBS, INFER, "/", "//", "*", "/%", "/v1/parse?" + "a=b&" * rng.randrange(3000)))
    right = f"Content-Length: {len(body)}"
    lied = rng.choice((len(body) + 5, max(0, len(body) - 5), -1, "x", 10**30, "1, 1", ""))
    chunked = "Transfer-Encoding: chunked"
    framing = rng.choice((right, right, f"Content-Length: {lied}", chunked, "Transfer-Encoding: gzip", "Expect: x"))
    if framing == chunked:
        size = rng.choice((f"{len(body):x}", f"{len(body):x}", "0", "-1", "f" * 16, "g", f"{len(body) + 9:x};x=y"))
        body = size.encode() + b"\r\n" + body + rng.choice((b"\r\n0\r\n\r\n", b"\r\n", b"0\r\n\r\n", b""))
    asked = f"POST {path} HTTP/1.1"
    lines = [
        rng.choice((*(asked,) * 6, f"POST {path} HTTP/1.0", f"POST {path}", "GET / HTTP/9.9", "\0", "")),
        "Host: x",
        framing,
        rng.choice(
            (*("Content-Type: image/png", "Content-Type: application/json") * 3, "Content-Type", ": x", "a" * 70_000)
        ),
        *("X-A: b",) * rng.choice((0, 0, 200)),
    ]
    said = "\r\n".join(lines).encode() + rng.choice((*(b"\r\n\r\n",) * 4, b"\n\n", b"\r\n")) + body
    return said if rng.randrange(4) else said[: rng.randrange(len(said))]
