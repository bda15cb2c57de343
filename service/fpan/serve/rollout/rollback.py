"""What a gateway has decided against the registry: versions that failed in traffic answer nobody who did not ask so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fpan.contract.aliases import CHAMPION
from fpan.serve.rollout.served import ServedVersion, Version


@dataclass(frozen=True)
class Rollback:
    """A version may not be what one move of an alias has made it."""

    version: Version
    serial: int
    """Number of the move: after another one the version is tried again."""

    def is_of(self, served: ServedVersion) -> bool:
        """Whether it is about that version, as it is served."""
        return (self.version, self.serial) == (served.version, served.serial)


class Rollbacks:
    """Those that stand."""

    def __init__(self) -> None:
        self.standing: frozenset[Rollback] = frozenset()
        """They fall once the registry moves the alias."""

    def stand(self, rollback: Rollback) -> None:
        """One more."""
        self.standing |= {rollback}

    def applied(self, wanted: Sequence[ServedVersion]) -> tuple[ServedVersion, ...]:
        """What is served of what the registry asks for."""
        self.standing = frozenset(v for v in self.standing if any(v.is_of(each) for each in wanted))
        served = tuple(wanted)
        for rollback in self.standing:
            served = _without(rollback, served)
        return served


def former_of(name: str, served: Sequence[ServedVersion]) -> ServedVersion | None:
    """The loaded version that a model's champion would go back to."""
    return next((each for each in served if each.card.name == name and each.former and not each.default), None)


def _without(rollback: Rollback, served: tuple[ServedVersion, ...]) -> tuple[ServedVersion, ...]:
    """A challenger loses its share, a champion its place to the former one. Both go on answering to their number."""
    bad = next(each for each in served if rollback.is_of(each))
    if not bad.default:
        return tuple(replace(each, share=0.0) if each is bad else each for each in served)
    former = former_of(bad.card.name, served)
    if former is None:
        return served
    others = tuple(alias for alias in bad.aliases if alias != CHAMPION)
    changed = {
        bad.version: replace(bad, aliases=others, default=False),
        former.version: replace(former, aliases=(CHAMPION, *former.aliases), default=True, share=0.0),
    }
    return tuple(changed.get(each.version, each) for each in served)
