"""NVIDIA's own programs, as its images carry them: ``trtexec`` builds and runs plans, ``nvidia-smi`` names the GPU.

``trtexec`` and not the Python module ``tensorrt``: it lies in the TensorRT image and beside the server's own libraries,
needs no bindings of CUDA for the memory of the GPU, and its options used here are the same in TensorRT 10 and 11.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpan.contract.card import Tensor
from fpan.tensorrt.manifest import BatchProfile, Target


class EngineError(Exception):
    """No plan was made; ``str()`` says why and what to do. One that was there before is as it was."""


class NoTool(EngineError):
    """A program of NVIDIA's is not on this machine."""


_PROGRAM = "trtexec"
_IN_IMAGE = Path("/usr/src/tensorrt/bin/trtexec")
"""Where NVIDIA's packages put it, off the PATH."""
_BANNER = re.compile(r"\[TensorRT v(\d\d)(\d\d)(\d\d)\](?: \[b(\d+)\])?")
"""First line of whatever it says, e.g. ``&&&& RUNNING TensorRT.trtexec [TensorRT v101602] [b10]`` of 10.16.2.10."""
_THROUGHPUT = re.compile(r"Throughput: ([\d.]+) qps")
_LATENCY = re.compile(r"\] Latency: .*?median = ([\d.]+) ms.*?percentile\(99%\) = ([\d.]+) ms")
"""Lines of its summary of a run; there is one of each."""
_MEASURED_S = 5
"""Seconds for which it measures a batch, behind its warm-up."""
_BUILD_TIMEOUT_S = 3600.0
_RUN_TIMEOUT_S = 300.0
_ASK_TIMEOUT_S = 60.0
_LAST_LINES = 15
"""Lines of a program's output that are shown when it fails."""
_DTYPES = {"UINT8": np.uint8, "FP32": np.float32}


@dataclass(frozen=True)
class Gpu:
    """A GPU."""

    name: str
    compute_capability: str
    driver: str


