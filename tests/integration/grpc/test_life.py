"""gRPC calls that end early, are too many or too big, and the server's health, contract and drain."""

import asyncio
import time

import grpc
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.serve.api.options import MAX_DEADLINE_MS
from fpan.serve.transports.grpc import start_grpc
from fpan.serve.transports.grpc.server import _OPTIONS_BYTES, HEALTH_INTERVAL_S, SERVICE
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.grpc_calls import MAX_BODY_BYTES, error_info, png, refused, serving


@pytest.fixture
async def gateway(unused_tcp_port):
    async with serving(unused_tcp_port) as opened:
        yield opened


@pytest.fixture
def stub(gateway):
    return gateway.stub


@pytest.fixture
def channel(gateway):
    return gateway.channel


@pytest.fixture
def server(gateway):
    return gateway.server


async def test_cancelled_calls_cancel_the_work(stub, gateway):
    gateway.parser.before = asyncio.Event().wait
    call = stub.Parse(pb.ParseRequest(image=png()))
    await asyncio.wait_for(gateway.parser.started.wait(), 5)
    call.cancel()
    await asyncio.wait_for(gateway.parser.cancelled.wait(), 5)


async def test_deadline_of_the_call_reaches_the_pipeline_and_ends_the_work(stub, gateway):
    gateway.parser.before = asyncio.Event().wait
    error = await refused(stub.Parse(pb.ParseRequest(image=png()), timeout=0.5))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert gateway.parser.contexts[0].deadline.allowed_ms <= 500
    await asyncio.wait_for(gateway.parser.cancelled.wait(), 5)


async def test_a_deadline_far_away_is_cut_to_what_http_may_ask_for(stub, gateway):
    await stub.Parse(pb.ParseRequest(image=png()), timeout=24 * 3600)
    assert gateway.parser.contexts[0].deadline.allowed_ms == MAX_DEADLINE_MS


async def test_big_pictures_pass_up_to_the_limit_and_not_beyond(stub, gateway):
    fitting = png() + b"\0" * (MAX_BODY_BYTES - len(png()))
    assert (await stub.Parse(pb.ParseRequest(image=fitting))).image.width == 40
    for excess in (1, 2 * _OPTIONS_BYTES):
        error = await refused(stub.Parse(pb.ParseRequest(image=fitting + b"\0" * excess)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(gateway.parser.asked) == 1


async def test_calls_over_capacity_are_refused_at_once(stub, gateway):
    gateway.parser.before = asyncio.Event().wait
    held = [stub.Parse(pb.ParseRequest(image=png())) for _ in range(2)]
    while len(gateway.parser.asked) < 2:
        await asyncio.sleep(0.01)
    error = await refused(stub.Parse(pb.ParseRequest(image=png())))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error_info(error)[0].reason == "OVERLOADED"
    for call in held:
        call.cancel()
    await asyncio.wait_for(gateway.parser.cancelled.wait(), 5)
    gateway.parser.before = None
    assert (await stub.Parse(pb.ParseRequest(image=png()))).image.width == 40


async def test_calls_are_counted_by_their_code(stub, gateway):
    await stub.Parse(pb.ParseRequest(image=png()))
    await refused(stub.Parse(pb.ParseRequest()))
    counter = 'fpan_requests_total{method="gRPC",route="/faceparsing.v1.FaceParsing/Parse",status="%s"} 1.0'
    wanted = (counter % "OK", counter % "INVALID_ARGUMENT", "fpan_requests_in_flight 0.0")
    async with asyncio.timeout(20):  # a call is counted once it has been answered, which the caller may know before
        while not all(line in gateway.metrics.exposition().decode() for line in wanted):
            await asyncio.sleep(0.01)


async def test_health_follows_the_gateway(channel, gateway):
    kinds = health_pb2.HealthCheckResponse
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", SERVICE):
        assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == kinds.SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert (await watch.read()).status == kinds.SERVING
    gateway.healthy = False
    assert (await asyncio.wait_for(watch.read(), 5 * HEALTH_INTERVAL_S)).status == kinds.NOT_SERVING
    gateway.healthy = True
    assert (await asyncio.wait_for(watch.read(), 5 * HEALTH_INTERVAL_S)).status == kinds.SERVING
    watch.cancel()
    error = await refused(health.Check(health_pb2.HealthCheckRequest(service="no.such.Service")))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_tells_the_services_and_their_contract(channel):
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    ask = reflection_pb2.ServerReflectionRequest
    requests = [ask(list_services=""), ask(file_containing_symbol=SERVICE)]
    listed, described = [answer async for answer in reflection.ServerReflectionInfo(iter(requests))]
    names = {service.name for service in listed.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= names
    assert described.file_descriptor_response.file_descriptor_proto == [pb.DESCRIPTOR.serialized_pb]


async def test_drain_lets_running_calls_end_and_takes_no_new_ones(stub, gateway, server):
    go_on = asyncio.Event()
    gateway.parser.before = go_on.wait
    running = stub.Parse(pb.ParseRequest(image=png()))
    await asyncio.wait_for(gateway.parser.started.wait(), 5)
    draining = asyncio.create_task(server.drain(10))
    await asyncio.sleep(0.2)
    error = await refused(stub.Parse(pb.ParseRequest(image=png()), timeout=5))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert not draining.done()
    go_on.set()
    assert (await running).image.width == 40
    await asyncio.wait_for(draining, 5)


async def test_drain_cancels_what_runs_beyond_the_grace(stub, gateway, server):
    gateway.parser.before = asyncio.Event().wait
    running = stub.Parse(pb.ParseRequest(image=png()))
    await asyncio.wait_for(gateway.parser.started.wait(), 5)
    began = time.monotonic()
    await server.drain(0.3)
    assert time.monotonic() - began < 60
    await refused(running)
    await asyncio.wait_for(gateway.parser.cancelled.wait(), 5)


async def test_a_draining_gateway_refuses_calls_before_the_server_stops(stub, gateway):
    gateway.admission.draining = True
    error = await refused(stub.Parse(pb.ParseRequest(image=png())))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error_info(error)[1] is not None


async def test_a_taken_port_is_told_in_a_sentence(server, gateway):
    with pytest.raises(OSError, match="the port is taken"):
        await start_grpc(gateway)
