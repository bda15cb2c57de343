"""A gateway over HTTP and gRPC that wants keys, and callers who ask it for a picture's faces."""

from contextlib import asynccontextmanager

import grpc
import httpx
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.serve.admission.admission import Admission, Capacity
from fpan.serve.admission.keys import KeyFile, KeyRing
from fpan.serve.api.errors import Overloaded
from fpan.serve.transports.grpc import start_grpc
from fpan.serve.transports.http.app import create_app

from tests.support.keys import made
from tests.support.known_face import file_of, known_gateway, photo

PARSER, PARSER_ENTRY = made(name="parser")
READER, READER_ENTRY = made(name="reader", scopes=["metrics"])
SLOW, SLOW_ENTRY = made(name="slow", concurrent=1, requests_per_minute=7)
KEYS = KeyFile(keys=(PARSER_ENTRY, READER_ENTRY, SLOW_ENTRY))
PICTURE = file_of(photo())


class Rates:
    """Keeps what is asked of it, and refuses whom it is told to."""

    def __init__(self):
        self.taken = []
        self.refuses = set()

    async def take(self, identity, per_minute, cost=1):
        self.taken.append((identity, per_minute, cost))
        if identity in self.refuses:
            raise Overloaded("the quota is used up")


@asynccontextmanager
async def serving(port, keys=KEYS, limit=64, **settings):
    with known_gateway(grpc_port=port, **settings) as gateway:
        gateway.rates = Rates()
        ring = None if keys is None else KeyRing(keys)
        capacity = Capacity.of(gateway.settings.model_copy(update={"max_concurrency": limit}))
        gateway.admission = Admission(capacity, ring, gateway.metrics, gateway.rates, per_minute=100)
        gateway.tls = None
        server = await start_grpc(gateway)
        gateway.app = create_app(gateway)
        transport = httpx.ASGITransport(gateway.app, client=("10.0.0.7", 1))
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://x") as gateway.http,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            gateway.channel = channel
            gateway.stub = face_parsing_pb2_grpc.FaceParsingStub(channel)
            yield gateway
        await server.drain(0)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


async def over_http(gateway, headers):
    answer = await gateway.http.post("/v1/parse?faces=full", content=PICTURE, headers=headers)
    return {200: "OK", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}[answer.status_code]


async def over_grpc(gateway, headers):
    request = pb.ParseRequest(image=PICTURE, options=pb.ParseOptions(mode=pb.FACES_MODE_FULL))
    try:
        await gateway.stub.Parse(request, metadata=[(name.lower(), value) for name, value in headers.items()])
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"
