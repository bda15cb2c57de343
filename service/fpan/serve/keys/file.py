"""The file of API keys: JSON that holds their hashes and never a key. docs/security.md describes it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

Scope = Literal["parse", "jobs", "inference", "metrics"]
"""What a key may do beside reading labels and models, which every key may."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
MAX_NAME = 100
_MODE = 0o600

Positive = Annotated[int, Field(gt=0)]


class KeyFileError(ValueError):
    """The file of keys is of no use; the message says why, and holds nothing of what is in it."""


class KeyEntry(BaseModel):
    """One key, as far as it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-z]{1,32}$")]
    """The part of the key that names it; no secret."""
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
    """For people: whose it is, what for."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hash of the whole key, see :func:`fpan.serve.keys.secret.hash_of`."""
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    """What it may do."""
    requests_per_minute: Positive | None = None
    """Requests that it may send in a minute; None leaves it at the server's setting."""
    concurrent: Positive | None = None
    """Requests of it that may be under way at once; None leaves it at the server's limit for everybody."""
    created: AwareDatetime
    """When it was made."""
    expires: AwareDatetime | None = None
    """From when on it is refused; None: never."""
    revoked: AwareDatetime | None = None
    """Since when it is refused; None: it is not."""


class KeyFile(BaseModel):
    """All keys of a server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    keys: tuple[KeyEntry, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> "KeyFile":
        ids = [key.id for key in self.keys]
        if twice := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"the id {twice[0]} is there twice")
        return self

    @classmethod
    def parse(cls, data: bytes) -> "KeyFile":
        """Reads a file's bytes.

        Raises:
            KeyFileError: they are no such file.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise KeyFileError(f"{where}: {first['msg']}") from None

    def dump(self) -> bytes:
        """The bytes of the file, the same for the same keys."""
        told = self.model_dump(mode="json", exclude_none=True)
        for key in told["keys"]:
            key["scopes"] = sorted(key["scopes"])
        return json.dumps(told, indent=1, ensure_ascii=False).encode() + b"\n"


def load(path: Path) -> KeyFile:
    """Reads a file of keys; one that is not there has none.

    Raises:
        KeyFileError: it cannot be read, or is no such file.
    """
    try:
        return KeyFile.parse(path.read_bytes())
    except FileNotFoundError:
        return KeyFile()
    except OSError as error:
        raise KeyFileError(f"the keys cannot be read: {error.strerror or error}") from error


@contextmanager
def edited(path: Path) -> Iterator[list[KeyEntry]]:
    """The keys of a file, to be changed in place; they are written, whole or not at all, when the block ends well.

    One command at a time: a second one waits.

    Raises:
        KeyFileError: it cannot be read or written, or is no such file.
    """
    import fcntl  # here, so that the rest of this works where there is none

    path = path.resolve()  # the file that a link means is written anew, not the link
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileError(f"the keys cannot be written: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the folder: the file itself is another one afterwards
        entries = list(load(path).keys)
        yield entries
        _write(path, KeyFile(keys=tuple(entries)).dump(), lock)
    except OSError as error:
        raise KeyFileError(f"the keys cannot be written: {error.strerror or error}") from error
    finally:
        os.close(lock)


def _write(path: Path, data: bytes, folder: int) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)  # of a command that was killed
    number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(number, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    os.fsync(folder)
