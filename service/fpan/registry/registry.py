"""What may be done to a model repository, wherever it lies."""

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
"""Newest versions of a model that clearing up leaves, whatever else it leaves."""


_NUMBER_TRIES = 10
"""How often a number that another writer has just taken is chosen anew."""


@dataclass(frozen=True)
class Version:
    """A version as it lies there."""

    name: str
    version: int
    aliases: tuple[AliasName, ...]
    share: float
    """Of the callers who name no version, the part that it answers as challenger, 0 to 1."""
    card: ModelCard | None
    """None where it cannot be read."""
    size: int
    """Bytes of all its files."""
    fault: str = ""
    """Why it is of no use; empty when nothing is wrong that can be seen without reading its files whole."""


@dataclass(frozen=True)
class Cleaning:
    """What clearing up a model takes away, and why it leaves what it leaves."""

    name: str
    removed: tuple[int, ...]
    kept: dict[int, str]
    """Version -> why."""
    leftovers: tuple[str, ...]
    """Names of what crashes have left, which goes too."""


class Registry:
    """A model repository that is written to."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def publish(self, card: ModelCard, files: Mapping[str, Path], *, version: int | None = None) -> ModelCard:
        """Writes a new version, whole or not at all.

        Args:
            card: its card; the number of the version and the sha256 of its files are filled in here.
            files: name -> where it lies now.
            version: its number; the next one when it is left out. No number is used twice.

        Raises:
            VersionExists: ``version`` is there already.
            RepositoryError: it cannot be written.
        """
        with self.store.writer(card.name) as writer:
            for tries_left in reversed(range(_NUMBER_TRIES)):
                used = (*self.store.taken(card.name), self.store.history(card.name).highest_version)
                try:
                    return writer.put(card.model_copy(update={"version": version or max(used) + 1}), files)
                except VersionExists:  # where writers cannot be held off, another may have been faster
                    if version is not None or not tries_left:
                        raise
        raise AssertionError  # the last try has returned or raised

    def publish_again(self, card: ModelCard) -> ModelCard:
        """Writes the files of a version once more, under the next number, with a card that tells more than its own.

        Args:
            card: of the version that is there, changed.

        Raises:
            RepositoryError: it cannot be read or written.
        """
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder) / name for name in card.files}
            for name, path in files.items():
                path.write_bytes(self.store.read(card, name))
            return self.publish(card, files)

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, ascending, those that are of no use among them.

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
        """Aliases that name a version that is gone."""
        there = self.store.versions(name)
        return {alias: v for alias, v in self.store.aliases(name).aliases.items() if v not in there}

    def verified(self, reference: Reference) -> ModelCard:
        """The card of a version all of whose files are as it says.

        Raises:
            RepositoryError: there is no such version, or a file is missing or was changed.
        """
        card = self.store.card(reference.name, self.store.resolve(reference))
        self.store.verify(card)
        return card

    def settle(self, name: str, command: str) -> Change | None:
        """Makes the version champion that answers for want of one, so that one which comes after does not take over.

        Returns:
            The move; None where there is a champion, or no version.
        """
        if not self.store.versions(name) or CHAMPION in self.store.aliases(name).aliases:
            return None
        return self.promote(name, self.store.latest(name), CHAMPION, command)

    def promote(self, name: str, version: int, alias: AliasName, command: str, share: float = 0.0) -> Change:
        """Makes a version what ``alias`` names, once all of its files are found to be as its card says.

        Args:
            name: the model.
            version: which of its versions.
            alias: what it becomes.
            command: for the history.
            share: of the callers who name no version, the part that a challenger answers, 0 to 1.

        Raises:
            ValueError: something else than a challenger is to have a share.
            RepositoryError: the version is missing or was changed, or cannot be served beside the other aliases'.
        """
        if share and alias != CHALLENGER:
            raise ValueError(f"{alias} has no share of the callers: {CHALLENGER} has")
        self.store.resolve(Reference(name, version))  # before anything is made for a model that does not exist
        with self.store.writer(name) as writer:
            return self._move(writer, name, "promote", alias, version, command, share)

    def rollback(self, name: str, alias: AliasName, command: str, expect: int | None = None) -> Change:
        """Makes ``alias`` name what it named before; once more, and it names what it named before that.

        Args:
            name: the model.
            alias: what goes back. A challenger has no share of the callers then.
            command: for the history.
            expect: the version that must be what ``alias`` names, so that of many who want to take one promotion back
                only the first does; None for whichever it is.

        Raises:
            AliasMoved: it is not ``expect``.
            RepositoryError: there is nothing before, or it is gone or was changed.
        """
        self.store.latest(name)
        for tries_left in reversed(range(_NUMBER_TRIES)):
            try:
                return self._roll_back(name, alias, command, expect)
            except AliasMoved:
                # Where writers cannot be held off, another alias of the model may have moved, and this one not.
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
            # With the one that it replaces too: both are loaded while the one takes over from the other.
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
        """Takes away the versions of a model that nobody needs.

        It leaves those with an alias, the former champion, the newest ``keep``, and those that are broken and may be
        all that is left of something.

        Args:
            name: the model.
            keep: newest versions to leave, at least 1.
            dry_run: only tells.

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
    """Versions of one model answer side by side, so that their tensors must be the same.

    Raises:
        RepositoryError: they are not.
    """
    if card.interface != other.interface:
        raise RepositoryError(
            f"{card.name} version {card.version} has other inputs or outputs than its {alias}, version "
            f"{other.version}: publish it under another model name"
        )
