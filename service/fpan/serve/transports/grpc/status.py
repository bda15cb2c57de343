"""Errors as gRPC statuses with the richer error model's details (google.rpc)."""

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from fpan.serve.api.errors import GatewayError

DOMAIN = "mask-fpan"
"""Of ``ErrorInfo``: whose ``reason`` it is."""


def status_of(error: GatewayError) -> grpc.Status:
    """The status that tells ``error``: its code, its sentence, ``ErrorInfo`` and, where it is worth it, ``RetryInfo``.

    ``reason`` is the problem's slug in capitals, e.g. ``UNSUPPORTED_IMAGE``: it tells apart what one code means. Its
    metadata has ``http_status``, so that a caller of both protocols can treat both alike.
    """
    reason, beside = error.slug.replace("-", "_").upper(), {"http_status": str(error.status)}
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=beside)
    details = [_packed(info)]
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(_packed(retry))
    code = grpc.StatusCode[error.grpc_code]
    message = status_pb2.Status(code=code.value[0], message=str(error), details=details)
    status: grpc.Status = rpc_status.to_status(message)
    return status


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
