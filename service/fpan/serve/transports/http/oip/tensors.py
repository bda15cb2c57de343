"""Requests and answers of an inference by the Open Inference Protocol, with tensors inline: JSON, or Triton's binary
extension, where they follow the JSON.

Sources: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol and Triton's
``protocol/extension_binary_data.md``.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan.contract import ModelCard
from fpan.contract.card import Tensor
from fpan.serve.api.errors import BadRequest, Impossible, TooLarge
from fpan.serve.inference.backend import DTYPES, Tensors, fits, input_shapes
from fpan.serve.transports.http.json_body import parsed_json

_MAX_ID = 128
"""Characters of a request's id."""
_SURROGATE = re.compile("[\ud800-\udfff]")
"""JSON can name half of a character, which no answer can have."""
_MOST_DIGITS = 20
"""Of the length of what fits into memory."""
_SHOWN = 80
"""Characters of a refused word that a message shows."""
_JSON_CHUNK = 16_384
"""Numbers that are written at once: the event loop has a turn between two chunks."""
_BINARY, _BINARY_ALL, _SIZE, _TIMEOUT = "binary_data", "binary_data_output", "binary_data_size", "timeout"
_INLINE = "tensors are sent and answered inline here"


@dataclass(frozen=True)
class InferenceLimits:
    """What a request may have."""

    max_batch: int
    """Items."""
    max_json_bytes: int
    """Bytes of its JSON: they are read by a parser that nothing else can run beside."""


@dataclass(frozen=True)
class Inference:
    """A request that fits the model's card."""

    id: str
    inputs: Tensors
    """Arrays whose first dimension is the batch."""
    outputs: tuple[tuple[str, bool], ...]
    """Of each output that is wanted: its name, and whether it is answered in binary."""
    timeout_s: float | None
    """How long it may take, in seconds."""

    def computed(self, card: ModelCard) -> list[str]:
        """The outputs to ask the network for: those of every request or all, for which it is compiled already."""
        always = [tensor.name for tensor in card.outputs if tensor.name not in card.on_demand]
        wanted = {name for name, _ in self.outputs}
        return always if wanted <= set(always) else [tensor.name for tensor in card.outputs]


def read_inference(body: bytes, header_length: str | None, card: ModelCard, limits: InferenceLimits) -> Inference:
    """Reads a request. It computes: it belongs in a worker thread.

    Args:
        body: JSON, and behind it the tensors in binary.
        header_length: the header ``Inference-Header-Content-Length``, bytes of the JSON; None where it is all.
        card: of the model.
        limits: what the request may have.

    Raises:
        BadRequest: it is malformed, or does not fit the card.
        TooLarge: its batch, or its JSON.
    """
    length = _header_length(header_length, len(body))
    if length > limits.max_json_bytes:
        raise TooLarge(
            f"the JSON has {length} bytes, the limit is {limits.max_json_bytes}: send larger tensors in binary "
            "(Inference-Header-Content-Length)"
        )
    request = parsed_json(body[:length])
    if not isinstance(request, dict):
        raise BadRequest("the request is no JSON object")
    _only(request, {"id", "parameters", "inputs", "outputs"}, "the request")
    identity = request.get("id", "")
    if not isinstance(identity, str) or len(identity) > _MAX_ID or _SURROGATE.search(identity):
        raise BadRequest(f"id is text of at most {_MAX_ID} characters, none of them half a character")
    parameters = _parameters(request, {_BINARY_ALL, _TIMEOUT}, "the request")
    inputs = _inputs(request.get("inputs"), memoryview(body)[length:], card, limits.max_batch)
    outputs = _outputs(request.get("outputs"), _flag(parameters, _BINARY_ALL, "the request"), card)
    return Inference(identity, inputs, outputs, _timeout_s(parameters))


