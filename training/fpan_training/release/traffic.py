"""Versions that a repository has, brought into traffic: at gateways that run, or at one that is started."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fpan.contract import ModelCard, Reference
from fpan.contract.aliases import CHAMPION
from fpan.registry import Registry, open_store
from fpan.registry.replicas import TIMEOUT_S, Replicas, promote_everywhere

from fpan_training.release.service import started

_DETECTOR = "detector"


@dataclass(frozen=True)
class Traffic:
    """Where versions are to answer."""

    command: str
    """Who asks for it, for the history of the aliases."""
    repository: str
    """The model repository: a folder, or ``s3://BUCKET/PREFIX``."""
    url: tuple[str, ...] = ()
    """Running gateways that serve the repository. Without any, one is started, and runs until it is stopped."""
    timeout_s: float = TIMEOUT_S
    """How long they may take to follow, in seconds."""

    def bring(self, cards: Sequence[ModelCard]) -> None:
        """Makes the versions champions, one after the other, each once every gateway follows.

        Raises:
            NotFollowed: a gateway does not serve one; its promotion is taken back.
        """
        registry = Registry(open_store(self.repository))
        if self.url:
            for card in cards:
                self._promote(registry, card, self.url)
            return
        for card in cards:
            if CHAMPION not in registry.store.aliases(card.name).aliases:
                registry.promote(card.name, card.version, CHAMPION, self.command)
        with started(self.repository) as service:
            for card in cards:
                self._promote(registry, card, (service.url,))
            service.wait()

    def _promote(self, registry: Registry, card: ModelCard, urls: tuple[str, ...]) -> None:
        promote_everywhere(registry, card.name, card.version, CHAMPION, self.command, Replicas(urls, self.timeout_s))
        print(f"{card.name} version {card.version} is champion, and answers at {', '.join(urls)}")


def bring_detector(registry: Registry, detector_from: str, work: Path) -> None:
    """Copies the face detector of another repository into one that has none: gateways need one beside what they
    segment with.

    Args:
        registry: of the repository.
        detector_from: address of the other one.
        work: folder that its files go through.
    """
    if registry.store.versions(_DETECTOR):
        return
    shipped = Registry(open_store(detector_from))
    card = shipped.verified(Reference(_DETECTOR))
    folder = work / _DETECTOR
    folder.mkdir(exist_ok=True)
    for file in card.files:
        (folder / file).write_bytes(shipped.store.read(card, file))
    registry.publish(card, {file: folder / file for file in card.files})
