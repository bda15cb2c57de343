"""An HTTP server that answers what a test has put down, and clients of both kinds that call it."""

import asyncio
import threading
from collections import deque
from contextlib import contextmanager

import numpy as np
import uvicorn
from fpan import AsyncClient, Client
from fpan.rle import encode_classes
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

HEIGHT, WIDTH = 6, 9
NAMES = {1: "skin", 17: "hair"}
LABELS = np.zeros((HEIGHT, WIDTH), np.uint8)
LABELS[2:5, 1:6] = 1
LABELS[0:2, 1:8] = 17
SHA = "cd" * 32


def answer(**changes):
    face = {
        "id": 0,
        "box": [1.0, 0.5, 6.0, 5.0],
        "score": 0.93,
        "landmarks": [[1, 1], [4, 1], [2.5, 2], [1, 3], [4, 3]],
        "occluded": 0.25,
        "cut_by_crop": ["hair"],
        "cut_by_image": True,
        "parts": [{"id": 17, "name": "hair", "area": 14, "box": [1, 0, 8, 2], "confidence": 0.8}],
        "mask": encode_classes(np.where(LABELS == 17, LABELS, 0), NAMES),
    }
    body = {
        "request_id": "r-1",
        "image": {"width": WIDTH, "height": HEIGHT},
        "taxonomy": "celebamask-hq",
        "model": {"name": "segm", "version": 2, "sha256": SHA},
        "reason": None,
        "notes": ["only the first of 3 frames was read"],
        "faces": [face],
        "mask": encode_classes(LABELS, NAMES),
        "timing_ms": {"decode": 1.25, "infer": 20.5},
    }
    return JSONResponse({**body, **changes})


def problem(status, slug="overloaded", retry_after=None, detail="the sentence"):
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    body = {"type": f"urn:mask-fpan:problem:{slug}", "title": "T", "status": status, "detail": detail}
    return JSONResponse({**body, "request_id": "r-9"}, status, headers, "application/problem+json")


class Scripted:
    """A server: hands out its script's answers in order, the last one again and again, and keeps what it was sent."""

    def __init__(self):
        self.script = deque()
        self.seen = []

    def answers(self, *responses):
        self.script = deque(responses)

    def renewed(self):
        """The same, having seen nothing and with the usual answer."""
        self.seen.clear()
        self.answers(answer())
        return self

    async def handle(self, request):
        self.seen.append((request, await request.body()))
        return self.script.popleft() if len(self.script) > 1 else self.script[0]

    @property
    def query(self):
        return dict(self.seen[-1][0].query_params)


@contextmanager
def listening():
    """Such a server; ``url`` is its address."""
    scripted = Scripted()
    app = Starlette(routes=[Route("/{path:path}", scripted.handle, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    scripted.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield scripted
    finally:
        server.should_exit = True
        thread.join(10)


def calling(kind, server_url):
    """Calls a method of a fresh client, ``blocking`` or not."""

    def run(method, *args, url=None, retry=None, timeout_s=10.0, settings=(), **kwargs):
        settings = {"url": url or server_url, "retry": retry, "timeout_s": timeout_s, **dict(settings)}
        if kind == "blocking":
            with Client(**settings) as client:
                return getattr(client, method)(*args, **kwargs)

        async def go():
            async with AsyncClient(**settings) as client:
                return await getattr(client, method)(*args, **kwargs)

        return asyncio.run(go())

    return run
