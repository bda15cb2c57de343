"""What needs no key over gRPC cannot close the port to those who have one."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import grpc.aio
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.serve.transports.grpc import start_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.known_face import file_of, known_gateway, photo

STREAMS, MANY = 2, 40
SERVING = health_pb2.HealthCheckResponse.SERVING
HEALTH = health_pb2.HealthCheckRequest()


@asynccontextmanager
async def serving(port, **settings):
    with known_gateway(grpc_port=port, max_grpc_streams=STREAMS, max_concurrency=2, **settings) as gateway:
        gateway.tls = None
        server = await start_grpc(gateway)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
        await server.drain(0)


async def parsed(channel):
    request = pb.ParseRequest(image=file_of(photo()), options=pb.ParseOptions(mode=pb.FACES_MODE_FULL))
    return len((await face_parsing_pb2_grpc.FaceParsingStub(channel).Parse(request)).faces)


async def never():
    await asyncio.Event().wait()
    yield b""


async def test_open_streams_close_nothing_to_calls_that_parse(unused_tcp_port):
    async with serving(unused_tcp_port) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watching = [health.Watch(HEALTH) for _ in range(STREAMS)]
        for stream in watching:
            assert (await stream.read()).status == SERVING
        for refused in (
            health.Watch(HEALTH),
            reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(never()),
        ):
            assert await asyncio.wait_for(refused.code(), 5) == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "2 streams without a key" in await refused.details()
        assert (await health.Check(HEALTH)).status == SERVING
        assert await parsed(channel) == 1
        watching[0].cancel()
        async with asyncio.timeout(5):  # its place is free again
            while (again := await health.Watch(HEALTH).read()) is grpc.aio.EOF:
                pass
        assert again.status == SERVING


async def test_reflection_still_tells_of_the_services(unused_tcp_port):
    async with serving(unused_tcp_port) as channel:

        async def asked():
            yield reflection_pb2.ServerReflectionRequest(list_services="")

        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        [told] = [each async for each in stub.ServerReflectionInfo(asked())]
        assert "faceparsing.v1.FaceParsing" in {each.name for each in told.list_services_response.service}


async def test_checks_whose_message_never_comes_close_nothing_and_end_in_time(unused_tcp_port):
    async with serving(unused_tcp_port, body_timeout_s=1) as channel:
        silent = [channel.stream_unary("/grpc.health.v1.Health/Check")(never()) for _ in range(MANY)]
        assert await parsed(channel) == 1
        for call in silent:
            assert await asyncio.wait_for(call.code(), 10) == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_stream_ends_in_time_and_says_so(unused_tcp_port):
    async with serving(unused_tcp_port, grpc_stream_timeout_s=0.2) as channel:
        stream = health_pb2_grpc.HealthStub(channel).Watch(HEALTH)
        assert (await stream.read()).status == SERVING
        assert await asyncio.wait_for(stream.code(), 5) == grpc.StatusCode.UNAVAILABLE
        assert "begin anew" in await stream.details()
