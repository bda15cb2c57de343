"""A real local server that speaks S3."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """A server for as long as the block runs, and the environment that leads to it."""
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    process = server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    process.start()
    host, port = process.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }
    process.stop()