def write_inference(card: ModelCard, inference: Inference, arrays: Tensors) -> tuple[bytes, int | None]:
    """The answer, and the length of its JSON where tensors follow it. It computes: it belongs in a worker thread.

    Raises:
        Impossible: a number that JSON cannot have.
    """
    head: dict[str, Any] = {"model_name": card.name, "model_version": str(card.version)}
    if inference.id:
        head["id"] = inference.id
    dtypes = {tensor.name: tensor.dtype for tensor in card.outputs}
    told, raw = [], []
    for name, binary in inference.outputs:
        array = np.ascontiguousarray(arrays[name])
        output: dict[str, Any] = {"name": name, "datatype": dtypes[name], "shape": list(array.shape)}
        if binary:
            raw.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
            output["parameters"] = {_SIZE: len(raw[-1])}
            told.append(_json(output))
        else:
            told.append(b'%s,"data":[%s]}' % (_json(output)[:-1], b",".join(_numbers(name, array))))
    answer = b'%s,"outputs":[%s]}' % (_json(head)[:-1], b",".join(told))
    return b"".join([answer, *raw]), len(answer) if raw else None


def _header_length(told: str | None, length: int) -> int:
    if told is None:
        return length
    if not (len(told) <= _MOST_DIGITS and told.isascii() and told.isdigit() and int(told) <= length):
        raise BadRequest(f"Inference-Header-Content-Length is {told[:_SHOWN]!r}, the body has {length} bytes")
    return int(told)


def _only(members: Mapping[str, Any], known: set[str], where: str) -> None:
    """Whatever is asked for and not done here is refused, rather than forgotten."""
    for name in members:
        if name.startswith("shared_memory"):
            raise BadRequest(f"{where} has {name[:_SHOWN]!r}: there is no shared memory, {_INLINE}")
        if name not in known:
            raise BadRequest(f"{where} has {name[:_SHOWN]!r}, which is not offered here: {', '.join(sorted(known))} is")


def _parameters(of: Mapping[str, Any], known: set[str], where: str) -> Mapping[str, Any]:
    parameters = of.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadRequest(f"the parameters of {where} are no object")
    _only(parameters, known, f"parameters of {where}")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, where: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise BadRequest(f"the parameter {name} of {where} is true or false")
    return value


def _timeout_s(parameters: Mapping[str, Any]) -> float | None:
    value = parameters.get(_TIMEOUT)
    if value is None:
        return None
    if not _is_whole(value) or value < 1:
        raise BadRequest(f"the parameter {_TIMEOUT} is a whole number of microseconds, at least 1")
    return float(min(value, 10**15)) / 1e6


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _named(entries: Any, tensors: tuple[Tensor, ...], what: str, card: ModelCard) -> Iterator[tuple[Tensor, Any]]:
    """The entries of a request with the tensors that they name, each once."""
    known = {tensor.name: tensor for tensor in tensors}
    seen: set[str] = set()
    if not isinstance(entries, list):
        raise BadRequest(f"{what}s is no list")
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name not in known:
            raise BadRequest(f"{card.name} has no {what} {str(name)[:_SHOWN]!r}: it has {', '.join(known)}")
        if name in seen:
            raise BadRequest(f"the {what} {name!r} is given twice")
        seen.add(name)
        yield known[name], entry


def _inputs(entries: Any, raw: memoryview, card: ModelCard, max_batch: int) -> dict[str, NDArray[np.generic]]:
    arrays: dict[str, NDArray[np.generic]] = {}
    for tensor, entry in _named(entries, card.inputs, "input", card):
        where = f"the input {tensor.name!r}"
        _only(entry, {"name", "datatype", "shape", "parameters", "data"}, where)
        shape = _shape(card, tensor, entry, max_batch, where)
        size = _parameters(entry, {_SIZE}, where).get(_SIZE)
        if (size is None) == ("data" not in entry):
            raise BadRequest(f"{where} has either data or the parameter {_SIZE}: {_INLINE}")
        if size is None:
            array = _from_json(tensor, entry["data"], shape, where)
        else:
            array, raw = _from_binary(tensor, size, raw, shape, where)
        arrays[tensor.name] = array
    if missing := [tensor.name for tensor in card.inputs if tensor.name not in arrays]:
        raise BadRequest(f"the input {missing[0]!r} is missing")
    if len({len(array) for array in arrays.values()}) > 1:
        raise BadRequest("the inputs differ in their first dimension, the batch")
    if len(raw):
        raise BadRequest(f"the body has {len(raw)} bytes more than its JSON and the tensors that it names")
    return arrays


