"""The trace of a request goes on to the inference server, over HTTP and gRPC, and garbage does not."""

import asyncio

import grpc
import grpc.aio
import httpx
import numpy as np
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.serve.api.context import RequestContext
from fpan.serve.api.errors import Unavailable
from fpan.serve.inference.backends.triton import TritonBackend
from fpan.serve.inference.batcher import Batcher, BatchLimits
from fpan.serve.telemetry.traces import read_trace
from fpan.serve.transports.grpc import start_grpc
from fpan.serve.transports.http.app import create_app

from tests.support.batching import CARD, Gated, ask, settle
from tests.support.known_face import file_of, known_gateway, photo

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-00"
STATE = "rojo=00f067aa0ba902b7,tenant@vendor=t61rcWkgMzE"


@pytest.mark.parametrize(
    ("parents", "states", "goes_on"),
    [
        ([PARENT], [], {"traceparent": PARENT}),
        ([PARENT], [STATE], {"traceparent": PARENT, "tracestate": STATE}),
        ([PARENT], ["a=1 , ", "\tb=2"], {"traceparent": PARENT, "tracestate": "a=1,b=2"}),
        (["cc" + PARENT[2:] + "-what-comes"], [], {"traceparent": PARENT}),
        ([PARENT], ["a=1,A=2"], {"traceparent": PARENT}),
        ([PARENT], ["a=1,a=2"], {"traceparent": PARENT}),
        ([PARENT], ["a=\x00"], {"traceparent": PARENT}),
        ([PARENT], [",".join(f"k{i}=v" for i in range(33))], {"traceparent": PARENT}),
        ([PARENT], ["a=" + "x" * 256 + ",b=" + "x" * 255], {"traceparent": PARENT}),
        ([], [STATE], {}),
        ([PARENT, OTHER], [STATE], {}),
        ([PARENT + "-more"], [], {}),
        ([PARENT.upper()], [], {}),
        (["ff" + PARENT[2:]], [], {}),
        ([PARENT[:-1]], [], {}),
        ([PARENT + "\n"], [], {"traceparent": PARENT}),
        ([PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32)], [], {}),
        ([PARENT.replace("00f067aa0ba902b7", "0" * 16)], [], {}),
        (["anything"], [STATE], {}),
    ],
)
def test_what_follows_the_grammar_goes_on_and_nothing_else(parents, states, goes_on):
    assert read_trace(parents, states) == goes_on


@pytest.fixture
async def triton():
    """The address of a server that computes nothing, and the metadata that inferences brought there."""
    seen = []

    class Keeping(grpc.GenericRpcHandler):
        def service(self, details):
            async def infer(message, context):
                seen.append({k: v for k, v in details.invocation_metadata if k.startswith("trace")})
                await context.abort(grpc.StatusCode.UNAVAILABLE, "a double")

            return grpc.unary_unary_rpc_method_handler(infer)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Keeping()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}", seen
    await server.stop(None)


async def test_the_inference_server_is_told_the_trace_of_each_request(triton):
    address, seen = triton
    backend = TritonBackend(address)
    batcher = Batcher(backend, CARD, BatchLimits())
    item = {"images": np.zeros(2, np.uint8)}
    for trace in (read_trace([PARENT], [STATE]), read_trace(["garbage"], [STATE])):
        with pytest.raises(Unavailable):
            await batcher.infer([item], ["same"], RequestContext(trace=trace))
    await batcher.close()
    await backend.close()
    assert seen == [{"traceparent": PARENT, "tracestate": STATE}, {}]


async def test_a_batch_of_several_requests_belongs_to_the_trace_of_the_first():
    backend, seen = Gated(), []
    inner = backend.infer

    async def infer(*asked):
        seen.append(asked[-1].get("traceparent"))
        return await inner(*asked)

    backend.infer = infer
    batcher = Batcher(backend, CARD, BatchLimits(wait_s=0.0))
    asking = []
    for value, parent in enumerate((PARENT, OTHER, PARENT)):
        asking.append(ask(batcher, value, trace=read_trace([parent], [])))
        await settle()
    backend.gate.set()
    await asyncio.gather(*asking)
    await batcher.close()
    assert (backend.batches, seen) == ([[0], [1, 2]], [PARENT, OTHER])


async def test_over_http_and_grpc_the_trace_reaches_the_networks(unused_tcp_port):
    picture, seen = file_of(photo()), []
    with known_gateway(grpc_port=unused_tcp_port) as gateway:
        gateway.tls = None
        inner = gateway.network.infer

        async def infer(items, outputs, context):
            seen.append(dict(context.trace))
            return await inner(items, outputs, context)

        gateway.network.infer = infer
        told = {"traceparent": PARENT, "tracestate": STATE}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(gateway)), base_url="http://x") as client:
            for headers in (told, {"traceparent": "garbage"}):
                assert (await client.post("/v1/parse", content=picture, headers=headers)).status_code == 200
        server = await start_grpc(gateway)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = face_parsing_pb2_grpc.FaceParsingStub(channel)
            for metadata in (tuple(told.items()), (("tracestate", STATE),)):
                await stub.Parse(pb.ParseRequest(image=picture), metadata=metadata)
        await server.drain(0)
    assert seen == [told, {}, told, {}]
