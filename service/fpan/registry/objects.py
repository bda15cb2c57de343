"""A model repository in an object store that speaks S3.

::

    <prefix>/<model>/<version>/model.onnx, ..., card.json   the card is written last and makes the version visible
                     aliases.json                           replaced only if it has not changed since it was read
                     history/00000001.json, ...             one object for each move

An object store has no locks but conditional writes: If-None-Match writes an object only if there is none, If-Match
replaces only the object that was read. A writer that loses a race gets an error, and no data is lost. Address and keys
of the store come from the variables of the AWS tools: ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID`` and so on.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fpan.contract import Aliases, History, ModelCard, RepositoryError, sha256_of, write_card
from fpan.contract.aliases import ALIASES_FILE
from fpan.contract.card import CARD_FILE
from fpan.contract.repository import Versions, aliases_of, card_of, is_version
from fpan.registry.store import AliasMoved, VersionExists
from fpan.storage.objects import Bucket, ConditionFailed, StoredObject

STALE = timedelta(hours=24)
"""Files without a card that are older than this come from an interrupted write; newer ones may still get their card."""
_HISTORY = "history/"


class ObjectStore(Versions):
    """A :class:`~fpan.registry.store.Store` at ``s3://BUCKET/PREFIX``."""

    def __init__(self, address: str) -> None:
        """Opens the store; connects on first use.

        Raises:
            RepositoryError: the address names no bucket, or the extra ``[s3]`` is not installed.
        """
        self.objects = Bucket(address)

    @property
    def address(self) -> str:
        """See :class:`~fpan.registry.store.Store`."""
        return self.objects.address

    def names(self) -> list[str]:
        """See :class:`~fpan.registry.store.Store`."""
        return [name for name in self.objects.folders() if self.versions(name)]

    def versions(self, name: str) -> list[int]:
        """See :class:`~fpan.registry.store.Store`. A version without a card is not counted."""
        return sorted(number for number, files in self._numbers(name).items() if CARD_FILE in files)

    def taken(self, name: str) -> list[int]:
        """See :class:`~fpan.registry.store.Store`."""
        return sorted(self._numbers(name))

    def card(self, name: str, version: int) -> ModelCard:
        """See :class:`~fpan.registry.store.Store`."""
        path = f"{version}/{CARD_FILE}"
        return card_of(name, version, self.objects.get(name, path)[0], f"{self.address}/{name}/{path}")

    def sizes(self, name: str, version: int) -> dict[str, int]:
        """See :class:`~fpan.registry.store.Store`."""
        return {file: found.size for file, found in sorted(self._numbers(name).get(version, {}).items())}

    def read(self, card: ModelCard, file: str) -> bytes:
        """See :class:`~fpan.registry.store.Store`."""
        data, _ = self.objects.get(card.name, f"{card.version}/{file}")
        if data is None:
            raise self._lacks(card, file)
        return data

    def verify(self, card: ModelCard) -> None:
        """See :class:`~fpan.registry.store.Store`. Reads every file once."""
        for file, expected in card.files.items():
            digest = hashlib.sha256()
            chunks = self.objects.chunks(card.name, f"{card.version}/{file}")
            if chunks is None:
                raise self._lacks(card, file)
            for chunk in chunks:
                digest.update(chunk)
            if digest.hexdigest() != expected:
                where = f"{self.address}/{card.name}/{card.version}/{file}"
                raise RepositoryError(f"{where} was changed: its sha256 is not the card's; publish the version again")

    def aliases(self, name: str) -> Aliases:
        """See :class:`~fpan.registry.store.Store`."""
        return aliases_of(self.objects.get(name, ALIASES_FILE)[0], f"{self.address}/{name}/{ALIASES_FILE}")

    def history(self, name: str) -> History:
        """See :class:`~fpan.registry.store.Store`."""
        paths = [found.path for found in self.objects.below(name) if found.path.startswith(_HISTORY)]
        lines = [self.objects.get(name, path)[0] or b"" for path in sorted(paths)]
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
        """See :class:`~fpan.registry.store.Store`. Other writers are not excluded; see :class:`ObjectWriter`."""
        writer = ObjectWriter(self, name)
        writer.settle()
        yield writer

    def _numbers(self, name: str) -> dict[int, dict[str, StoredObject]]:
        """Version number -> its files, complete versions or not."""
        found: dict[int, dict[str, StoredObject]] = {}
        for each in self.objects.below(name):
            number, slash, file = each.path.partition("/")
            if slash and is_version(number):
                found.setdefault(int(number), {})[file] = each
        return found

    def _lacks(self, card: ModelCard, file: str) -> RepositoryError:
        where = f"{self.address}/{card.name}/{card.version}/{file}"
        return RepositoryError(f"{where} is missing, though the card lists it: publish the version again")


class ObjectWriter:
    """A :class:`~fpan.registry.store.Writer` that does not exclude others: a writer that loses a race gets an error."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._store = store
        self._name = name
        _, self._seen = store.objects.get(name, ALIASES_FILE)

    def settle(self) -> None:
        """Adds the last move to the history if a crash prevented that after the move."""
        change = self._store.aliases(self._name).change
        if change is None:
            return
        try:
            line = change.model_dump_json().encode()
            self._store.objects.put(self._name, f"{_HISTORY}{change.serial:08}.json", line, IfNoneMatch="*")
        except ConditionFailed:
            return  # the history has the move already

    def put(self, card: ModelCard, files: Mapping[str, Path]) -> ModelCard:
        """See :class:`~fpan.registry.store.Writer`. Overwrites no file and writes the card last."""
        listed = {file: sha256_of(path) for file, path in sorted(files.items())}
        card = ModelCard.model_validate({**card.model_dump(), "files": listed})
        try:
            for file in listed:
                self._store.objects.put(self._name, f"{card.version}/{file}", files[file], IfNoneMatch="*")
            self._store.objects.put(self._name, f"{card.version}/{CARD_FILE}", write_card(card), IfNoneMatch="*")
        except ConditionFailed:
            where = f"{self._store.address}/{card.name}/{card.version}"
            what = "versions are immutable, write another one"
            raise VersionExists(f"{where} exists, or is being written: {what}") from None
        return card

    def remove(self, version: int) -> None:
        """See :class:`~fpan.registry.store.Writer`. Deletes the card first: without it the version no longer exists."""
        files = self._store.sizes(self._name, version)
        for file in sorted(files, key=lambda file: file != CARD_FILE):
            self._store.objects.delete(self._name, f"{version}/{file}")

    def move(self, aliases: Aliases) -> None:
        """See :class:`~fpan.registry.store.Writer`.

        Raises:
            AliasMoved: another writer has moved an alias since this writer read them.
        """
        data = (aliases.model_dump_json(indent=2) + "\n").encode()
        condition = {"IfMatch": self._seen} if self._seen else {"IfNoneMatch": "*"}
        try:
            self._seen = self._store.objects.put(self._name, ALIASES_FILE, data, **condition)
        except ConditionFailed:
            what = f"another command has just moved an alias of {self._name} in {self._store.address}"
            raise AliasMoved(f"{what}: look at `fpan models list {self._name}` and try again") from None
        self.settle()

    def sweep(self) -> list[str]:
        """See :class:`~fpan.registry.store.Writer`."""
        found = self._store.leftovers(self._name)
        for path in found:
            self._store.objects.delete(self._name, path)
        return found
