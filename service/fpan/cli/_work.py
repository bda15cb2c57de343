"""Parses photos, several at once, and writes their answers."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from fpan.cli._annotations import Annotations
from fpan.cli._photos import Photo
from fpan.client import Client, Drawing, FpanError, Options, Output

Kind = Literal["labels", "overlay", "json", "cutout", "redact", "alpha", "npz"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHOWING: tuple[Kind, ...] = ("overlay", "cutout")
"""Those that show the faces which ``redact`` covers: no answer has both."""
_DRAWN: dict[Kind, Drawing] = {"labels": "png", "overlay": "overlay", "cutout": "cutout", "redact": "redact"}
"""What the server calls the pictures."""


@dataclass(frozen=True)
class Outcome:
    """What became of a photo."""

    photo: Photo
    faces: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Work:
    """What is to be done with each photo."""

    client: Client
    out: Path
    kinds: Sequence[Kind]
    options: Options
    annotations: Annotations | None = None
    """What is written for labelling tools."""

    def do(self, photo: Photo) -> Outcome:
        """Parses one photo and writes its answers; what goes wrong with it is in the outcome."""
        try:
            return Outcome(photo, self._do(photo))
        except FpanError as error:
            named = getattr(error, "request_id", None)
            return Outcome(photo, error=f"{error} (request {named})" if named else str(error))
        except OSError as error:
            return Outcome(photo, error=error.strerror or str(error))

    def _do(self, photo: Photo) -> int:
        drawings = {kind: _DRAWN[kind] for kind in self.kinds if kind in _DRAWN}
        output: list[Output] = [*drawings.values()]
        if "npz" in self.kinds:
            output.append("npz")
        result = self.client.parse(photo.path, output=output, **self.options)
        for kind, drawing in drawings.items():
            write_whole(self.out / f"{photo.stem}.{kind}.png", result.pictures[drawing])
        if result.npz is not None:
            write_whole(self.out / f"{photo.stem}.npz", result.npz)
        if "alpha" in self.kinds:  # one mask of all kept classes, which the server draws by itself only
            options = Options(**{**self.options, "redact": None})
            write_whole(self.out / f"{photo.stem}.alpha.png", self.client.draw(photo.path, "alpha", **options))
        if "json" in self.kinds:
            files = (*drawings.values(), "npz")
            words = {name: value for name, value in result.raw.items() if name not in files}
            if "redact" in self.kinds:
                words["redact"] = {"faces": result.raw["redact"]["faces"]}
            write_whole(self.out / f"{photo.stem}.json", json.dumps(words, indent=1).encode())
        if self.annotations is not None:
            for path, data in self.annotations.add(result.labels, photo.path, photo.stem, self.out):
                write_whole(path, data)
        return len(result.faces)


def write_whole(path: Path, data: bytes) -> None:
    """All or nothing: a command that is interrupted leaves no half picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def run(photos: Sequence[Photo], jobs: int, do: Callable[[Photo], Outcome]) -> Iterator[Outcome]:
    """Outcomes as they come, ``jobs`` photos under way at once. Leaving early drops what has not begun."""
    waiting = iter(photos)
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="fpan-parse")
    try:
        running: set[Future[Outcome]] = {pool.submit(do, photo) for photo in islice(waiting, jobs)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(do, photo) for photo in islice(waiting, len(done))}
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
