"""Settings of the ports of HTTP and gRPC."""

from typing import Annotated, Self

from pydantic import BeforeValidator, IPvAnyNetwork, model_validator

from fpan.contract.card import ModelName
from fpan.serve.setting_types import (
    ComponentSettings,
    Mark,
    NonNegative,
    Port,
    Positive,
    Seconds,
    Words,
    is_loopback,
    origin,
    refused,
)


class TransportSettings(ComponentSettings):
    """What HTTP and gRPC listen on, how large and how slow a request may be, and how the ports are closed."""

    bind_address: str = "127.0.0.1"
    """Address that HTTP and gRPC listen on. Not called ``host``: shells and compilers export a HOST of their own."""
    port: Port = 8000
    """Port of HTTP."""
    grpc_port: Port = 50051
    """Port of gRPC."""
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], *Words] = ()
    """Addresses or networks, with commas, of proxies whose ``X-Forwarded-For`` HTTP believes: 10.0.0.7, 10.1.0.0/16.
    Empty: a caller's address is that of its connection."""
    allowed_hosts: Annotated[tuple[str, ...], *Words] = ()
    """Names, with commas, that this server may be called by in HTTP (``Host``), or *. Empty: on loopback without keys
    localhost, 127.0.0.1, [::1] and ``bind_address``, so that no page reaches it by a name of its own; elsewhere any."""
    cors_origins: Annotated[tuple[Annotated[str, BeforeValidator(origin)], ...], *Words] = ()
    """Origins, with commas, whose pages may call this server from a browser: https://app.example.com, or *."""
    max_body_bytes: Annotated[Positive, Mark.FOR_ONE_COMMAND] = 32 * 2**20
    """Largest request body in bytes."""
    body_timeout_s: Annotated[Seconds, Mark.FOR_ONE_COMMAND] = 60
    """How long a request's body may take to arrive, in seconds."""
    max_bodies_bytes: Annotated[Positive, Mark.FOR_ONE_COMMAND] = 2**30
    """Bytes that the bodies of all HTTP requests may have in memory together; what comes beyond is refused with 429."""
    send_timeout_s: Seconds = 60
    """How long a caller may take to read a piece of an answer, in seconds; then its connection is dropped."""
    max_batch_images: Positive = 64
    """Pictures of one ``/v1/parse/batch``."""
    max_batch_bytes: Positive = 64 * 2**20
    """Largest body of a ``/v1/parse/batch`` in bytes; each of its pictures may have ``max_body_bytes``."""
    batch_concurrency: Positive = 4
    """Pictures of one ``/v1/parse/batch`` that are in work at once."""
    max_grpc_streams: Positive = 64
    """Streams of gRPC that need no key and may be open at once: watched health, reflection."""
    grpc_stream_timeout_s: Seconds = 3600
    """How long one of these streams may be open, in seconds; whoever still watches begins anew."""
    v2_models: Annotated[tuple[ModelName, ...], *Words] = ()
    """Models, with commas, that answer to the Open Inference Protocol at ``/v2``; none turns it off."""
    v2_max_json_bytes: Positive = 8 * 2**20
    """Largest JSON of an inference at ``/v2`` in bytes; larger tensors are sent in binary."""
    drain_delay_s: NonNegative = 0
    """How long the ports stay open after SIGTERM, in seconds, telling that the server is not ready and takes nothing
    new: until those who send it requests have heard of it. A second signal cuts it short."""
    drain_timeout_s: Annotated[Seconds, Mark.FOR_ONE_COMMAND] = 20
    """How long running requests may go on after SIGTERM, in seconds."""

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can reach the ports."""
        return is_loopback(self.bind_address)

    @model_validator(mode="after")
    def _largest_bodies_fit(self) -> Self:
        check_body_fits(self, "max_body_bytes", self.max_body_bytes)
        check_body_fits(self, "max_batch_bytes", self.max_batch_bytes)
        return self


def check_body_fits(settings: TransportSettings, name: str, largest: int) -> None:
    """Checks that a body of ``largest`` bytes, which the setting ``name`` allows, fits into ``max_bodies_bytes``.

    Raises:
        ValidationError: it does not.
    """
    room = settings.max_bodies_bytes
    if room < largest:
        raise refused(
            "max_bodies_bytes",
            room,
            f"a body of {largest} bytes, which {name.upper()} allows, would never fit into {room}",
        )
