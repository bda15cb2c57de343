"""Where the embedded server comes from: the ``tritonserver`` in the wheel ``nvidia-pytriton``, and what it needs here.

The wheel's own Python API is not used, nor imported: it would pull in requirements of its own.
"""

import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

_WHEEL = "nvidia-pytriton"
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_STUB = "triton_python_backend_stub"
_CANNOT_LOAD = 127
"""Exit status of a program whose shared libraries are missing or too old."""
_STUB_TIMEOUT_S = 10
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - POSIX shared memory, not a temporary file
"""Where the server's Python backend makes its shared memory."""


def supported() -> str | None:
    """Why the embedded server cannot run here, in one sentence; None if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"it is built for Linux on x86-64, and this is {platform.system()} on {platform.machine()}."
    try:
        wheel = distribution(_WHEEL)
    except PackageNotFoundError:
        return f"the package {_WHEEL} is not installed."
    return _c_library(wheel) or _python() or _memory()


def _c_library(wheel: Distribution) -> str | None:
    library, have = platform.libc_ver()
    if library != "glibc":
        return "it needs the GNU C library, and this system has another one."
    found = re.search(r"manylinux_(\d+)_(\d+)_x86_64", wheel.read_text("WHEEL") or "")
    need = (int(found[1]), int(found[2])) if found else (0, 0)
    if tuple(map(int, have.split(".")[:2])) < need:
        return f"it needs glibc {need[0]}.{need[1]} or newer, and this system has {have}."
    return None


def _python() -> str | None:
    """Whether the stub of this Python can be loaded; without arguments it ends at once."""
    installation = Installation.find()
    if not installation.stub.is_file():
        return f"its Python backend has no part for Python {_PYTHON}."
    try:
        run = subprocess.run(
            [installation.stub],
            env=installation.environment(Path.home()),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_STUB_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"its Python backend cannot be run: {error}."
    if run.returncode == _CANNOT_LOAD:
        reason = run.stderr.decode(errors="replace").strip().partition("libraries: ")[2]
        return f"its Python backend cannot be loaded: {reason}."
    return None


def _memory() -> str | None:
    return None if SHARED_MEMORY.is_dir() else f"there is no shared memory at {SHARED_MEMORY}."


@dataclass(frozen=True)
class Installation:
    """The wheel's files."""

    site: Path
    """Folder of the installed packages."""

    @classmethod
    def find(cls) -> "Installation":
        """The installed wheel; :func:`supported` tells whether there is one."""
        return cls(Path(str(distribution(_WHEEL).locate_file(""))))

    @property
    def root(self) -> Path:
        """Folder of the server."""
        return self.site / "pytriton" / "tritonserver"

    @property
    def program(self) -> Path:
        """The server's binary."""
        return self.root / "bin" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The Python backend's process for the Python that runs now."""
        return self.root / "python_backend_stubs" / _PYTHON / _STUB

    def assemble(self, home: Path) -> None:
        """Lays out ``backends`` and ``caches`` as the server wants them."""
        backend = home / "backends" / "python"
        backend.mkdir(parents=True, exist_ok=True)
        for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
            shutil.copyfile(self.root / "backends" / "python" / name, backend / name)
        shutil.copyfile(self.stub, backend / _STUB)
        (backend / _STUB).chmod(0o755)
        shutil.copytree(self.root / "caches" / "local", home / "caches" / "local", dirs_exist_ok=True)

    def environment(self, home: Path) -> dict[str, str]:
        """The server's whole environment. Nothing of the gateway's own gets in: it may hold secrets."""
        libraries = [self.site / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR") or "/usr/lib"]
        return {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "CUDA_VISIBLE_DEVICES": "",
        }
