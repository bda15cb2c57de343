"""gRPC calls as messages: the counterpart of :mod:`fpan.client._calls`."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import grpc
from numpy.typing import NDArray

from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.client._access import (
    AUTHORITY_VARIABLE,
    CERTIFICATE_VARIABLE,
    PRIVATE_KEY_VARIABLE,
    key_headers,
    named_files,
    named_pem,
)
from fpan.client._grpc_answers import read_drawing, read_npz, read_result
from fpan.client._options import Drawing, Options, Output, known
from fpan.client._wire import CLIENT_ID, Call
from fpan.client.types import Result

DEFAULT_URL = "grpc://127.0.0.1:50051"
URL_VARIABLE = "FPAN_GRPC_URL"
PLAIN, ENCRYPTED = "grpc", "grpcs"
CHANNEL_OPTIONS = (
    # Label maps of large pictures exceed a channel's default limit of 4 MiB.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # The client retries itself, because its retries respect the delay that the server requests.
    ("grpc.enable_retries", 0),
    # Reconnects to a restarted server within a second; with the defaults this can take two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
Pem = bytes | str | os.PathLike[str]
"""Certificates, or a private key, as PEM, or the path of their file."""
Metadata = tuple[tuple[str, str], ...]


def base_url(url: str | None) -> str:
    """The server's address: the given one, else ``FPAN_GRPC_URL``, else this machine's port 50051.

    Raises:
        ValueError: the address is not a gRPC address.
    """
    told = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    told = (told if "://" in told else f"{PLAIN}://{told}").rstrip("/")
    parts = urlsplit(told)
    if parts.scheme not in (PLAIN, ENCRYPTED) or parts.port is None or told != f"{parts.scheme}://{parts.netloc}":
        raise ValueError(f"{told!r} is no address of gRPC, such as grpc://HOST:PORT or, with TLS, grpcs://HOST:PORT")
    return told


def credentials(
    url: str, roots: Pem | None = None, certificate: Pem | None = None, private_key: Pem | None = None
) -> grpc.ChannelCredentials | None:
    """The TLS credentials of a channel to ``url``; None for an address without TLS.

    Args:
        url: address of the server.
        roots: certificates of the trusted authorities; None takes the file that the environment names.
        certificate: client certificate with its chain; None takes certificate and key that the environment names.
        private_key: private key of the client certificate.

    Raises:
        OSError: a file cannot be read.
        FpanError: a file that the environment names cannot be read.
        ValueError: certificates are given for an address without TLS, or a certificate without its key or vice versa.
    """
    if urlsplit(url).scheme == PLAIN:
        if any(each is not None for each in (roots, certificate, private_key)):
            raise ValueError(f"{url} is not encrypted, so that certificates are of no use: say {ENCRYPTED}://")
        return None
    named = named_files()
    trusted = named_pem(AUTHORITY_VARIABLE, named.authority) if roots is None else _pem(roots)
    if certificate is None and private_key is None:
        shown = named_pem(CERTIFICATE_VARIABLE, named.certificate)
        # As for HTTP, one file may hold both certificate and key.
        key = named_pem(PRIVATE_KEY_VARIABLE, named.private_key or named.certificate) if shown else None
    else:
        shown, key = _pem(certificate), _pem(private_key)
    if (shown is None) != (key is None):
        raise ValueError("a certificate goes with its private key: name both")
    return grpc.ssl_channel_credentials(trusted, key, shown)


def _pem(told: Pem | None) -> bytes | None:
    return told if told is None or isinstance(told, bytes) else Path(told).read_bytes()


def metadata(api_key: str | None, client_id: str | None) -> Metadata:
    """The metadata of every call."""
    told = {**key_headers(api_key), **({CLIENT_ID: client_id} if client_id else {})}
    return tuple((name.lower(), value) for name, value in told.items())


def parse_call(
    data: bytes, options: Options, outputs: Sequence[Output]
) -> Call[pb.ParseRequest, pb.ParseResponse, Result]:
    """A parse call whose response has the label maps and the outputs."""
    return _call(data, options, outputs, partial(read_result, outputs=outputs))


def draw_call(
    data: bytes, options: Options, drawing: Drawing | Literal["alpha"]
) -> Call[pb.ParseRequest, pb.ParseResponse, bytes]:
    """A parse call that returns one drawing.

    Raises:
        ValueError: ``drawing`` is ``alpha``, the soft mask of all classes together, which only HTTP has.
    """
    if drawing == "alpha":
        raise ValueError('over gRPC soft masks come by face and class: parse(..., output=["alpha"])')
    return _call(data, options, (drawing,), partial(read_drawing, drawing=drawing))


def arrays_call(
    data: bytes, options: Options, alpha: bool
) -> Call[pb.ParseRequest, pb.ParseResponse, dict[str, NDArray[Any]]]:
    """A parse call that returns the arrays."""
    return _call(data, options, ("npz", "alpha") if alpha else ("npz",), read_npz)


def _call(data: bytes, options: Options, outputs: Sequence[str], read: Any) -> Call[Any, Any, Any]:
    message = _options(known(options))
    # Label maps always come as indexed PNGs, so there is no output for them.
    message.outputs.extend(_member(pb.Output, "OUTPUT", name, "output") for name in outputs if name != "png")
    return Call(pb.ParseRequest(image=data, options=message), read, options.get("deadline_ms"))


def _options(options: Options) -> pb.ParseOptions:
    message = pb.ParseOptions(
        classes=options.get("classes") or (), groups=options.get("groups") or (), model=options.get("model") or "",
        taxonomy=options.get("taxonomy") or "",
    )  # fmt: skip
    faces = options.get("faces")
    if isinstance(faces, str):
        message.mode = _member(pb.FacesMode, "FACES_MODE", faces, "faces")
    elif faces is not None:
        message.boxes.boxes.extend(pb.Box(x0=x0, y0=y0, x1=x1, y1=y1) for x0, y0, x1, y1 in faces)
        message.boxes.SetInParent()
    for number in ("max_faces", "tolerance", "abstain", "face_masks"):
        value = options.get(number)
        if value is not None:
            setattr(message, number, value)
    for word, kind, prefix in (
        ("orientation", pb.Orientation, "ORIENTATION"),
        ("frame", pb.Frame, "FRAME"),
        ("redact", pb.RedactStyle, "REDACT_STYLE"),
    ):
        chosen = cast("str | None", options.get(word))
        if chosen is not None:
            setattr(message, word, _member(kind, prefix, chosen, word))
    return message


def _member(kind: Any, prefix: str, word: str, option: str) -> Any:
    """The value of the enumeration member that an option names."""
    words = [name.removeprefix(f"{prefix}_").lower() for name in kind.keys()[1:]]
    if word not in words:
        raise ValueError(f"{option} is one of {', '.join(words)}, not {word!r}")
    return kind.Value(f"{prefix}_{word.upper()}")
