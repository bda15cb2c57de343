"""Runs an ONNX file with ONNX Runtime or OpenVINO: the one way both the embedded Triton and the gateway compute.

Neither runtime leaves out of a graph what only unwanted outputs need, so each set of outputs that is asked for gets
the part of the graph that it needs, compiled once and kept. Imports nothing of the gateway but this file: Triton's
Python process loads it too.
"""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

RuntimeName = Literal["onnxruntime", "openvino"]
Arrays = dict[str, NDArray[np.generic]]


class _Part(Protocol):
    """The part of a network that some outputs need. Thread-safe."""

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """All of its outputs, in arrays that nobody else writes to."""


class Network:
    """A network that computes just the outputs that are asked for. Thread-safe."""

    def __init__(self, path: Path, runtime: RuntimeName, threads: int, streams: int = 1) -> None:
        """Reads the file.

        Args:
            path: the ONNX file.
            runtime: what computes it.
            threads: threads of one run.
            streams: runs that go on at once.

        Raises:
            Exception: whatever the runtime says of a file that it cannot read.
        """
        self._graph = _GRAPHS[runtime](path, threads, streams)
        self._parts: dict[frozenset[str], _Part] = {}
        self._lock = threading.Lock()

    def prepare(self, outputs: Iterable[str]) -> None:
        """Compiles the part that computes these outputs, so that their first run is as fast as the others."""
        self._part(frozenset(outputs))

    def run(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Iterable[str]) -> Arrays:
        """Computes the named outputs of a batch, as fresh, writable, C-contiguous arrays.

        Raises:
            KeyError: there is no output of that name.
            Exception: whatever the runtime says of inputs that do not fit.
        """
        arrays = self._part(frozenset(outputs)).run(inputs)
        batch = len(next(iter(inputs.values())))
        for name, array in arrays.items():
            if array.shape[:1] != (batch,):  # OpenVINO with one thread says nothing of a failure and gives empty arrays
                raise RuntimeError(f"{name} has the shape {array.shape} after a batch of {batch}")
        return arrays

    def _part(self, outputs: frozenset[str]) -> _Part:
        with self._lock:
            if outputs not in self._parts:
                if unknown := outputs - set(self._graph.outputs):
                    raise KeyError(f"the network has no output {', '.join(sorted(unknown))}")
                self._parts[outputs] = self._graph.part([name for name in self._graph.outputs if name in outputs])
            return self._parts[outputs]


class _Graph(Protocol):
    """A whole network as it was read."""

    outputs: list[str]

    def part(self, outputs: list[str]) -> _Part:
        """Compiles what these outputs need."""


class _OnnxRuntimePart:
    def __init__(self, model: bytes, options: Any) -> None:
        import onnxruntime as ort

        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        arrays = self._session.run(self._outputs, dict(inputs))
        return dict(zip(self._outputs, arrays, strict=True))


class _OnnxRuntimeGraph:
    """ONNX Runtime; one session serves any number of streams."""

    def __init__(self, path: Path, threads: int, streams: int) -> None:
        import onnx
        import onnxruntime as ort

        del streams  # concurrent runs share the session's threads
        self._model = onnx.load(str(path))
        self.outputs = [output.name for output in self._model.graph.output]
        self._options = ort.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        # Threads that spin between two runs would take the cores from the gateway, which shares them.
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def part(self, outputs: list[str]) -> _Part:
        from onnx.utils import Extractor

        inputs = [tensor.name for tensor in self._model.graph.input]
        part = Extractor(self._model).extract_model(inputs, outputs)
        return _OnnxRuntimePart(part.SerializeToString(), self._options)


class _OpenVinoPart:
    def __init__(self, compiled: Any, outputs: list[str]) -> None:
        self._compiled = compiled
        self._outputs = outputs
        self._idle: SimpleQueue[Any] = SimpleQueue()  # an infer request serves one run at a time

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            # share_outputs=False copies: the request's own memory is written again by its next run.
            results = request.infer(dict(inputs), share_inputs=True, share_outputs=False)
            return {name: results[name] for name in self._outputs}
        finally:
            self._idle.put(request)


class _OpenVinoGraph:
    """OpenVINO on the CPU in float32: its default on some CPUs is bfloat16, which changes label maps."""

    def __init__(self, path: Path, threads: int, streams: int) -> None:
        import openvino as ov

        self._core = ov.Core()
        self._model = self._core.read_model(path)
        self.outputs = [output.any_name for output in self._model.outputs]
        self._config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads * streams,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # the cores are shared with the gateway
        }

    def part(self, outputs: list[str]) -> _Part:
        import openvino as ov

        ports = [self._model.output(name) for name in outputs]
        part = ov.Model(ports, self._model.get_parameters(), self._model.get_friendly_name())
        return _OpenVinoPart(self._core.compile_model(part, "CPU", self._config), outputs)


_GRAPHS: dict[RuntimeName, type[_OnnxRuntimeGraph] | type[_OpenVinoGraph]] = {
    "onnxruntime": _OnnxRuntimeGraph,
    "openvino": _OpenVinoGraph,
}


def version_of(runtime: RuntimeName) -> str:
    """The runtime's name and version, for people."""
    from importlib.metadata import version

    return {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}[runtime] + " " + version(runtime)
