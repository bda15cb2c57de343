"""`docs/results/fuzz.md`, as the full run writes it."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version

from benchmarks.load.report import Table
from tests.fuzz.tally import MIB, Run
from tests.support.service import ROOT

PAGE = ROOT / "docs" / "results" / "fuzz.md"
COMMAND = "python -m pytest --full tests/fuzz"
_LIBRARIES = ("schemathesis", "hypothesis", "pillow", "pi-heif", "grpcio", "uvicorn", "protobuf")

_ABOUT = """
# Broken input

Made by `{command}` (it is a part of `make verify`) on {day}, in {minutes} minutes, on {machine};
{libraries}.

The service is the real one, a process of its own, with the shipped detector and a small segmentation network in
process, with jobs and the cache in a real Redis. Its limits are low, so that inputs can pass them.

{table}

A number is an HTTP status, a word a code of gRPC; for pictures that are decoded without the service, and for options,
it is the status that their error has. `closed` and `reset` are connections that ended without an answer, because what
came on them was no request. A 503 or 504 is counted where the input had a deadline of its own.

What is looked at, for each input:

- The answer comes in time.
- It is no 500 or 502, nor, without a deadline of its own, a 503 or 504; over gRPC not `INTERNAL`, `UNKNOWN`,
  `UNAVAILABLE` or `DATA_LOSS`.
- An error is told as one: a problem (RFC 9457), or as the Open Inference Protocol has it.
- Requests along the OpenAPI document are answered with a status, a type and a form that it tells.
- A broken picture gets the same verdict decoded alone, over HTTP and over gRPC.

Afterwards the service is ready, gives the same answer to the same picture as before, and has logged nothing of
requests.

Its resident memory: {first} MiB at the start, after a round with a third of all inputs; {last} MiB at the end ({grown}
MiB, at most {allowed} are allowed); {most} MiB at most. By a straight line through all looks it changes by {slope} MiB
in 10,000 inputs.

Each input has a number or comes from a seed, so that a run can be repeated: `python -m tests.fuzz.corpus NUMBER` writes
a broken picture.
"""


def text(run: Run, most_growth_mib: float) -> str:
    """The page of one full run."""
    table = Table("inputs", "how many", "a second", "slowest answer, s", "answers")
    for part in run.parts.values():
        rate = part.inputs / part.seconds
        table.row(part.name, f"{part.inputs:,}", f"{rate:.0f}", f"{part.slowest_s:.2f}", part.words())
    table.row("**all**", f"**{run.inputs:,}**", f"{run.inputs / run.seconds:.0f}", "", "")
    first, last = run.samples[0][1] / MIB, run.samples[-1][1] / MIB
    most = max(resident for _, resident in run.samples) / MIB
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    about = _ABOUT.format(
        command=COMMAND,
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        minutes=f"{run.seconds / 60:.0f}",
        machine=machine,
        libraries=libraries,
        table="\n".join(table.lines),
        first=f"{first:.0f}",
        last=f"{last:.0f}",
        grown=f"{run.grown_mib:+.1f}",
        allowed=f"{most_growth_mib:.0f}",
        most=f"{most:.0f}",
        slope=f"{run.slope_mib:+.1f}",
    )
    return about.lstrip("\n")
