"""The model repository as a gateway follows it: which versions it asks for now."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from fpan.contract import Aliases, AliasName, ModelRepository
from fpan.registry import Registry, Store, fetch, open_store
from fpan.serve.rollout.served import ServedVersion, served_versions
from fpan.serve.rollout.settings import RolloutSettings
from fpan.storage.objects import is_remote


class WatchedRepository:
    """A model repository whose aliases move. An object store's is copied to a folder, as far as it is needed.

    It blocks: it belongs in a worker thread, one call at a time.
    """

    def __init__(self, settings: RolloutSettings, folder: Path) -> None:
        """Opens it.

        Args:
            settings: name the repository.
            folder: for what is fetched from an object store.

        Raises:
            RepositoryError: there is none, or it cannot be fetched.
        """
        self._store: Store = open_store(settings.model_repository)
        self._copy = folder if is_remote(settings.model_repository) else None
        self.settings = settings.model_copy(update={"model_repository": folder}) if self._copy else settings
        """The settings with a repository in a local folder."""
        self._seen = self._aliases()
        self._fetch()
        self.repository = ModelRepository(self.settings.model_repository)
        """The local folder."""

    def wanted(self, held: Mapping[str, int] | None = None) -> tuple[ServedVersion, ...]:
        """What it asks for; see :func:`~fpan.serve.rollout.served.served_versions`."""
        return served_versions(self.settings, held)

    def moved(self) -> bool:
        """Whether an alias has moved since this was last asked, or since the beginning.

        Raises:
            RepositoryError: it cannot be read. What is asked for is what it was, and this is asked again.
        """
        aliases = self._aliases()
        if aliases == self._seen:
            return False
        self._fetch()
        self._seen = aliases
        return True

    def take_back(self, name: str, alias: AliasName, version: int, command: str) -> None:
        """Rolls an alias back in the registry, if it still names ``version``. May be called beside the other methods.

        Raises:
            AliasMoved: it does not: somebody else was faster.
            RepositoryError: there is nothing to go back to, or the registry cannot be written to.
        """
        Registry(self._store).rollback(name, alias, command, expect=version)

    def bring(self, name: str, version: int) -> None:
        """Fetches a version whose copy has been removed since it was last asked for."""
        if self._copy is not None and not (self._copy / name / str(version)).is_dir():
            self._fetch()

    def forget(self, name: str, version: int) -> None:
        """Removes the copy of a version that is no longer served; what is the user's own stays."""
        if self._copy is not None:
            shutil.rmtree(self._copy / name / str(version), ignore_errors=True)

    def _aliases(self) -> dict[str, Aliases]:
        return {name: self._store.aliases(name) for name in self._store.names()}

    def _fetch(self) -> None:
        if self._copy is not None:
            self._copy.mkdir(parents=True, exist_ok=True)
            fetch(self._store, self._copy)
