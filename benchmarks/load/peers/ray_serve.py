"""Ray Serve: two replicas of a core each, one picture at a time in each, as its page on performance tuning has it.

python -m benchmarks.load.peers.ray_serve PORT
"""

import asyncio
import signal
import sys
import threading

import ray
from fastapi import FastAPI, Request, Response
from ray import serve

from benchmarks.load.peers.work import Work

app = FastAPI()


@serve.deployment(num_replicas=2, max_ongoing_requests=1, max_queued_requests=-1, ray_actor_options={"num_cpus": 0.9})
@serve.ingress(app)
class Parse:
    """The whole request in a replica."""

    def __init__(self) -> None:
        self.work = Work()

    @app.post("/")
    async def parse(self, request: Request, faces: str = "auto") -> Response:
        png = await asyncio.to_thread(self.work, await request.body(), faces)
        return Response(png, media_type="image/png")


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, logging_level="warning", log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Parse.bind(), route_prefix="/parse")
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    over.wait()
    serve.shutdown()
    ray.shutdown()
