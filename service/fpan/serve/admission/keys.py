"""API keys, ``fpan_ID_SECRET``: making, hashing, the file of their hashes, and checking."""

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fpan.serve.admission.watched_files import Contents, WatchedFiles
from fpan.serve.api.errors import StartError, Unauthenticated

if TYPE_CHECKING:  # `fpan keys` and with it all of `fpan` run where the server's packages are not installed
    from fpan.serve.admission.settings import AdmissionSettings
    from fpan.serve.telemetry.metrics import FileCounts

PREFIX = "fpan"
_ID_BYTES = 6
_SECRET_BYTES = 32
_KEY = re.compile(rf"{PREFIX}_([0-9a-z]{{1,32}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}")


def new_key() -> tuple[str, str]:
    """Makes a key with 256 random bits; returns its id and the key."""
    identity = secrets.token_hex(_ID_BYTES)
    return identity, f"{PREFIX}_{identity}_{secrets.token_hex(_SECRET_BYTES)}"


def id_of(key: str) -> str | None:
    """Returns the id in a key, or None if the text is not a key."""
    match = _KEY.fullmatch(key)
    return match and match[1]


def hash_of(key: str) -> str:
    """SHA-256 of the whole key, as hexadecimal digits.

    Slow hashes (argon2, bcrypt) and salts are for passwords, which can be guessed. 256 random bits cannot, so one fast
    hash is as good, and can be computed for every request. The id is hashed with the secret, so that a hash moved to
    another entry of the file is of no use.
    """
    return hashlib.sha256(key.encode("ascii")).hexdigest()


Scope = Literal["parse", "jobs", "inference", "metrics"]
"""What a key allows. Every key allows reading labels and models."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
MAX_NAME = 100
_MODE = 0o600

Positive = Annotated[int, Field(gt=0)]


class KeyFileError(ValueError):
    """The file of keys cannot be used. The message says why, and contains none of the file's contents."""


class KeyEntry(BaseModel):
    """What is stored about one key."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-z]{1,32}$")]
    """The public part of the key."""
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
    """For people: owner and purpose."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hash of the whole key, see :func:`fpan.serve.admission.keys.hash_of`."""
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    """What the key allows."""
    requests_per_minute: Positive | None = None
    """Quota in requests per minute; None uses the server's setting."""
    concurrent: Positive | None = None
    """Largest number of its requests at the same time; None applies only the server's limit for all callers."""
    created: AwareDatetime
    """When the key was made."""
    expires: AwareDatetime | None = None
    """When the key expires; None: never."""
    revoked: AwareDatetime | None = None
    """When the key was revoked; None: it was not."""


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
            KeyFileError: they are not a valid file of keys.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise KeyFileError(f"{where}: {first['msg']}") from None

    def dump(self) -> bytes:
        """Returns the bytes of the file; equal keys give equal bytes."""
        told = self.model_dump(mode="json", exclude_none=True)
        for key in told["keys"]:
            key["scopes"] = sorted(key["scopes"])
        return json.dumps(told, indent=1, ensure_ascii=False).encode() + b"\n"


def load(path: Path) -> KeyFile:
    """Reads a file of keys. A missing file counts as one without keys.

    Raises:
        KeyFileError: the file cannot be read, or is not a valid file of keys.
    """
    try:
        return KeyFile.parse(path.read_bytes())
    except FileNotFoundError:
        return KeyFile()
    except OSError as error:
        raise KeyFileError(f"the keys cannot be read: {error.strerror or error}") from error


