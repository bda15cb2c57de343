"""What comes over gRPC: any bytes as a message, any message that the contract allows, connections that break off."""

import socket
import struct
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import grpc
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.client._grpc_calls import CHANNEL_OPTIONS, parse_call
from fpan.serve.transports.grpc.middleware import PARSE_ROUTE
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import strategies as st

from tests.fuzz.corpus import broken
from tests.fuzz.tally import HANG_S, Fault
from tests.fuzz.target import GOOD

OK = "OK"
_BROKEN_CODES = frozenset(
    {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS}
)
"""What nobody may be told while nothing is wrong with the service."""
_SHORT_S = 0.05
"""A deadline that may pass, in seconds."""
_INTEGERS = {
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
}
_TAKEN = {
    "classes": ("hair", "skin", "l_eye"),
    "groups": ("lips", "eyes"),
    "model": ("", "segm", "segm:1", "segm@champion"),
    "taxonomy": ("", "bisenet"),
}
"""Texts that are taken, by field."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
_LONGEST_LIST = 5
Metadata = tuple[tuple[str, str], ...]


def channel(port: int) -> grpc.Channel:
    """A channel as the client's own."""
    return grpc.insecure_channel(f"127.0.0.1:{port}", CHANNEL_OPTIONS)


def caller(opened: grpc.Channel) -> Callable[..., bytes]:
    """Calls `Parse` with bytes, whatever they are."""
    return opened.unary_unary(PARSE_ROUTE)


def ask(call: Callable[..., bytes], message: bytes, metadata: Metadata = (), deadline_s: float = HANG_S) -> str:
    """The outcome of one call: a code.

    Raises:
        Fault: none that a caller may get.
    """
    return told(call, message, metadata, deadline_s)[0]


def told(
    call: Callable[..., bytes], message: bytes, metadata: Metadata = (), deadline_s: float = HANG_S
) -> tuple[str, int]:
    """The code of one call, and the status that HTTP would have had.

    Raises:
        Fault: none that a caller may get.
    """
    try:
        pb.ParseResponse.FromString(call(message, timeout=deadline_s, metadata=metadata))
    except grpc.RpcError as error:
        code = error.code()
        if code in _BROKEN_CODES or (code is grpc.StatusCode.DEADLINE_EXCEEDED and deadline_s == HANG_S):
            raise Fault(f"{code.name}: {error.details()}") from None
        return code.name, _http_status(error)
    return OK, 200


def _http_status(error: grpc.RpcError) -> int:
    """As ``ErrorInfo`` has it; 0 where gRPC itself has refused the call."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return int(info.metadata["http_status"])
    return 0


def picture_message(data: bytes, options: dict[str, Any], outputs: tuple[str, ...]) -> bytes:
    """What the client sends for a picture."""
    return bytes(parse_call(data, options, outputs).request.SerializeToString())


def messages(kind: type[Message] = pb.ParseRequest) -> st.SearchStrategy[Message]:
    """Any message that the contract's types allow: all numbers, words that mean nothing, enumerations beyond theirs."""
    return _messages(kind.DESCRIPTOR).map(lambda members: kind(**members))


@cache
def _messages(descriptor: Descriptor) -> st.SearchStrategy[dict[str, Any]]:
    own = [each for each in descriptor.fields if each.containing_oneof is None]
    needed = {each.name: _member(each) for each in own if each.type == FieldDescriptor.TYPE_BYTES}
    others = {each.name: _member(each) for each in own if each.name not in needed}
    choices: list[st.SearchStrategy[dict[str, Any]]] = [st.fixed_dictionaries(needed, optional=others)]
    for oneof in descriptor.oneofs:
        choices.append(st.just({}) | st.one_of([st.fixed_dictionaries({f.name: _member(f)}) for f in oneof.fields]))
    return st.tuples(*choices).map(lambda parts: {name: value for part in parts for name, value in part.items()})


def _member(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    value = _value(field)
    return st.lists(value, max_size=_LONGEST_LIST) if field.is_repeated else value


def _value(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_MESSAGE:
        return _messages(field.message_type)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        known = st.sampled_from(sorted(field.enum_type.values_by_number))
        return known | known | known | st.integers(*_INTEGERS[FieldDescriptor.CPPTYPE_INT32])
    if kind in _INTEGERS:
        return st.integers(1, 50) | st.integers(*_INTEGERS[kind])
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return st.floats(0, 1, width=32) | st.floats(0, 1, width=32) | st.floats(-9, 60, width=32) | st.floats(width=32)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.just(GOOD) | st.integers(0, 2**31).map(broken) | st.binary(max_size=200)
    taken = st.sampled_from(_TAKEN.get(field.name, ("",)))
    return taken | taken | taken | st.text(max_size=40)


def hostile(number: int) -> tuple[bytes, Metadata, float]:
    """A message, metadata and deadline: random bytes, a valid message damaged, lengths that lie, nesting."""
    rng = Random(number)
    valid = picture_message(GOOD, {"faces": "full"}, ())
    how = rng.randrange(7)
    if how == 0:
        message = rng.randbytes(rng.randrange(300))
    elif how == 1:
        message = valid[: rng.randrange(len(valid))]
    elif how == 2:
        damaged = bytearray(valid)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.choice((rng.randrange(8), rng.randrange(len(damaged))))] = rng.randrange(256)
        message = bytes(damaged)
    elif how == 3:  # a field whose length is far more than there is
        message = _varint(rng.randrange(1, 2000) << 3 | 2) + _varint(rng.choice((2**31 - 1, 2**32, 2**63, 2**64 - 1)))
    elif how == 4:  # groups within groups
        message = _varint(rng.randrange(1, 20) << 3 | 3) * rng.choice((1, 99, 101, 50_000))
    elif how == 5:  # what this server does not know, and the same field again and again
        message = valid + b"".join(_varint(rng.randrange(16, 2**28) << 3) + b"\1" for _ in range(rng.randrange(2000)))
    else:
        message = valid * rng.randint(2, 20)
    words = ("u=7", "u=0, i", "u=" + "9" * 5000, " ", "x" * 4000, "-1", "00-" + "0" * 32 + "-" + "0" * 16 + "-01")
    names = ("x-request-id", "priority", "x-client-id", "authorization", "x-api-key", "traceparent", "cache-status")
    metadata = tuple((rng.choice(names), rng.choice(words)) for _ in range(rng.choice((0, 0, 1, 3))))
    return message, metadata, _SHORT_S if not rng.randrange(20) else HANG_S


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def break_off(port: int, number: int) -> str:
    """A connection of HTTP/2 that goes wrong: frames that lie, a stream that ends in the middle, no HTTP/2 at all.

    Raises:
        Fault: the server keeps it open and says nothing.
    """
    rng = Random(number)
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
        said = b"" if rng.randrange(8) == 0 else _PREFACE + _SETTINGS
        for _ in range(rng.randrange(6)):
            payload = rng.randbytes(rng.randrange(100))
            length = rng.choice((len(payload), len(payload) + 1, 0, 2**14, 2**24 - 1))
            head = struct.pack(">I", length)[1:] + bytes([rng.randrange(12), rng.randrange(256)])
            said += head + struct.pack(">I", rng.choice((0, 1, 3, 2**31 - 1, rng.randrange(2**32)))) + payload
        try:
            connection.sendall(said + rng.randbytes(rng.randrange(50)))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except TimeoutError:
            raise Fault("the connection stays open although nothing more can come") from None
        except OSError:
            return "reset"
    return "closed"
