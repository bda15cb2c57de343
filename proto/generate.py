"""Makes the Python code of the gRPC contract: ``python proto/generate.py`` (``make proto``).

It writes ``service/fpan/_proto`` anew and takes what was added to the contract into ``proto/baseline.txtpb``. A change
that would break callers who already hold generated code is refused: such a change belongs in a new package
(``faceparsing.v2``).
"""

import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]

HERE = Path(__file__).resolve().parent
GENERATED = HERE.parent / "service" / "fpan" / "_proto"
BASELINE = HERE / "baseline.txtpb"
_DOC = '"""Made by proto/generate.py from the contract in proto/; never edited."""\n'
_PACKAGE = "fpan._proto"


def buf(*args: str | Path) -> None:
    """Runs buf in the contract's folder; CalledProcessError, with what it said as ``output``, when it objects."""
    command = [_buf_path(), *map(str, args)]
    subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _buf_path() -> str:
    beside = Path(sys.executable).with_name("buf")
    found = str(beside) if beside.exists() else shutil.which("buf")
    if found is None:
        raise FileNotFoundError("buf is missing: pip install buf-bin")
    return found


def generate(out: Path) -> None:
    """Writes the generated package to the folder ``out``, which is replaced.

    Raises:
        RuntimeError: the contract does not compile.
    """
    protos = sorted(path.relative_to(HERE).as_posix() for path in HERE.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "package"
        fresh.mkdir()
        well_known = resources.files("grpc_tools") / "_proto"
        kinds = [f"--{kind}_out={fresh}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", f"-I{HERE}", f"-I{well_known}", *kinds, *protos]) != 0:
            raise RuntimeError("the contract does not compile")
        roots = {proto.split("/")[0] for proto in protos}
        for source in [*fresh.rglob("*.py"), *fresh.rglob("*.pyi")]:
            source.write_text(_in_package(source.read_text(), roots))
        for package in [fresh, *(path for path in fresh.rglob("*") if path.is_dir())]:
            (package / "__init__.py").write_text(_DOC)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(fresh, out)


def _in_package(source: str, roots: set[str]) -> str:
    """Imports as protoc writes them follow the paths of proto files; here those lie below a package of their own."""
    for root in roots:
        source = source.replace(f"\nfrom {root}.", f"\nfrom {_PACKAGE}.{root}.")
    return source


def main() -> int:
    """Checks the contract, writes the code, moves the baseline on; 1 when the contract is refused, else 0."""
    try:
        buf("lint")
        if BASELINE.exists():
            buf("breaking", "--against", BASELINE)
        generate(GENERATED)
        buf("build", "--exclude-source-info", "-o", BASELINE)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"refused by {' '.join(error.cmd[:2])}:\n{error.output}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