@contextmanager
def edited(path: Path) -> Iterator[list[KeyEntry]]:
    """A block that may change the list of keys in place. It is written atomically when the block ends without an error.

    The file is locked: a second command waits.

    Raises:
        KeyFileError: the file cannot be read or written, or is not a valid file of keys.
    """
    import fcntl  # imported here, because Windows has no fcntl and needs the rest of this module

    path = path.resolve()  # replaces the file that a link points to, not the link
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileError(f"the keys cannot be written: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # locks the folder, because the file itself is replaced
        entries = list(load(path).keys)
        yield entries
        _write(path, KeyFile(keys=tuple(entries)).dump(), lock)
    except OSError as error:
        raise KeyFileError(f"the keys cannot be written: {error.strerror or error}") from error
    finally:
        os.close(lock)


def _write(path: Path, data: bytes, folder: int) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)  # left by a command that was killed
    number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(number, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    os.fsync(folder)


_NOBODYS = secrets.token_hex(32)
"""Compared with if the id is unknown, so that the check takes as long as for a known id."""
HOW = "send it as `Authorization: Bearer KEY` or as `X-API-Key`"


class KeyRing:
    """Checks keys by their hashes; :meth:`replace` exchanges all of them at once."""

    def __init__(self, keys: KeyFile, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self.replace(keys)

    def replace(self, keys: KeyFile) -> None:
        """Uses these keys from now on."""
        self._by_id = {key.id: key for key in keys.keys}

    @property
    def usable(self) -> int:
        """Number of keys that are neither revoked nor expired."""
        now = self._clock()
        return sum(not key.revoked and not _over(key, now) for key in self._by_id.values())

    def owner(self, presented: str | None) -> KeyEntry:
        """Returns the entry of the key that a request carries.

        Raises:
            Unauthenticated: the key is missing, unknown, revoked or expired.
        """
        if presented is None:
            raise Unauthenticated(
                f"this server wants an API key: {HOW}; whoever runs it makes one with `fpan keys add`"
            )
        name = id_of(presented)
        entry = self._by_id.get(name or "")
        digest = hash_of(presented) if name else ""
        if not hmac.compare_digest(digest, entry.sha256 if entry else _NOBODYS) or entry is None:
            raise Unauthenticated(f"the API key is none of this server's: {HOW}, whole and unchanged")
        # Only a caller with the whole key learns that it was revoked or has expired.
        if entry.revoked:
            raise Unauthenticated(
                f"the API key {entry.id} was revoked on {entry.revoked:%Y-%m-%d}: ask for another one"
            )
        if _over(entry, self._clock()):
            raise Unauthenticated(f"the API key {entry.id} expired on {entry.expires:%Y-%m-%d}: ask for another one")
        return entry


def _over(key: KeyEntry, now: datetime) -> bool:
    return key.expires is not None and now >= key.expires


_WHAT = "keys"
_MAKE = "`fpan keys add NAME --file {file}` makes one"
_OR = "AUTH=off serves everybody without"


def open_keys(
    settings: "AdmissionSettings", bind_address: str, counts: "FileCounts"
) -> tuple[KeyRing | None, tuple[WatchedFiles, ...]]:
    """Opens the file of keys and watches it; returns ``(None, ())`` if no keys are needed.

    Args:
        settings: whether keys are needed, and their file.
        bind_address: address that the ports listen on.
        counts: metrics of reading the file.

    Raises:
        StartError: keys are needed, but there are none, or their file cannot be used.
    """
    if not settings.needs_keys_at(bind_address):
        return None, ()
    if settings.keys_file is None:
        named = "AUTH=required" if settings.auth == "required" else ""
        why = named or f"BIND_ADDRESS={bind_address}, which others can reach,"
        raise StartError(
            f"{why} wants API keys, and KEYS_FILE names no file of them: {_MAKE.format(file='keys.json')}, then set "
            f"KEYS_FILE=keys.json; {_OR}"
        )
    ring = KeyRing(KeyFile())

    def use(contents: Contents) -> None:
        ring.replace(KeyFile.parse(contents[0]))

    try:
        followed = WatchedFiles(
            "keys file", [settings.keys_file], use, settings.files_poll_s, lambda good: counts.used(_WHAT, good)
        )
    except OSError as error:
        make = _MAKE.format(file=settings.keys_file)
        raise StartError(f"KEYS_FILE={settings.keys_file}: {error.strerror or error}: {make}; {_OR}") from error
    except ValueError as error:
        raise StartError(f"KEYS_FILE={settings.keys_file} is no file of keys: {error}") from error
    counts.keys.set_function(lambda: ring.usable)  # computed when the metric is read, because keys expire
    if not ring.usable:
        make = _MAKE.format(file=settings.keys_file)
        raise StartError(
            f"KEYS_FILE={settings.keys_file} has no key that is neither revoked nor expired: {make}; {_OR}"
        )
    return ring, (followed,)
