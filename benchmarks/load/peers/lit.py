"""LitServe: two workers of one thread, requests spread by its own queue, no wait for batches.

Its documentation ("Speed up serving by 200x") raises workers per device and the batch size until neither helps: on a
CPU a batch of this network takes as long as its items one by one (docs/results/computing.md), so workers are what
helps.

python -m benchmarks.load.peers.lit PORT
"""

import sys

import litserve
from fastapi import Request, Response

from benchmarks.load.peers.work import Work


class Parse(litserve.LitAPI):
    """The whole request in a worker process."""

    def setup(self, device: str) -> None:
        self.work = Work()

    def decode_request(self, request: Request) -> tuple[bytes, str]:  # type: ignore[override]
        return request["image"].file.read(), request.get("faces", "auto")  # type: ignore[attr-defined]

    def predict(self, asked: tuple[bytes, str]) -> bytes:
        return self.work(*asked)

    def encode_response(self, png: bytes) -> Response:
        return Response(png, media_type="image/png")


if __name__ == "__main__":
    api = Parse(api_path="/parse")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2, timeout=60)
    server.run(port=int(sys.argv[1]), log_level="warning", generate_client_file=False, access_log=False)
