"""Which versions of the repository are served, and by which names requests may ask for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fpan.contract import AliasName, ModelCard, ModelRepository, Reference, RepositoryError
from fpan.contract.aliases import CHAMPION
from fpan.registry import fetch, is_remote, open_store
from fpan.serve.settings import Settings

SEGMENTATION, DETECTION = "segmentation", "detection"


@dataclass(frozen=True)
class ServedVersion:
    """A version that is served."""

    card: ModelCard
    aliases: tuple[AliasName, ...] = ()
    """What it is."""
    default: bool = True
    """Whether it answers where the model's name is all that a request says."""

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


def with_local_repository(settings: Settings, folder: Path) -> Settings:
    """The settings with a model repository in a local folder: its own, or ``folder``, to which an object store's is
    fetched.

    Raises:
        RepositoryError: it cannot be fetched.
    """
    if not is_remote(settings.model_repository):
        return settings
    folder.mkdir(parents=True)
    fetch(open_store(settings.model_repository), folder)
    return settings.model_copy(update={"model_repository": folder})


def served_versions(settings: Settings) -> tuple[ServedVersion, ...]:
    """Of every segmentation model the champion, or the highest version where it has none, and what its other aliases
    name; of the detector the one.

    Raises:
        RepositoryError: the repository, a model that the settings name, or a version that an alias names is missing, or
            a card was changed.
    """
    repository = ModelRepository(settings.model_repository)
    for name, task in ((settings.segm_model, SEGMENTATION), (settings.detector_model, DETECTION)):
        card = repository.card(name, repository.current(name))
        if card.task != task:
            raise RepositoryError(f"the model {name!r} is for {card.task}, not for {task}")
    return tuple(served for name in repository.names() for served in _of_model(repository, name, settings))


def _of_model(repository: ModelRepository, name: str, settings: Settings) -> Iterator[ServedVersion]:
    default = repository.card(name, repository.current(name))
    if default.task == DETECTION and name != settings.detector_model:
        return
    aliases = repository.aliases(name)
    versions = {default.version}
    if default.task == SEGMENTATION:
        versions |= {repository.resolve(Reference(name, alias=alias)) for alias in aliases.aliases}
    for version in sorted(versions):
        card = repository.card(name, version)
        if (card.inputs, card.outputs) != (default.inputs, default.outputs):
            raise RepositoryError(
                f"{name} version {version} has other inputs or outputs than version {default.version}, so that the two "
                f"cannot be served side by side: give the alias {', '.join(aliases.of(version))} to another version"
            )
        yield ServedVersion(card, aliases.of(version), version == default.version)
