"""The gRPC clients. Imported only on first access, because they need the extra ``[grpc]``."""

from functools import cached_property
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.client import _grpc_calls
from fpan.client._asynchronous import Asynchronous
from fpan.client._blocking import Blocking
from fpan.client._grpc_answers import failure, read_health
from fpan.client._grpc_calls import CHANNEL_OPTIONS, Pem
from fpan.client._patience import Retry
from fpan.client.types import Health

_HEALTH = health_pb2.HealthCheckRequest(service=pb.DESCRIPTOR.services_by_name["FaceParsing"].full_name)


class GrpcClient(Blocking[pb.ParseRequest, pb.ParseResponse]):
    """Parses faces with a running server over gRPC: the same methods, options, results and errors as those of
    :class:`~fpan.client.Client` that the gRPC contract has.

    >>> with GrpcClient("grpc://127.0.0.1:50051") as client:  # doctest: +SKIP
    ...     result = client.parse("photo.jpg")

    One client may be used by many threads; it keeps its connection open until it is closed.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        client_id: str | None = None,
        retry: Retry | None = None,
        timeout_s: float = 60.0,
        root_certificates: Pem | None = None,
        certificate: Pem | None = None,
        private_key: Pem | None = None,
    ) -> None:
        """Connects on the first call.

        Args:
            url: ``grpc://HOST:PORT``, or ``grpcs://HOST:PORT`` with TLS; None takes ``FPAN_GRPC_URL`` from the
                environment, else grpc://127.0.0.1:50051.
            api_key: for a server that requires one; None takes ``FPAN_API_KEY`` from the environment.
            client_id: an identifier that the caller chooses; while a model version is on trial for a share of the
                callers, one client always gets the same version.
            retry: how often to try again when the server is busy or unreachable.
            timeout_s: how long to wait for an answer when the call names no ``deadline_ms``, in seconds.
            root_certificates: certificates of the trusted authorities, as PEM or the path of a PEM file; None takes
                the file that ``FPAN_CA`` names, else the certificates that gRPC includes.
            certificate: client certificate for a server that requires one, as PEM or the path of a PEM file; None
                takes the files that ``FPAN_CLIENT_CERTIFICATE`` and ``FPAN_CLIENT_KEY`` name.
            private_key: private key of the client certificate.
        """
        super().__init__(_grpc_calls, _grpc_calls.base_url(url), retry)
        self._timeout_s = timeout_s
        self._metadata = _grpc_calls.metadata(api_key, client_id)
        target = self.url.partition("://")[2]
        secret = _grpc_calls.credentials(self.url, root_certificates, certificate, private_key)
        self._channel = (
            grpc.secure_channel(target, secret, CHANNEL_OPTIONS)
            if secret
            else grpc.insecure_channel(target, CHANNEL_OPTIONS)
        )
        self._stub = face_parsing_pb2_grpc.FaceParsingStub(self._channel)

    def health(self) -> Health:
        """Whether the server runs and is ready. Does not retry."""
        check = health_pb2_grpc.HealthStub(self._channel).Check
        return read_health(self._called(check, _HEALTH, None))

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _once(self, request: pb.ParseRequest, left_ms: int | None = None) -> pb.ParseResponse:
        answer: pb.ParseResponse = self._called(self._stub.Parse, request, left_ms)
        return answer

    def _called(self, method: Any, request: Any, left_ms: int | None) -> Any:
        timeout_s = self._timeout_s if left_ms is None else left_ms / 1000
        try:
            return method(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise failure(self.url, error, left_ms) from error


class AsyncGrpcClient(Asynchronous[pb.ParseRequest, pb.ParseResponse]):
    """Parses faces with a running server over gRPC: the asynchronous counterpart of :class:`GrpcClient`.

    >>> async with AsyncGrpcClient("grpc://127.0.0.1:50051") as client:  # doctest: +SKIP
    ...     result = await client.parse("photo.jpg")

    One client serves many tasks of one event loop; it keeps its connection open until it is closed.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        client_id: str | None = None,
        retry: Retry | None = None,
        timeout_s: float = 60.0,
        root_certificates: Pem | None = None,
        certificate: Pem | None = None,
        private_key: Pem | None = None,
    ) -> None:
        """Connects on the first call; the arguments are those of :class:`GrpcClient`."""
        super().__init__(_grpc_calls, _grpc_calls.base_url(url), retry)
        self._timeout_s = timeout_s
        self._metadata = _grpc_calls.metadata(api_key, client_id)
        self._secret = _grpc_calls.credentials(self.url, root_certificates, certificate, private_key)

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        """Created on the first call, because a channel belongs to the event loop in which it is created."""
        target = self.url.partition("://")[2]
        if self._secret:
            return grpc.aio.secure_channel(target, self._secret, CHANNEL_OPTIONS)
        return grpc.aio.insecure_channel(target, CHANNEL_OPTIONS)

    @cached_property
    def _stub(self) -> Any:
        return face_parsing_pb2_grpc.FaceParsingStub(self._channel)

    async def health(self) -> Health:
        """Whether the server runs and is ready. Does not retry."""
        check = health_pb2_grpc.HealthStub(self._channel).Check
        return read_health(await self._called(check, _HEALTH, None))

    async def aclose(self) -> None:
        """Closes the connection."""
        if "_channel" in self.__dict__:
            await self._channel.close()

    async def _once(self, request: pb.ParseRequest, left_ms: int | None = None) -> pb.ParseResponse:
        answer: pb.ParseResponse = await self._called(self._stub.Parse, request, left_ms)
        return answer

    async def _called(self, method: Any, request: Any, left_ms: int | None) -> Any:
        timeout_s = self._timeout_s if left_ms is None else left_ms / 1000
        try:
            return await method(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise failure(self.url, error, left_ms) from error
