"""The generic model of the embedded server: runs the ONNX file beside it. Loaded by Triton's Python backend.

Tensors go through DLPack both ways: with numpy 2 this backend's own conversions give zeros without a word.
"""

import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

if TYPE_CHECKING:
    from fpan.serve.inference.backends.runtime import Network, Precision
else:
    from fpan_runtime import Network, Precision  # the same file, laid beside this one: this process knows no PYTHONPATH

_FAILED = "the network failed"
_report = sys.unraisablehook


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Leaves out what numpy 2 says of every tensor that this backend takes, which renames DLPack's capsules oddly."""
    if "PyCapsule_GetPointer" not in str(unraisable.exc_value):
        _report(unraisable)


sys.unraisablehook = _unraisable


class TritonPythonModel:
    """One instance of one version of a model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compiles the network, and the outputs that are usually asked for.

        Args:
            args: what Triton says of the model; the parameters of ``config.pbtxt`` choose runtime and threads.
        """
        config = pb_utils.json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        path = Path(args["model_repository"], args["model_version"], parameters["model_file"])
        precision: Precision = "bf16" if args["model_version"] in parameters["bf16_versions"].split(",") else "fp32"
        self._network = Network(path, parameters["runtime"], int(parameters["threads"]), precision=precision)
        self._inputs = [entry["name"] for entry in config["input"]]
        on_demand = {name for name in parameters["on_demand"].split(",") if name}
        everything = {entry["name"] for entry in config["output"]}
        for sides in pb_utils.json.loads(parameters[f"shapes_{args['model_version']}"]):
            shapes = {name: tuple(shape) for name, shape in sides.items()}
            self._network.prepare(everything - on_demand, shapes)
            self._network.prepare(everything, shapes)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Computes each request that Triton hands over, each output only if it wants it.

        Returns:
            One response a request, in order.
        """
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        inputs = {name: _array(request, name) for name in self._inputs}
        try:
            if request.is_cancelled():
                return _refusal("cancelled", pb_utils.TritonError.CANCELLED)
            outputs = self._network.run(inputs, request.requested_output_names())
        except Exception as error:  # whatever a runtime raises must become an answer; the details stay in the log
            pb_utils.Logger.log_error(f"{_FAILED}: {error!r}")
            return _refusal(_FAILED)
        finally:
            for array in inputs.values():  # nothing of a picture is left in memory that this process shares
                ctypes.memset(array.ctypes.data, 0, array.nbytes)
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(name, outputs[name]) for name in outputs])


def _refusal(*why: Any) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(*why))


def _array(request: Any, name: str) -> "np.ndarray[Any, Any]":
    """An input, in the memory that it came in."""
    return np.asarray(np.from_dlpack(pb_utils.get_input_tensor_by_name(request, name)))
