"""The gRPC server: starts, tells its health, drains."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.serve.setting_types import bracketed
from fpan.serve.transports.grpc.middleware import SERVICE, RequestInterceptor
from fpan.serve.transports.grpc.servicer import FaceParsingServicer

if TYPE_CHECKING:
    from fpan.serve.app import Gateway

HEALTH_INTERVAL_S = 1.0
"""How often the health that watchers see follows the gateway's."""
_OPTIONS_BYTES = 64 * 1024
"""What a message may have beside its picture."""
_SPARE_CALLS = 1024
"""Calls let in beyond ``max_concurrency`` and ``max_grpc_streams``: health, and those that are told why not.

No message is read before its call has been let in, so that pictures do not pile up in memory."""


@dataclass
class GrpcServer:
    """A running gRPC server."""

    port: int
    _server: grpc.aio.Server
    _health: health.aio.HealthServicer
    _following: asyncio.Task[None]

    async def drain(self, grace_s: float) -> None:
        """Not serving at once; takes no new calls, lets running ones end within ``grace_s`` and cancels the rest."""
        self._following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._following
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)


async def start_grpc(gateway: "Gateway") -> GrpcServer:
    """Serves ``gateway`` on its settings' host and ``grpc_port``.

    Raises:
        OSError: the port is taken.
    """
    settings = gateway.settings
    options = [
        ("grpc.max_receive_message_length", settings.max_body_bytes + _OPTIONS_BYTES),
        # Without it a second server would share the port and take half of the calls.
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(
        interceptors=(RequestInterceptor(gateway),),
        options=options,
        maximum_concurrent_rpcs=settings.max_concurrency + settings.max_grpc_streams + _SPARE_CALLS,
    )
    face_parsing_pb2_grpc.add_FaceParsingServicer_to_server(FaceParsingServicer(gateway), server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    address = f"{bracketed(settings.bind_address)}:{settings.grpc_port}"
    try:
        if gateway.tls is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, gateway.tls.grpc_credentials())
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}: the port is taken") from error
    await _tell(healthy, await gateway.ready())
    await server.start()
    following = asyncio.create_task(_follow(gateway, healthy), name="grpc-health")
    return GrpcServer(port, server, healthy, following)


async def _follow(gateway: "Gateway", healthy: health.aio.HealthServicer) -> None:
    while True:
        await asyncio.sleep(HEALTH_INTERVAL_S)
        await _tell(healthy, await gateway.ready())


async def _tell(healthy: health.aio.HealthServicer, ready: bool) -> None:
    kinds = health_pb2.HealthCheckResponse
    for name in ("", SERVICE):
        await healthy.set(name, kinds.SERVING if ready else kinds.NOT_SERVING)
