"""A model repository in an object store that speaks S3.

::

    <prefix>/<model>/<version>/model.onnx, ..., card.json   the card is put last: with it the version is there
                     aliases.json                           replaced only by one who has seen the one that is there
                     history/00000001.json, ...             one object a move

An object store has no locks, but conditions: If-None-Match puts an object only where there is none, If-Match replaces
the very object that was read. Whoever loses a race is told, and nothing is lost. The addresses and keys of the store
are those of the AWS tools: ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID`` and so on.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fpan.contract import Aliases, History, ModelCard, RepositoryError, sha256_of, write_card
from fpan.contract.aliases import ALIASES_FILE
from fpan.contract.card import CARD_FILE
from fpan.contract.repository import Versions, aliases_of, card_of, is_version
from fpan.extras import how_to_install
from fpan.registry.store import AliasMoved, VersionExists

SCHEME = "s3://"
STALE = timedelta(hours=24)
"""Files without a card that are older than this belong to a write that never ended; younger ones may yet get theirs."""
_CHUNK_BYTES = 1 << 20
_LOST = ("PreconditionFailed", "ConditionalRequestConflict")
_MISSING = ("NoSuchKey", "404")
_HISTORY = "history/"


@dataclass(frozen=True)
class _Object:
    """An object below a model."""

    path: str
    """Below the model, such as ``2/card.json``."""
    size: int
    written: datetime


class _ConditionFailed(Exception):
    """Another writer was faster."""


class ObjectStore(Versions):
    """A :class:`~fpan.registry.store.Store` at ``s3://BUCKET/PREFIX``."""

    def __init__(self, address: str) -> None:
        """Opens it; connects when first used.

        Raises:
            RepositoryError: the address names no bucket, or the extra ``[s3]`` is not installed.
        """
        try:
            import boto3
            import botocore.exceptions
        except ModuleNotFoundError as error:
            missing = f"{address} needs {error.name}, which is not installed here"
            raise RepositoryError(f"{missing}: {how_to_install('s3')}") from error
        place = address.removeprefix(SCHEME).rstrip("/")
        self._address = SCHEME + place
        self._bucket, _, prefix = place.partition("/")
        if not self._bucket:
            raise RepositoryError(f"{address!r} names no bucket: write {SCHEME}BUCKET or {SCHEME}BUCKET/PREFIX")
        self._prefix = f"{prefix}/" if prefix else ""
        self._refused: type[Exception] = botocore.exceptions.ClientError
        self._failed: type[Exception] = botocore.exceptions.BotoCoreError
        with self._told():
            self._client: Any = boto3.client("s3")

    @property
    def address(self) -> str:
        """See :class:`~fpan.registry.store.Store`."""
        return self._address

    def names(self) -> list[str]:
        """See :class:`~fpan.registry.store.Store`."""
        return [name for name in self.folders() if self.versions(name)]

    def folders(self) -> list[str]:
        """Names below which there is an object, sorted."""
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
            )
            prefixes = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())]
            return sorted(prefix.removeprefix(self._prefix).rstrip("/") for prefix in prefixes)

    def versions(self, name: str) -> list[int]:
        """See :class:`~fpan.registry.store.Store`. Without its card a version is not there yet."""
        return sorted(number for number, files in self._numbers(name).items() if CARD_FILE in files)

    def taken(self, name: str) -> list[int]:
        """See :class:`~fpan.registry.store.Store`."""
        return sorted(self._numbers(name))

    def card(self, name: str, version: int) -> ModelCard:
        """See :class:`~fpan.registry.store.Store`."""
        path = f"{version}/{CARD_FILE}"
        return card_of(name, version, self.get(name, path)[0], f"{self.address}/{name}/{path}")

    def sizes(self, name: str, version: int) -> dict[str, int]:
        """See :class:`~fpan.registry.store.Store`."""
        return {file: found.size for file, found in sorted(self._numbers(name).get(version, {}).items())}

    def read(self, card: ModelCard, file: str) -> bytes:
        """See :class:`~fpan.registry.store.Store`."""
        data, _ = self.get(card.name, f"{card.version}/{file}")
        if data is None:
            raise self._lacks(card, file)
        return data

    def verify(self, card: ModelCard) -> None:
        """See :class:`~fpan.registry.store.Store`. Reads every file once."""
        for file, expected in card.files.items():
            digest = hashlib.sha256()
            with self._told():
                body = self._body(card.name, f"{card.version}/{file}")
                if body is None:
                    raise self._lacks(card, file)
                for chunk in body["Body"].iter_chunks(_CHUNK_BYTES):
                    digest.update(chunk)
            if digest.hexdigest() != expected:
                where = f"{self.address}/{card.name}/{card.version}/{file}"
                raise RepositoryError(f"{where} was changed: its sha256 is not the card's; publish the version again")

    def aliases(self, name: str) -> Aliases:
        """See :class:`~fpan.registry.store.Store`."""
        return aliases_of(self.get(name, ALIASES_FILE)[0], f"{self.address}/{name}/{ALIASES_FILE}")

    def history(self, name: str) -> History:
        """See :class:`~fpan.registry.store.Store`."""
        paths = [found.path for found in self.below(name) if found.path.startswith(_HISTORY)]
        lines = [self.get(name, path)[0] or b"" for path in sorted(paths)]
        return History.read(b"\n".join(lines), self.aliases(name).change)

    def leftovers(self, name: str) -> list[str]:
        """See :class:`~fpan.registry.store.Store`."""
        before = datetime.now(UTC) - STALE
        return [
            f"{number}/{file}"
            for number, files in sorted(self._numbers(name).items())
            if CARD_FILE not in files and all(found.written < before for found in files.values())
            for file in sorted(files)
        ]

    @contextmanager
    def writer(self, name: str) -> Iterator["ObjectWriter"]:
        """See :class:`~fpan.registry.store.Store`. Others may write meanwhile; see :class:`ObjectWriter`."""
        writer = ObjectWriter(self, name)
        writer.settle()
        yield writer

    def get(self, name: str, path: str) -> tuple[bytes | None, str]:
        """An object and its ETag; None where there is no such object."""
        with self._told():
            found = self._body(name, path)
            return (None, "") if found is None else (found["Body"].read(), found["ETag"])

    def put(self, name: str, path: str, body: bytes | Path, **condition: str) -> str:
        """Puts an object where ``condition`` (``IfMatch``, ``IfNoneMatch``) holds, and returns its ETag.

        Raises:
            _ConditionFailed: it does not hold.
        """
        with self._told():
            if isinstance(body, Path):
                with body.open("rb") as file:
                    return self._put(name, path, file, condition)
            return self._put(name, path, body, condition)

    def delete(self, name: str, path: str) -> None:
        """Takes an object away."""
        with self._told():
            self._client.delete_object(Bucket=self._bucket, Key=f"{self._prefix}{name}/{path}")

    def _put(self, name: str, path: str, body: Any, condition: dict[str, str]) -> str:
        key = f"{self._prefix}{name}/{path}"
        try:
            return str(self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **condition)["ETag"])
        except self._refused as error:
            if _code(error) in _LOST:
                raise _ConditionFailed from error
            raise

    def _body(self, name: str, path: str) -> Any:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{name}/{path}")
        except self._refused as error:
            if _code(error) in _MISSING:
                return None
            raise

    def below(self, name: str) -> list[_Object]:
        """All objects below a name."""
        folder = f"{self._prefix}{name}/"
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=folder)
            return [
                _Object(each["Key"].removeprefix(folder), each["Size"], each["LastModified"])
                for page in pages
                for each in page.get("Contents", ())
            ]

    def _numbers(self, name: str) -> dict[int, dict[str, _Object]]:
        """Files by number, whether they are a whole version or not."""
        found: dict[int, dict[str, _Object]] = {}
        for each in self.below(name):
            number, slash, file = each.path.partition("/")
            if slash and is_version(number):
                found.setdefault(int(number), {})[file] = each
        return found

    def _lacks(self, card: ModelCard, file: str) -> RepositoryError:
        where = f"{self.address}/{card.name}/{card.version}/{file}"
        return RepositoryError(f"{where} is missing, though the card lists it: publish the version again")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Says what the store refused."""
        try:
            yield
        except (self._refused, self._failed) as error:
            raise RepositoryError(f"{self.address}: {error}") from error
        except OSError as error:
            raise RepositoryError(f"{error.filename or self.address}: {error.strerror or error}") from error


class ObjectWriter:
    """A :class:`~fpan.registry.store.Writer` beside which others may write: whoever loses a race is told."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._store = store
        self._name = name
        _, self._seen = store.get(name, ALIASES_FILE)

    def settle(self) -> None:
        """Adds to the history the move that was made when a crash came between the two."""
        change = self._store.aliases(self._name).change
        if change is None:
            return
        try:
            line = change.model_dump_json().encode()
            self._store.put(self._name, f"{_HISTORY}{change.serial:08}.json", line, IfNoneMatch="*")
        except _ConditionFailed:
            return  # it is there

    def put(self, card: ModelCard, files: Mapping[str, Path]) -> ModelCard:
        """See :class:`~fpan.registry.store.Writer`. No file is written over, the card comes last."""
        listed = {file: sha256_of(path) for file, path in sorted(files.items())}
        card = ModelCard.model_validate({**card.model_dump(), "files": listed})
        try:
            for file in listed:
                self._store.put(self._name, f"{card.version}/{file}", files[file], IfNoneMatch="*")
            self._store.put(self._name, f"{card.version}/{CARD_FILE}", write_card(card), IfNoneMatch="*")
        except _ConditionFailed:
            where = f"{self._store.address}/{card.name}/{card.version}"
            what = "versions are immutable, write another one"
            raise VersionExists(f"{where} exists, or is being written: {what}") from None
        return card

    def remove(self, version: int) -> None:
        """See :class:`~fpan.registry.store.Writer`. Without its card it is no version any more."""
        files = self._store.sizes(self._name, version)
        for file in sorted(files, key=lambda file: file != CARD_FILE):
            self._store.delete(self._name, f"{version}/{file}")

    def move(self, aliases: Aliases) -> None:
        """See :class:`~fpan.registry.store.Writer`.

        Raises:
            AliasMoved: another writer has moved an alias since this one began.
        """
        data = (aliases.model_dump_json(indent=2) + "\n").encode()
        condition = {"IfMatch": self._seen} if self._seen else {"IfNoneMatch": "*"}
        try:
            self._seen = self._store.put(self._name, ALIASES_FILE, data, **condition)
        except _ConditionFailed:
            what = f"another command has just moved an alias of {self._name} in {self._store.address}"
            raise AliasMoved(f"{what}: look at `fpan models list {self._name}` and try again") from None
        self.settle()

    def sweep(self) -> list[str]:
        """See :class:`~fpan.registry.store.Writer`."""
        found = self._store.leftovers(self._name)
        for path in found:
            self._store.delete(self._name, path)
        return found


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"])
