"""Writes a serving tree that goes elsewhere, for a Triton that this project does not start."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast, get_args

from fpan.serve.inference.runtime import RuntimeName
from fpan.serve.rollout.followed import FollowedRepository
from fpan.serve.settings import Settings
from fpan.serve.triton.profiles import PROFILES, Profile, ServingOptions
from fpan.serve.triton.tree import put_together


class UnknownChoice(ValueError):
    """A profile or a runtime that does not exist; the message lists those that do."""


def write_tree(
    folder: Path,
    model_repository: Path | str,
    profile: str,
    runtime: str,
    threads: int,
    instances: int,
    max_batch: int,
) -> list[str]:
    """Copies the versions that the gateway would serve into ``folder``, with a configuration for ``profile``.

    Returns:
        The names of the models.

    Raises:
        UnknownChoice: there is no such profile or runtime.
        RepositoryError: the repository, or a file in it, is missing or was changed.
    """
    for word, known in ((profile, PROFILES), (runtime, get_args(RuntimeName))):
        if word not in known:
            raise UnknownChoice(f"{word!r} is none of {', '.join(known)}")
    options = ServingOptions(cast(Profile, profile), cast(RuntimeName, runtime), threads, instances, max_batch)
    with TemporaryDirectory(prefix="fpan-") as fetched:
        followed = FollowedRepository(Settings(model_repository=model_repository), Path(fetched) / "repository")
        versions = [each.version for each in followed.wanted()]
        return put_together(followed.repository, versions, folder, options, copy=True)
