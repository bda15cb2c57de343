"""gRPC in: the contract of ``proto/faceparsing/v1``, health and reflection."""

from fpan.serve.transports.grpc.server import GrpcServer, start_grpc

__all__ = ["GrpcServer", "start_grpc"]
