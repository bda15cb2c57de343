"""Runs an ONNX file with ONNX Runtime or OpenVINO: the one way both the embedded Triton and the gateway compute.

Neither runtime leaves out of a graph what only unwanted outputs need, and both are faster where every size is known, so
each set of outputs that is asked for gets, for each shape of inputs, the part of the graph that it needs, compiled once
and kept. Imports nothing of the gateway but this file: Triton's Python process loads it too.

A batch is computed item by item, several items at once with a thread each. On a CPU nothing is won by computing them as
one, and threads that share one item wait for each other: two cores are 1.1 to 1.4 times as fast this way
(docs/results/computing.md). An item that is alone gets all the threads.
"""

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

RuntimeName = Literal["onnxruntime", "openvino"]
Precision = Literal["fp32", "int8", "bf16"]
"""As :data:`fpan.contract.card.Precision` has it, which this file cannot import."""
Arrays = dict[str, NDArray[np.generic]]
Shapes = Mapping[str, tuple[int, ...]]
"""Of the inputs, without a batch dimension."""


class _Part(Protocol):
    """The part of a network that some outputs need, for one item. Thread-safe."""

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """All of its outputs, in arrays that nobody else writes to."""


@dataclass(frozen=True)
class _Parts:
    """The same part twice."""

    wide: _Part
    """All threads compute one item."""
    narrow: _Part
    """One thread computes an item."""


class Network:
    """A network that computes just the outputs that are asked for. Thread-safe."""

    def __init__(
        self, path: Path, runtime: RuntimeName, threads: int, streams: int = 1, precision: Precision = "fp32"
    ) -> None:
        """Reads the file.

        Args:
            path: the ONNX file.
            runtime: what computes it.
            threads: threads of one run.
            streams: runs that go on at once.
            precision: ``bf16`` where the processor and the runtime have it; else in fp32, where the graph does not say
                ``int8`` itself.

        Raises:
            Exception: whatever the runtime says of a file that it cannot read.
        """
        self._graph = _GRAPHS[runtime](path, precision)
        self._threads, self._streams = threads, streams
        self._parts: dict[tuple[frozenset[str], frozenset[tuple[str, tuple[int, ...]]]], _Parts] = {}
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(threads * streams, thread_name_prefix="item")

    def prepare(self, outputs: Iterable[str], shapes: Shapes) -> None:
        """Compiles the part that computes these outputs of inputs of these shapes, so that its first run is as fast as
        the others.
        """
        self._part(frozenset(outputs), shapes)

    def run(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Iterable[str]) -> Arrays:
        """Computes the named outputs of a batch, as fresh, writable, C-contiguous arrays.

        Raises:
            KeyError: there is no output of that name.
            Exception: whatever the runtime says of inputs that do not fit.
        """
        parts = self._part(frozenset(outputs), {name: array.shape[1:] for name, array in inputs.items()})
        batch = len(next(iter(inputs.values())))
        items = [{name: array[i : i + 1] for name, array in inputs.items()} for i in range(batch)]
        # The last one, if the others leave it alone, is done sooner by all threads together.
        together = batch if batch % self._threads != 1 else batch - 1
        found = [*self._workers.map(parts.narrow.run, items[:together]), *map(parts.wide.run, items[together:])]
        if batch == 1:
            return found[0]
        return {name: np.concatenate([arrays[name] for arrays in found]) for name in found[0]}

    def _part(self, outputs: frozenset[str], shapes: Shapes) -> _Parts:
        key = outputs, frozenset(shapes.items())
        with self._lock:
            if key not in self._parts:
                if unknown := outputs - set(self._graph.outputs):
                    raise KeyError(f"the network has no output {', '.join(sorted(unknown))}")
                names = [name for name in self._graph.outputs if name in outputs]
                wide = self._graph.part(names, shapes, self._threads, self._streams)
                alone = self._threads == 1
                narrow = wide if alone else self._graph.part(names, shapes, 1, self._threads * self._streams)
                self._parts[key] = _Parts(wide, narrow)
            return self._parts[key]


class _Graph(Protocol):
    """A whole network as it was read."""

    outputs: list[str]

    def part(self, outputs: list[str], shapes: Shapes, threads: int, streams: int) -> _Part:
        """Compiles what these outputs need of inputs of these shapes, for so many runs at once with so many threads
        each.
        """


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

    def __init__(self, path: Path, precision: Precision) -> None:
        import onnx

        del precision  # it has no bfloat16 on processors, and int8 is written into the graph
        self._model = onnx.load(str(path))
        self.outputs = [output.name for output in self._model.graph.output]

    def part(self, outputs: list[str], shapes: Shapes, threads: int, streams: int) -> _Part:
        import onnxruntime as ort
        from onnx.utils import Extractor

        del streams  # concurrent runs share the session's threads, or compute in those of their callers
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin between two runs would take the cores from the gateway, which shares them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        inputs = [tensor.name for tensor in self._model.graph.input]
        part = Extractor(self._model).extract_model(inputs, outputs)
        for tensor in part.graph.input:
            for side, known in zip(tensor.type.tensor_type.shape.dim, (1, *shapes[tensor.name]), strict=True):
                side.dim_value = known
        return _OnnxRuntimePart(part.SerializeToString(), options)


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
            # Not infer(): with one thread that says nothing of a failure.
            request.start_async(dict(inputs), share_inputs=True)
            request.wait()
            # Copies: the request's own memory is written again by its next run.
            return {name: request.get_tensor(name).data.copy() for name in self._outputs}
        finally:
            self._idle.put(request)


class _OpenVinoGraph:
    """OpenVINO on the CPU, in float32 unless bfloat16 is asked for: that is some CPUs' default, and changes maps."""

    def __init__(self, path: Path, precision: Precision) -> None:
        import openvino as ov

        # Two threads that are the first to ask for a type wait for each other for ever, with the interpreter's lock.
        ov.Type.u8.to_dtype()
        self._hint = "bf16" if precision == "bf16" else "f32"
        self._core = ov.Core()
        self._model = self._core.read_model(path)
        self.outputs = [output.any_name for output in self._model.outputs]

    def part(self, outputs: list[str], shapes: Shapes, threads: int, streams: int) -> _Part:
        import openvino as ov

        config = {
            "INFERENCE_PRECISION_HINT": self._hint,
            "INFERENCE_NUM_THREADS": threads * streams,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # the cores are shared with the gateway
        }
        ports = [self._model.output(name) for name in outputs]
        part = ov.Model(ports, self._model.get_parameters(), self._model.get_friendly_name()).clone()
        # A batch of any size costs a tenth to a fifth of the speed of one item.
        part.reshape({port: [1, *shapes[port.any_name]] for port in part.inputs})
        return _OpenVinoPart(self._core.compile_model(part, "CPU", config), outputs)


_GRAPHS: dict[RuntimeName, type[_OnnxRuntimeGraph] | type[_OpenVinoGraph]] = {
    "onnxruntime": _OnnxRuntimeGraph,
    "openvino": _OpenVinoGraph,
}


def version_of(runtime: RuntimeName) -> str:
    """The runtime's name and version, for people."""
    from importlib.metadata import version

    return {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}[runtime] + " " + version(runtime)
