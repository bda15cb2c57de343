"""Which version of a model is what: its aliases, and the history of their moves.

::

    <repository>/<model>/aliases.json    which version each alias names now, and the move that made it so
                         history.jsonl   every move, one a line

``aliases.json`` is the truth: a move has happened once that file is in place. It carries the move, so that one whose
line did not reach the history before a crash is not lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

ALIASES_FILE = "aliases.json"
HISTORY_FILE = "history.jsonl"

AliasName = Literal["champion", "challenger", "shadow"]
"""``champion`` answers when a request names neither version nor alias, but for the share of callers that ``challenger``
has; ``challenger`` and ``shadow`` answer when they are named."""
ALIASES: tuple[AliasName, ...] = get_args(AliasName)
CHAMPION: AliasName = "champion"
CHALLENGER: AliasName = "challenger"
SHADOW: AliasName = "shadow"

VersionNumber = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Change(BaseModel):
    """One move of an alias: who was what, when, by which command."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    serial: Annotated[int, Field(ge=1)]
    """Number of the move among all of the model's."""
    at: str
    """UTC date and time, ISO 8601."""
    command: str
    """As it was given."""
    action: Literal["promote", "rollback"]
    alias: AliasName
    before: VersionNumber | None
    """Version that it named before; None where there was none."""
    version: VersionNumber | None
    """Version that it has named since; None where the alias was taken away."""
    sha256: str = ""
    """Of that version's network."""
    share: Share = 0.0
    """Of the callers who name no version, the part that the alias answers since then, 0 to 1."""


class Aliases(BaseModel):
    """``aliases.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    aliases: dict[AliasName, VersionNumber] = {}
    share: Share = 0.0
    """Of the callers who name no version, the part that the challenger answers in the champion's place, 0 to 1."""
    change: Change | None = None
    """The move that made it so."""

    def of(self, version: int) -> tuple[AliasName, ...]:
        """The aliases that name a version."""
        return tuple(alias for alias in ALIASES if self.aliases.get(alias) == version)

    def moved(self, change: Change) -> "Aliases":
        """What they are after a move. A new champion ends the trial of a challenger beside the former."""
        others = {alias: version for alias, version in self.aliases.items() if alias != change.alias}
        moved = others if change.version is None else {**others, change.alias: change.version}
        share = self.share if change.alias == SHADOW else change.share
        return Aliases(aliases=moved, share=share, change=change)


@dataclass(frozen=True)
class History:
    """The moves of a model's aliases, oldest first."""

    changes: tuple[Change, ...] = ()
    unreadable: tuple[int, ...] = ()
    """Numbers of the lines that could not be read, from 1: a crash leaves a torn last line, which the next move
    mends."""

    @classmethod
    def read(cls, data: bytes, pending: Change | None = None) -> "History":
        """From ``history.jsonl``, and the move in ``aliases.json``, whose line may be missing yet."""
        changes: dict[int, Change] = {}
        unreadable = []
        for number, line in enumerate(data.splitlines(), 1):
            try:
                change = Change.model_validate_json(line)
            except ValidationError:
                unreadable.append(number)
            else:
                changes.setdefault(change.serial, change)
        if pending is not None:
            changes.setdefault(pending.serial, pending)
        return cls(tuple(changes[serial] for serial in sorted(changes)), tuple(unreadable))

    @property
    def last_serial(self) -> int:
        """Number of the last move, 0 where there was none."""
        return self.changes[-1].serial if self.changes else 0

    def last_serial_of(self, alias: AliasName) -> int:
        """Number of the last move of one alias, 0 where there was none."""
        return max((change.serial for change in self.changes if change.alias == alias), default=0)

    @property
    def highest_version(self) -> int:
        """The highest version that any alias ever named, 0 where there was none."""
        return max((v for c in self.changes for v in (c.before, c.version) if v is not None), default=0)

    def former(self, alias: AliasName, now: int | None) -> tuple[int | None, ...]:
        """What the alias named before ``now``, the nearest first; a rollback takes what it left out of the line.

        The last may be None: then there was no such alias at first.
        """
        line: list[int | None] = []
        for change in (c for c in self.changes if c.alias == alias):
            if not line or line[-1] != change.before:  # the first move, or one that the history does not know
                line.append(change.before)
            if change.action == "rollback":
                line.pop()
                while line and line[-1] != change.version:
                    line.pop()
                if not line:
                    line.append(change.version)
            else:
                line.append(change.version)
        if line and line[-1] == now:
            line.pop()
        return tuple(_without_repeats(line[::-1], now))


def _without_repeats(line: Sequence[int | None], now: int | None) -> list[int | None]:
    """Promoting what is promoted already is no step that could be taken back."""
    kept: list[int | None] = []
    last = now
    for version in line:
        if version != last:
            kept.append(version)
        last = version
    return kept


@dataclass(frozen=True)
class Reference:
    """A version as people name it: ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``."""

    name: str
    version: int | None = None
    alias: AliasName | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Reads it.

        Raises:
            ValueError: it is none of the three; the message says so.
        """
        name, colon, version = text.partition(":")
        if colon:
            if version.isascii() and version.isdecimal() and name:
                return cls(name, version=int(version))
        else:
            name, at, alias = text.partition("@")
            if name and not at:
                return cls(name)
            if name and (known := next((a for a in ALIASES if a == alias), None)):
                return cls(name, alias=known)
        raise ValueError(
            f"{text[:80]!r} names no version: write NAME, NAME:VERSION or NAME@ALIAS, ALIAS being {', '.join(ALIASES)}"
        )
