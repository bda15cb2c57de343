"""HTTP calls as data, so that the blocking and the asynchronous client differ only in how they send them."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import httpx
from numpy.typing import NDArray

from fpan.client._access import key_headers
from fpan.client._answers import JSON, NPZ, PNG, expect, read_npz, read_result
from fpan.client._options import Drawing, Options, Output, query
from fpan.client._wire import CLIENT_ID, Call
from fpan.client.types import Result

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE = "FPAN_URL"
CONNECT_TIMEOUT_S = 5.0
DEADLINE_GRACE_S = 5.0
"""Seconds that the client waits after the deadline, so that the server's own error response can arrive."""


@dataclass(frozen=True)
class Request:
    """One HTTP request, for the blocking and the asynchronous client."""

    method: str
    path: str
    params: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    pictures: tuple[bytes, ...] = ()
    """Files of a request with several pictures, sent instead of ``content``. The timeout is multiplied by their
    number."""

    def arguments(self, left_ms: int | None, timeout_s: float) -> dict[str, Any]:
        """Arguments of httpx's ``request`` for an attempt that may take ``left_ms``."""
        params = self.params if left_ms is None else {**self.params, "deadline_ms": str(left_ms)}
        wait_s = timeout_s if left_ms is None else left_ms / 1000 + DEADLINE_GRACE_S
        wait_s *= max(1, len(self.pictures))
        return {
            "method": self.method,
            "url": self.path,
            "params": params,
            "headers": self.headers,
            "content": self.content,
            "files": [("image", (str(i), data)) for i, data in enumerate(self.pictures)] or None,
            "timeout": httpx.Timeout(wait_s, connect=min(CONNECT_TIMEOUT_S, wait_s)),
        }


def base_url(url: str | None) -> str:
    """The server's address: the given one, else ``FPAN_URL``, else this machine's port 8000."""
    return (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")


def headers(given: Mapping[str, str] | None, client_id: str | None, api_key: str | None) -> dict[str, str]:
    """The headers of every request."""
    told = {} if client_id is None else {CLIENT_ID: client_id}
    return {**key_headers(api_key), **told, **(given or {})}


def parse_call(data: bytes, options: Options, outputs: Sequence[Output]) -> Call[Request, httpx.Response, Result]:
    """A parse request whose response is JSON that includes the outputs."""
    return _post(data, options, _words(options, outputs), JSON, read_result)


def arrays_call(data: bytes, options: Options, alpha: bool) -> Call[Request, httpx.Response, dict[str, NDArray[Any]]]:
    """A parse request whose response is an ``.npz`` file of arrays."""
    return _post(data, options, "npz,alpha" if alpha else "npz", NPZ, read_npz)


def draw_call(
    data: bytes, options: Options, drawing: Drawing | Literal["alpha"]
) -> Call[Request, httpx.Response, bytes]:
    """A parse request whose response is a PNG."""
    return _post(data, options, drawing, PNG, lambda response: expect(response, PNG).content)


def several_call(
    path: str,
    pictures: Iterable[bytes],
    options: Options,
    outputs: Sequence[Output],
    **headers: str,
) -> Request:
    """A request with several pictures. The deadline in the options applies to each picture."""
    params = {**query(options), "output": _words(options, outputs)}
    if (deadline_ms := options.get("deadline_ms")) is not None:
        params["deadline_ms"] = str(deadline_ms)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", path, params, {"accept": JSON, **named}, pictures=tuple(pictures))


def get(path: str, **params: str | None) -> Request:
    """A GET request for JSON; parameters that are None are left out."""
    told = {name: value for name, value in params.items() if value is not None}
    return Request("GET", path, params=told, headers={"accept": JSON})


def _post(
    data: bytes, options: Options, output: str, accept: str, read: Callable[[httpx.Response], T]
) -> Call[Request, httpx.Response, T]:
    # The server detects the image format from the bytes, so no specific type is needed.
    headers = {"accept": accept, "content-type": "application/octet-stream"}
    params = {**query(options), "output": output}
    return Call(Request("POST", "/v1/parse", params, headers, data), read, options.get("deadline_ms"))


def _words(options: Options, outputs: Sequence[Output]) -> str:
    """The value of the query parameter ``output``.

    Results have the label map of all faces as run lengths. It is requested as a PNG alone if the caller wants the PNG
    and no masks of single faces.
    """
    has_map = "png" in outputs and options.get("frame") != "crop" and options.get("face_masks") is False
    return ",".join(outputs if has_map else ("rle", *outputs))
