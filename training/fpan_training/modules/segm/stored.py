"""The checkpoint of a published version: its weights stand once, in ``model.onnx``, and the rest in ``resume.npz``.

Exporting folds batch norms into the convolutions before them. ``resume.npz`` has what the folding took: the norms, and
which convolution each followed; dividing gives the convolutions' own weights back, rounded as they are stored.
"""

import json
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, NamedTuple, cast

import numpy as np
import onnx
import torch
from fpan.contract.network import full
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fpan_training.modules.segm.checkpoint import read_config
from fpan_training.modules.segm.model import build
from fpan_training.nets.interface import SegmNetwork

RESUME = "resume.npz"
"""Beside ``model.onnx``: what it lacks of the checkpoint."""
_CONFIG, _NORMS = ":config", ":norms"
"""Members beside the tensors, whose names have no colon."""
_WRAPPED = "network."
"""What exporting puts before the names of a network's tensors, once for each module around it."""
_WEIGHT = ".weight"
_TINY = 1e-6
"""A norm that multiplies by less has left nothing of its convolution to find again."""
_CLOSE = 2e-3
"""Rounding of a weight to half precision, and some more, as a share of the largest."""

Weights = dict[str, Tensor]


class _Norm(NamedTuple):
    """The batch norm that follows a convolution."""

    name: str
    epsilon: float


def write_rest(network: nn.Module, stored: dict[str, Any], model: bytes) -> bytes:
    """The bytes of ``resume.npz``.

    Args:
        network: what was exported, not mirrored, in evaluation mode.
        stored: its configuration, as the checkpoint has it.
        model: the bytes of ``model.onnx``.
    """
    weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    norms, constants = _norms(network), _constants(model)
    rest: dict[str, NDArray[Any]] = {}
    for name, value in weights.items():
        found = _own(name, weights, norms, constants)
        if found is None or found.shape != value.shape or not _is_close(found, value):
            rest[name] = value.numpy()
    pairs = [[conv, norm.name, repr(norm.epsilon)] for conv, norm in norms.items()]
    members = {_CONFIG: np.array(json.dumps(stored)), _NORMS: np.array(pairs, np.str_).reshape(-1, 3)}
    file = BytesIO()
    np.savez_compressed(file, allow_pickle=False, **rest, **members)
    return file.getvalue()


def read_checkpoint(model: bytes, rest: bytes) -> dict[str, Any]:
    """The checkpoint that a version was made from: ``network`` and ``segm``, as a run's ``best.pt`` has them.

    Args:
        model: the bytes of ``model.onnx``.
        rest: those of ``resume.npz``.
    """
    with np.load(BytesIO(rest), allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
    stored = json.loads(str(arrays.pop(_CONFIG)))
    norms = {conv: _Norm(name, float(epsilon)) for conv, name, epsilon in arrays.pop(_NORMS).tolist()}
    weights = {name: torch.from_numpy(value) for name, value in arrays.items()}
    constants = _constants(model)
    own = build(read_config(stored)).state_dict()
    for name in own.keys() - weights.keys():
        found = _own(name, weights, norms, constants)
        assert found is not None  # else it would have been among the rest
        weights[name] = found
    return {"network": weights, "segm": stored}


def _own(name: str, weights: Mapping[str, Tensor], norms: Mapping[str, _Norm], constants: Weights) -> Tensor | None:
    """A tensor of the network as the file has it, without what was folded into it; None where it has none."""
    value = constants.get(name)
    norm = norms.get(name.removesuffix(_WEIGHT)) if name.endswith(_WEIGHT) else None
    if value is None or norm is None:
        return value
    scale, variance = weights[f"{norm.name}.weight"].float(), weights[f"{norm.name}.running_var"].float()
    factor = (scale / torch.sqrt(variance + norm.epsilon)).reshape(-1, *[1] * (value.ndim - 1))
    return torch.where(factor.abs() < _TINY, torch.zeros(()), value / factor)


def _is_close(found: Tensor, value: Tensor) -> bool:
    return value.is_floating_point() and bool((found - value).abs().max() <= _CLOSE * value.abs().max())


def _norms(network: nn.Module) -> dict[str, _Norm]:
    """Convolution -> the batch norm that takes its output, as it is when the network computes."""
    made: dict[int, str] = {}
    found: dict[str, _Norm] = {}
    outputs = []  # kept, so that no other tensor gets the identity of one that is gone
    hooks = []

    def after(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            outputs.append(output)
            made[id(output)] = name

        return keep

    def before(name: str) -> Callable[[nn.Module, Any], None]:
        def keep(module: nn.Module, inputs: Any) -> None:
            if id(inputs[0]) in made:
                found[made[id(inputs[0])]] = _Norm(name, cast(_BatchNorm, module).eps)

        return keep

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after(name)))
        elif isinstance(module, _BatchNorm):
            hooks.append(module.register_forward_pre_hook(before(name)))
    side = cast(SegmNetwork, network).multiple
    with torch.inference_mode():
        network(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return found


def _constants(model: bytes) -> Weights:
    """The file's float constants by the names that they have in the network."""
    graph = full(onnx.load_model_from_string(model)).graph
    found = {}
    for each in graph.initializer:
        name = each.name
        while name.startswith(_WRAPPED):
            name = name.removeprefix(_WRAPPED)
        if each.data_type == TensorProto.FLOAT:
            found[name] = torch.from_numpy(numpy_helper.to_array(each).copy())
    return found
