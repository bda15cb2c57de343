"""A gateway with small networks that takes jobs, and what is asked of it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fpan.serve.app import Gateway
from fpan.serve.jobs.record import JOBS_PATH
from fpan.serve.transports.http.app import create_app

from tests.support.redis_server import RedisServer
from tests.support.service import free_ports
from tests.support.traffic import PATIENCE_S, picture, serving, until

SECRET = base64.b64encode(bytes(range(32))).decode()
FULL = {"faces": "full"}
Files = list[tuple[str, tuple[str, bytes]]]


def files(*pictures: bytes) -> Files:
    return [("image", (f"{i}.png", data)) for i, data in enumerate(pictures)]


def pictures(count: int) -> Files:
    return files(*(picture(seed) for seed in range(count)))


class Jobs:
    """A gateway and a client of it."""

    def __init__(self, gateway: Gateway, client: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self.client = client

    async def submit(self, count: int = 2, headers: dict[str, str] | None = None, **params: object) -> dict[str, Any]:
        told = await self.client.post(
            JOBS_PATH, params={**FULL, **params}, files=pictures(count), headers=headers or {}
        )
        assert told.status_code == 202, told.text
        return told.json()

    async def get(self, job: str) -> dict[str, Any]:
        told = await self.client.get(f"{JOBS_PATH}/{job}")
        assert told.status_code == 200, told.text
        return told.json()

    async def wait(self, job: str, *states: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while (told := await self.get(job))["state"] not in (states or ("succeeded",)):
                await asyncio.sleep(0.01)
        return told

    async def result(self, job: str) -> list[dict[str, Any]]:
        told = await self.client.get(f"{JOBS_PATH}/{job}/result")
        assert told.status_code == 200, told.text
        return told.json()["results"]

    def hold(self) -> asyncio.Event:
        """Lets the networks wait."""
        self.gateway.backend.holds[1] = asyncio.Event()
        return self.gateway.backend.holds[1]


@asynccontextmanager
async def taking_jobs(
    monkeypatch: pytest.MonkeyPatch, root: Path, redis: RedisServer | str, **settings: object
) -> AsyncIterator[Jobs]:
    url = redis if isinstance(redis, str) else redis.url
    chosen = {"job_sweep_s": 0.1, **settings}
    async with serving(monkeypatch, root, redis_jobs_url=url, jobs_secret=SECRET, **chosen) as gateway:
        app = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=app, base_url="http://x", timeout=PATIENCE_S) as client:
            yield Jobs(gateway, client)


def events(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Number, name and data of each server-sent event."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


@asynccontextmanager
async def listening(jobs: Jobs) -> AsyncIterator[str]:
    """The gateway at an address of its own, for workers that are other processes."""
    [port] = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(create_app(jobs.gateway), port=port, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
