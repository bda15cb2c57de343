"""Questions and answers of the Open Inference Protocol, and gateways that speak it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from fpan.serve.transports.http.app import create_app
from fpan.serve.transports.http.openapi.oip import HEADER_LENGTH

from tests.support.networks import pictures
from tests.support.traffic import NAME, repository, serving

MAX_BATCH = 4
INFER = f"/v2/models/{NAME}/infer"
ONE = pictures(1)


def tensor(images: np.ndarray, **changes) -> dict:
    return {"name": "images", "datatype": "UINT8", "shape": [*images.shape], "data": images.tolist(), **changes}


def asked(images: np.ndarray, **changes) -> dict:
    return {"inputs": [tensor(images)], **changes}


def binary(images: np.ndarray, **changes) -> tuple[bytes, dict[str, str]]:
    """A body and its header."""
    inputs = tensor(images, parameters={"binary_data_size": images.nbytes})
    del inputs["data"]
    head = json.dumps({"inputs": [inputs], "parameters": {"binary_data_output": True}, **changes}).encode()
    return head + images.tobytes(), {HEADER_LENGTH: str(len(head))}


async def refused(client: httpx.AsyncClient, status: int, body, headers=None, path: str = INFER) -> str:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await client.post(path, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert {*answer.json()} == {"error"}
    return answer.json()["error"]


@asynccontextmanager
async def opening(
    monkeypatch: pytest.MonkeyPatch, root: Path
) -> AsyncIterator[Callable[..., Awaitable[httpx.AsyncClient]]]:
    """Opens gateways with two versions of :data:`NAME`, the first its champion, and a client that has ``gateway``."""
    registry = repository(root, 2)
    registry.promote(NAME, 1, "champion", "test")
    registry.promote(NAME, 2, "challenger", "test")
    opened = []

    async def start(**settings) -> httpx.AsyncClient:
        chosen = {"v2_models": (NAME,), "max_batch": MAX_BATCH, **settings}
        context = serving(monkeypatch, root, **chosen)
        gateway = await context.__aenter__()
        client = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(gateway)), base_url="http://x")
        client.gateway, client.registry = gateway, registry
        opened.append((client, context))
        return client

    try:
        yield start
    finally:
        for client, context in opened:
            await client.aclose()
            await context.__aexit__(None, None, None)
