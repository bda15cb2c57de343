"""Operations on a model repository, for every kind of store."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from fpan.contract import AliasName, Change, ModelCard, Reference, RepositoryError
from fpan.contract.aliases import CHALLENGER, CHAMPION
from fpan.registry.store import AliasMoved, Store, VersionExists, Writer

DEFAULT_KEEP = 5
"""Number of newest versions of a model that cleaning up always keeps."""


_NUMBER_TRIES = 10
"""Attempts when another writer takes the same version number or moves an alias at the same time."""


@dataclass(frozen=True)
class Version:
    """A version in the repository, usable or not."""

    name: str
    version: int
    aliases: tuple[AliasName, ...]
    share: float
    """Share of the callers who name no version that this version answers as challenger, 0 to 1."""
    card: ModelCard | None
    """None if the card cannot be read."""
    size: int
    """Total size of its files in bytes."""
    fault: str = ""
    """Why the version cannot be used; empty if no fault is found without reading whole files."""


@dataclass(frozen=True)
class Cleaning:
    """What cleaning up a model removes, and why it keeps the rest."""

    name: str
    removed: tuple[int, ...]
    kept: dict[int, str]
    """Version -> why it is kept."""
    leftovers: tuple[str, ...]
    """Names of leftovers of crashes, which are removed too."""


class Registry:
    """Publishes, promotes, rolls back and cleans up versions in a model repository."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def publish(self, card: ModelCard, files: Mapping[str, Path], *, version: int | None = None) -> ModelCard:
        """Writes a new version atomically.

        Args:
            card: its card; this method fills in the version number and the sha256 of the files.
            files: file name -> path of the source file.
            version: the version number; None takes the next one. A number is never used twice.

        Raises:
            VersionExists: ``version`` already exists.
            RepositoryError: the version cannot be written.
        """
        with self.store.writer(card.name) as writer:
            for tries_left in reversed(range(_NUMBER_TRIES)):
                used = (*self.store.taken(card.name), self.store.history(card.name).highest_version)
                try:
                    return writer.put(card.model_copy(update={"version": version or max(used) + 1}), files)
                except VersionExists:  # in stores without locks another writer may have been faster
                    if version is not None or not tries_left:
                        raise
        raise AssertionError  # the last try has returned or raised

    def publish_again(self, card: ModelCard) -> ModelCard:
        """Writes the files of an existing version again, under the next number, with a changed card.

        Args:
            card: the changed card of the existing version.

        Raises:
            RepositoryError: the files cannot be read or written.
        """
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder) / name for name in card.files}
            for name, path in files.items():
                path.write_bytes(self.store.read(card, name))
            return self.publish(card, files)

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, ascending, including those that cannot be used.

        Raises:
            RepositoryError: there is no such model, or its aliases cannot be read.
        """
        self.store.latest(name)
        aliases = self.store.aliases(name)
        found = []
        for version in self.store.versions(name):
            sizes = self.store.sizes(name, version)
            card, fault = None, ""
            try:
                card = self.store.card(name, version)
            except RepositoryError as error:
                fault = str(error)
            else:
                if missing := sorted(set(card.files) - set(sizes)):
                    fault = f"{name} version {version} lacks {', '.join(missing)}: fetch the version again"
            named = aliases.of(version)
            share = aliases.share if CHALLENGER in named else 0.0
            found.append(Version(name, version, named, share, card, sum(sizes.values()), fault))
        return found

    def dangling(self, name: str) -> dict[AliasName, int]:
        """Aliases that name a version that no longer exists."""
        there = self.store.versions(name)
        return {alias: v for alias, v in self.store.aliases(name).aliases.items() if v not in there}

    def verified(self, reference: Reference) -> ModelCard:
        """The card of a version, after verifying all files against the card.

        Raises:
            RepositoryError: there is no such version, or a file is missing or was changed.
        """
        card = self.store.card(reference.name, self.store.resolve(reference))
        self.store.verify(card)
        return card

    def settle(self, name: str, command: str) -> Change | None:
        """If a model has no champion, makes its highest version champion.

        That version answers already. As champion it goes on answering when a newer version is published.

        Returns:
            The move; None if there is a champion already, or no version.
        """
        if not self.store.versions(name) or CHAMPION in self.store.aliases(name).aliases:
            return None
        return self.promote(name, self.store.latest(name), CHAMPION, command)

    def promote(self, name: str, version: int, alias: AliasName, command: str, share: float = 0.0) -> Change:
        """Points an alias to a version, after verifying all files of the version against its card.

        Args:
            name: the model.
            version: the version number.
            alias: the alias to move.
            command: the command to record in the history.
            share: share of the callers who name no version that a challenger answers, 0 to 1.

        Raises:
            ValueError: ``share`` is set for an alias other than challenger.
            RepositoryError: the version is missing or was changed, or its inputs or outputs differ from those of the
                versions that have an alias.
        """
        if share and alias != CHALLENGER:
            raise ValueError(f"{alias} has no share of the callers: {CHALLENGER} has")
        self.store.resolve(Reference(name, version))  # before anything is made for a model that does not exist
        with self.store.writer(name) as writer:
            return self._move(writer, name, "promote", alias, version, command, share)

    def rollback(self, name: str, alias: AliasName, command: str, expect: int | None = None) -> Change:
        """Points an alias back to its previous version. Each further call goes back one more step.

        Args:
            name: the model.
            alias: the alias to move. A challenger then has no share of the callers.
            command: the command to record in the history.
            expect: the version that the alias must name now; None accepts any. When several processes try to roll back
                the same promotion, only the first succeeds.

        Raises:
            AliasMoved: the alias does not name ``expect``.
            RepositoryError: there is no previous version, or it no longer exists or was changed.
        """
        self.store.latest(name)
        for tries_left in reversed(range(_NUMBER_TRIES)):
            try:
                return self._roll_back(name, alias, command, expect)
            except AliasMoved:
                # In stores without locks, another alias of the model may have moved, and not this one: then try again.
                now = self.store.aliases(name).aliases.get(alias)
                if expect is None or now != expect or not tries_left:
                    raise
        raise AssertionError  # the last try has returned or raised

    def _roll_back(self, name: str, alias: AliasName, command: str, expect: int | None) -> Change:
        with self.store.writer(name) as writer:
            now = self.store.aliases(name).aliases.get(alias)
            if expect is not None and now != expect:
                raise AliasMoved(f"version {expect} of {name} is not {alias} any more: there is nothing to take back")
            former = self.store.history(name).former(alias, now)
            if not former or (former[0] is None and alias == CHAMPION):
                raise RepositoryError(
                    f"the history of {name} knows no {alias} before this one: `fpan models promote {name} VERSION "
                    f"--to {alias}` makes another version {alias}"
                )
            if former[0] is not None and former[0] not in self.store.versions(name):
                raise RepositoryError(
                    f"version {former[0]}, which was {alias} of {name} before, is gone: `fpan models promote {name} "
                    f"VERSION --to {alias}` makes another version {alias}"
                )
            return self._move(writer, name, "rollback", alias, former[0], command)

    def _move(
        self,
        writer: Writer,
        name: str,
        action: Literal["promote", "rollback"],
        alias: AliasName,
        version: int | None,
        command: str,
        share: float = 0.0,
    ) -> Change:
        aliases = self.store.aliases(name)
        sha256 = ""
        if version is not None:
            card = self.verified(Reference(name, version))
            sha256 = card.sha256
            # Also checked against the version that it replaces: during the switch both are loaded.
            for other, beside in aliases.aliases.items():
                if beside in self.store.versions(name):
                    _fit(card, self.store.card(name, beside), other)
        change = Change(
            serial=self.store.history(name).last_serial + 1,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
            action=action,
            alias=alias,
            before=aliases.aliases.get(alias),
            version=version,
            sha256=sha256,
            share=share,
        )
        writer.move(aliases.moved(change))
        return change

    def clean(self, name: str, keep: int = DEFAULT_KEEP, *, dry_run: bool = False) -> Cleaning:
        """Removes old versions of a model and leftovers of crashes.

        Keeps versions with an alias, the former champion and the newest ``keep``. Also keeps broken versions, because
        they may be the only copy of something.

        Args:
            name: the model.
            keep: number of newest versions to keep, at least 1.
            dry_run: reports what would be removed, and removes nothing.

        Raises:
            RepositoryError: there is no such model, or its aliases cannot be read.
        """
        self.store.latest(name)
        if dry_run:
            return self._plan(name, keep)
        with self.store.writer(name) as writer:
            plan = self._plan(name, keep)
            writer.sweep()
            for version in plan.removed:
                writer.remove(version)
            return plan

    def _plan(self, name: str, keep: int) -> Cleaning:
        if keep < 1:
            raise ValueError("the newest version is always kept")
        versions = self.versions(name)
        whole = [v.version for v in versions if not v.fault]
        former = self.store.history(name).former(CHAMPION, self.store.aliases(name).aliases.get(CHAMPION))
        kept = {v.version: f"broken: {v.fault}" for v in versions if v.fault}
        kept |= dict.fromkeys(whole[-keep:], f"among the newest {keep}")
        if former and former[0] in whole:
            kept[former[0]] = "the former champion"
        kept |= {v.version: ", ".join(v.aliases) for v in versions if v.aliases}
        removed = tuple(v for v in whole if v not in kept)
        return Cleaning(name, removed, dict(sorted(kept.items())), tuple(self.store.leftovers(name)))


def _fit(card: ModelCard, other: ModelCard, alias: AliasName) -> None:
    """Checks that two versions of a model have the same inputs and outputs, because both can be served at once.

    Raises:
        RepositoryError: their inputs or outputs differ.
    """
    if card.interface != other.interface:
        raise RepositoryError(
            f"{card.name} version {card.version} has other inputs or outputs than its {alias}, version "
            f"{other.version}: publish it under another model name"
        )
