"""A bare FastAPI server with ONNX Runtime, as one writes it in an afternoon: `uvicorn --workers 2`, a thread each.

python -m benchmarks.load.peers.bare PORT
"""

import os
import sys
import threading

import uvicorn
from fastapi import FastAPI, Request, Response

from benchmarks.load.peers.work import Work

app = FastAPI()
_work: Work | None = None
_one = threading.Lock()


@app.get("/health")
def health() -> dict[str, str]:
    global _work
    with _one:
        _work = _work or Work(runtime=os.environ.get("RUNTIME", "onnxruntime"))  # type: ignore[arg-type]
    return {"status": "ready"}


@app.post("/parse")
async def parse(request: Request, faces: str = "auto") -> Response:
    data = await request.body()
    # A network takes one picture at a time here; the other process has one of its own.
    return Response(await app.state.run(data, faces), media_type="image/png")


async def _run(data: bytes, faces: str) -> bytes:
    from starlette.concurrency import run_in_threadpool

    def locked() -> bytes:
        health()
        assert _work is not None
        with _one:
            return _work(data, faces)

    return await run_in_threadpool(locked)


app.state.run = _run

if __name__ == "__main__":
    uvicorn.run(
        "benchmarks.load.peers.bare:app", port=int(sys.argv[1]), workers=2, log_level="warning", access_log=False
    )