def gpu() -> Gpu:
    """The GPU of this machine, or any of several of one type.

    Raises:
        NoTool: there is no ``nvidia-smi``, hence no GPU.
        EngineError: it fails, or there are GPUs of several types.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        raise NoTool("there is no nvidia-smi here, so no GPU: start NVIDIA's image with --gpus")
    query = [program, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    found = sorted({line.strip() for line in _output(query, _ASK_TIMEOUT_S).splitlines() if line.strip()})
    if len(found) != 1:
        listed = "; ".join(found) or "none"
        raise EngineError(f"one type of GPU is needed, and here is {listed}: start the image with --gpus device=0")
    fields = [field.strip() for field in found[0].split(",")]
    if len(fields) != 3:
        raise EngineError(f"nvidia-smi says {found[0]!r}, which is no name, compute capability and driver")
    return Gpu(*fields)


def target_at_hand() -> Target | None:
    """The TensorRT and the GPU of this machine; None where it has not both."""
    try:
        return Target(tensorrt=Trtexec.find().version(), gpu=gpu().name)
    except NoTool:
        return None


@dataclass(frozen=True)
class Trtexec:
    """The program that builds and runs plans."""

    program: Path

    @classmethod
    def find(cls) -> "Trtexec":
        """The one of this machine.

        Raises:
            NoTool: there is none.
        """
        found = shutil.which(_PROGRAM) or (_IN_IMAGE if _IN_IMAGE.is_file() else None)
        if found is None:
            raise NoTool(f"there is no {_PROGRAM}, neither on the PATH nor at {_IN_IMAGE}: run this in NVIDIA's image")
        return cls(Path(found))

    def version(self) -> str:
        """The version of its TensorRT, e.g. ``10.16.2.10``.

        Raises:
            EngineError: it does not tell.
        """
        found = _BANNER.search(_output([str(self.program), "--help"], _ASK_TIMEOUT_S))
        if found is None:
            raise EngineError(f"{self.program} does not tell a version of TensorRT, or one older than 10")
        *numbers, build = found.groups()
        version = ".".join(str(int(number)) for number in numbers)
        return version if build is None else f"{version}.{build}"

    def build(self, network: Path, plan: Path, inputs: Sequence[Tensor], profile: BatchProfile) -> None:
        """Builds a plan of a strongly typed network.

        Args:
            network: the ONNX file.
            plan: the file to write.
            inputs: of the network, without the batch.
            profile: batches it is to take.

        Raises:
            EngineError: it fails; its last lines are told.
        """
        _output(
            [
                str(self.program),
                f"--onnx={network}",
                f"--saveEngine={plan}",
                "--stronglyTyped",  # the default since TensorRT 11, which takes the word still
                f"--minShapes={_shapes(inputs, profile.min)}",
                f"--optShapes={_shapes(inputs, profile.opt)}",
                f"--maxShapes={_shapes(inputs, profile.max)}",
                "--skipInference",
            ],
            _BUILD_TIMEOUT_S,
        )
        if not plan.is_file():
            raise EngineError(f"{self.program} ended well but wrote no plan")

    def run(
        self,
        plan: Path,
        images: Mapping[str, NDArray[np.generic]],
        inputs: Sequence[Tensor],
        output: Tensor,
        room: Path,
    ) -> NDArray[np.generic]:
        """Runs a plan once.

        Args:
            plan: the plan.
            images: input -> a batch.
            inputs: of the network, without the batch.
            output: the one that is wanted.
            room: a folder for what goes in and comes out; in memory, where pictures are not to touch a disk.

        Returns:
            The output of the batch.

        Raises:
            EngineError: it fails, or gives no such output.
        """
        batch = len(next(iter(images.values())))
        for name, array in images.items():
            (room / f"{name}.bin").write_bytes(np.ascontiguousarray(array).tobytes())
        _output(
            [
                str(self.program),
                f"--loadEngine={plan}",
                f"--shapes={_shapes(inputs, batch)}",
                "--loadInputs=" + ",".join(f"{name}:{name}.bin" for name in images),
                *("--warmUp=0", "--duration=0", "--iterations=1"),
                "--dumpRawBindingsToFile",
            ],
            _RUN_TIMEOUT_S,
            room,
        )
        # <name>.output.<dimensions joined by dots>.<type>.raw, in the folder that it runs in
        written = list(room.glob(f"{output.name}.output.*.raw"))
        shape, dtype = (batch, *output.shape), np.dtype(_DTYPES[output.dtype])
        if len(written) != 1 or written[0].stat().st_size != np.prod(shape) * dtype.itemsize:
            raise EngineError(f"{self.program} gave no output {output.name} of {output.dtype} {shape}")
        return np.fromfile(written[0], dtype).reshape(shape)

    def measure(self, plan: Path, inputs: Sequence[Tensor], batch: int) -> "Speed":
        """How fast a plan is with batches of noise, as trtexec measures it for some seconds.

        Args:
            plan: the plan.
            inputs: of the network, without the batch.
            batch: pictures in a batch.

        Raises:
            EngineError: it fails, or does not tell.
        """
        said = _output(
            [
                str(self.program),
                f"--loadEngine={plan}",
                f"--shapes={_shapes(inputs, batch)}",
                f"--duration={_MEASURED_S}",
                "--useSpinWait",
            ],
            _RUN_TIMEOUT_S,
        )
        rate, latency = _THROUGHPUT.search(said), _LATENCY.search(said)
        if rate is None or latency is None:
            raise EngineError(f"{self.program} does not tell how fast {plan} is")
        return Speed(batch, float(latency[1]), float(latency[2]), batch * float(rate[1]))


@dataclass(frozen=True)
class Speed:
    """How fast a plan is with batches of one size."""

    batch: int
    median_ms: float
    """Of a batch, copies to and from the GPU included."""
    p99_ms: float
    pictures_per_s: float

    @property
    def told(self) -> str:
        """In a few words."""
        return (
            f"batch of {self.batch}: median {self.median_ms:.2f} ms, 99 % within {self.p99_ms:.2f} ms, "
            f"{self.pictures_per_s:.0f} pictures/s"
        )


def _shapes(inputs: Sequence[Tensor], batch: int) -> str:
    """E.g. ``images:8x256x256x3``."""
    return ",".join(f"{each.name}:{'x'.join(map(str, (batch, *each.shape)))}" for each in inputs)


def _output(command: list[str], timeout_s: float, folder: Path | None = None) -> str:
    """What a program says, on either stream.

    Raises:
        EngineError: it cannot be run, takes too long, or fails; its last lines are told.
    """
    # As nvidia-smi counts GPUs, so that both mean the same one.
    environment = {**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    try:
        run = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )
    except OSError as error:
        raise EngineError(f"{command[0]} cannot be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{command[0]} did not end within {timeout_s:g} s") from error
    text = run.stdout.decode(errors="replace")
    if run.returncode:
        last = "\n".join(text.splitlines()[-_LAST_LINES:])
        raise EngineError(f"{' '.join(command)} ended with status {run.returncode}:\n{last}")
    return text
