"""Which versions of the repository are served, and by which names requests may ask for them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fpan.contract import AliasName, ModelCard, ModelRepository, Reference, RepositoryError
from fpan.contract.aliases import CHALLENGER, CHAMPION
from fpan.serve.pipeline.detect.second_look import ROOMY
from fpan.serve.rollout.settings import RolloutSettings

SEGMENTATION, DETECTION = "segmentation", "detection"

Version = tuple[str, int]
"""Name of a model and number of its version."""


@dataclass(frozen=True)
class ServedVersion:
    """A version that is served."""

    card: ModelCard
    aliases: tuple[AliasName, ...] = ()
    """What it is."""
    default: bool = True
    """Whether it answers where the model's name is all that a request says."""
    share: float = 0.0
    """Of the callers who say no more, the part that it answers in the default's place, 0 to 1."""
    former: bool = False
    """Whether it is what a rollback of the champion would bring back."""
    serial: int = 0
    """Number of the move that made it the first of its aliases, 0 where it has none."""

    @property
    def version(self) -> Version:
        """Which it is."""
        return self.card.name, self.card.version

    @property
    def names(self) -> dict[str, AliasName | None]:
        """What requests may call it -> which of its aliases that means, None where it has none."""
        name = self.card.name
        first = next(iter(self.aliases), None)
        named: dict[str, AliasName | None] = {f"{name}:{self.card.version}": first}
        named |= {f"{name}@{alias}": alias for alias in self.aliases}
        if self.default:
            named[name] = first if first == CHAMPION else None
        return named


def served_versions(settings: RolloutSettings, held: Mapping[str, int] | None = None) -> tuple[ServedVersion, ...]:
    """Of every segmentation model the champion, the former champion, and what its other aliases name; of the detector
    the champion.

    Args:
        settings: name the repository, a local folder, and the models that must be in it.
        held: model -> the version that answers for it as long as it has no champion; the highest where it is not named.
            So a version that is added to a repository without aliases does not take over from one that is served.

    Raises:
        RepositoryError: the repository, a model that the settings name, or a version that an alias names is missing, or
            a card was changed.
    """
    repository = ModelRepository(settings.model_repository)
    held = held or {}
    for name, task in ((settings.segm_model, SEGMENTATION), (settings.detector_model, DETECTION)):
        card = repository.card(name, _current(repository, name, held))
        if card.task != task:
            raise RepositoryError(f"the model {name!r} is for {card.task}, not for {task}")
        if task == DETECTION and (not card.sizes or min(card.sizes[-1]) < ROOMY):
            raise RepositoryError(
                f"{name} version {card.version} does not list the sizes of its inputs, or one is below {ROOMY} "
                f"pixels: make a detector that does, fpan-train detector --version {card.version + 1}"
            )
    return tuple(
        served for name in repository.names() for served in _of_model(repository, name, settings.detector_model, held)
    )


def _current(repository: ModelRepository, name: str, held: Mapping[str, int]) -> int:
    if name in held and CHAMPION not in repository.aliases(name).aliases:
        return repository.resolve(Reference(name, held[name]))
    return repository.current(name)


def _of_model(
    repository: ModelRepository, name: str, detector: str, held: Mapping[str, int]
) -> Iterator[ServedVersion]:
    default = repository.card(name, _current(repository, name, held))
    if default.task == DETECTION and name != detector:
        return
    aliases = repository.aliases(name)
    history = repository.history(name)
    former = former_champion(repository, name) if default.task == SEGMENTATION else None
    versions = {default.version}
    if default.task == SEGMENTATION:
        versions |= {repository.resolve(Reference(name, alias=alias)) for alias in aliases.aliases}
    for version in sorted(versions):
        card = repository.card(name, version)
        if card.interface != default.interface:
            raise RepositoryError(
                f"{name} version {version} has other inputs or outputs than version {default.version}, so that the two "
                f"cannot be served side by side: give the alias {', '.join(aliases.of(version))} to another version"
            )
        named = aliases.of(version)
        yield ServedVersion(
            card,
            named,
            default=version == default.version,
            share=aliases.share if CHALLENGER in named and version != default.version else 0.0,
            former=former is not None and version == former.version,
            serial=history.last_serial_of(named[0]) if named else 0,
        )
    if former is not None and former.version not in versions and former.interface == default.interface:
        yield ServedVersion(former, default=False, former=True)


def former_champion(repository: ModelRepository, name: str) -> ModelCard | None:
    """The version that a rollback would bring back, which therefore stays loaded; None where there is none, or it is of
    no use.
    """
    champion = repository.aliases(name).aliases.get(CHAMPION)
    former = next(iter(repository.history(name).former(CHAMPION, champion)), None)
    if champion is None or former is None:
        return None
    try:
        return repository.card(name, former)
    except RepositoryError:
        return None