def _shape(card: ModelCard, tensor: Tensor, entry: Mapping[str, Any], max_batch: int, where: str) -> tuple[int, ...]:
    """The shape that a request names, which is one that the card allows."""
    known = (f"[N, {', '.join(map(str, shape))}]" for shape in input_shapes(card, tensor))
    wants = f"{where} is {tensor.dtype} of the shape {' or '.join(known)}"
    shape, dtype = entry.get("shape"), entry.get("datatype")
    if dtype != tensor.dtype:
        raise BadRequest(f"{wants}, not {str(dtype)[:_SHOWN]}")
    if not isinstance(shape, list) or not all(_is_whole(side) and 1 <= side < 2**31 for side in shape):
        raise BadRequest(f"{wants}; shape is a list of whole numbers from 1")
    # An array of the shape that takes no memory.
    if not shape or not fits(card, tensor, np.broadcast_to(DTYPES[tensor.dtype](), shape[1:])):
        raise BadRequest(f"{wants}, not {str(shape)[:_SHOWN]}")
    if shape[0] > max_batch:
        raise TooLarge(f"{where} has a batch of {shape[0]}, the limit is {max_batch}")
    return tuple(shape)


def _from_binary(
    tensor: Tensor, size: Any, raw: memoryview, shape: tuple[int, ...], where: str
) -> tuple[NDArray[np.generic], memoryview]:
    dtype = np.dtype(DTYPES[tensor.dtype])
    wanted = math.prod(shape) * dtype.itemsize
    if not _is_whole(size) or size != wanted:
        raise BadRequest(f"{where} has {wanted} bytes by its shape, but {_SIZE} is {str(size)[:_SHOWN]}")
    if size > len(raw):
        raise BadRequest(f"the body ends before the {size} bytes of {where}")
    # A copy, because runtimes want their memory aligned.
    array = np.frombuffer(raw[:size], dtype.newbyteorder("<")).astype(dtype, copy=True).reshape(shape)
    return array, raw[size:]


def _from_json(tensor: Tensor, data: Any, shape: tuple[int, ...], where: str) -> NDArray[np.generic]:
    """From numbers, flat or nested as the shape is."""
    kinds, dtype = ("iu", np.uint8) if tensor.dtype == "UINT8" else ("iuf", np.float32)
    try:
        array: NDArray[Any] = np.asarray(data)
    except (ValueError, OverflowError, RecursionError):
        raise BadRequest(f"the data of {where} are lists of different lengths, or no numbers") from None
    if array.dtype.kind not in kinds:
        raise BadRequest(f"the data of {where} are no numbers of the type {tensor.dtype}")
    if array.shape not in (shape, (math.prod(shape),)):
        raise BadRequest(
            f"the data of {where} have the shape {list(array.shape)}, not {list(shape)}, nor are they flat"
        )
    limits: Any = np.iinfo(np.uint8) if tensor.dtype == "UINT8" else np.finfo(np.float32)
    if array.min() < limits.min or array.max() > limits.max:
        raise BadRequest(f"the data of {where} go beyond {tensor.dtype}")
    return array.astype(dtype).reshape(shape)


def _outputs(entries: Any, binary: bool, card: ModelCard) -> tuple[tuple[str, bool], ...]:
    if not entries:  # by the protocol: all of them
        if entries not in (None, []):
            raise BadRequest("outputs is no list")
        return tuple((tensor.name, binary) for tensor in card.outputs)
    wanted = []
    for tensor, entry in _named(entries, card.outputs, "output", card):
        where = f"the output {tensor.name!r}"
        _only(entry, {"name", "parameters"}, where)
        wanted.append((tensor.name, _flag(_parameters(entry, {_BINARY}, where), _BINARY, where, binary)))
    return tuple(wanted)


def _numbers(name: str, array: NDArray[np.generic]) -> Iterator[bytes]:
    flat = array.ravel()
    for begin in range(0, flat.size, _JSON_CHUNK):
        try:
            yield _json(flat[begin : begin + _JSON_CHUNK].tolist())[1:-1]
        except ValueError:
            raise Impossible(f"the output {name!r} has numbers that JSON cannot have: ask for it in binary") from None


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
