"""The versions in traffic follow the aliases of the registry."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fpan.contract import ModelCard, RepositoryError
from fpan.contract.aliases import CHAMPION
from fpan.serve.api.errors import GatewayError
from fpan.serve.inference.backend import CannotLoad, InferenceBackend
from fpan.serve.inference.settings import InferenceSettings
from fpan.serve.pipeline.segment.routing import ModelRouter
from fpan.serve.rollout.model_pool import ModelPool
from fpan.serve.rollout.repository import WatchedRepository
from fpan.serve.rollout.rollback import Rollback, Rollbacks
from fpan.serve.rollout.served import ServedVersion, Version
from fpan.serve.rollout.validation import ValidationFailed, validate
from fpan.serve.telemetry.metrics import RolloutCounts

_log = logging.getLogger(__name__)

_RETRY_S = 5.0
"""After which what could not be done because the server was away is tried again, in seconds."""


@dataclass(frozen=True)
class Refusal:
    """A version that the registry asks for and that does not answer here."""

    card: ModelCard
    reason: str


class RolloutController:
    """Follows the registry: loads what it asks for beside what answers, tries it out, lets it answer, and unloads what
    nothing uses any more.

    A version that fails its trial never answers; what answered before goes on. One task looks at the registry and
    decides at once about what is loaded; another loads and unloads, however long that takes.
    """

    def __init__(
        self,
        followed: WatchedRepository,
        inference: InferenceSettings,
        backend: InferenceBackend,
        crew: ModelPool,
        counts: RolloutCounts,
    ) -> None:
        """Makes one of its parts.

        Args:
            followed: the registry.
            inference: how versions are asked when they are validated.
            backend: it serves what the registry asked for when it was opened.
            crew: makes routing_tables.
            counts: where it is told what happens.
        """
        self._followed = followed
        self._inference = inference
        self._backend = backend
        self._crew = crew
        self._counts = counts
        self._wanted: tuple[ServedVersion, ...] = ()
        self._loaded: dict[Version, ModelCard] = {}
        self._faults: dict[Version, str] = {}
        self._late: set[Version] = set()
        self._changed = asyncio.Event()
        self.unvalidated: set[Version] = set()
        """What the gateway started with and could not try out yet, because the server was away."""
        self.rollbacks = Rollbacks()
        """What is not served as the registry asks, because it failed in traffic."""
        self.served: tuple[ServedVersion, ...] = ()
        """What answers."""
        self.refused: tuple[Refusal, ...] = ()
        """What should and does not."""

    async def begin(self, wanted: Sequence[ServedVersion]) -> ModelRouter:
        """Tries out what is loaded, and returns the first model_router. A former champion stands in for one that fails.

        Raises:
            RepositoryError: the version that is to answer for a model fails its trial, and there is no other.
        """
        self._wanted = tuple(wanted)
        for each in wanted:
            try:
                fault = await self._fault(each.card)
            except GatewayError as error:  # a server elsewhere, which may come yet; until then we are not ready
                _log.warning("%s version %d is not tried out yet: %s", *each.version, error)
                self.unvalidated.add(each.version)
                fault = ""
            if fault:
                self._faults[each.version] = fault
            else:
                self._loaded[each.version] = each.card
        for each in wanted:
            if each.default and each.version in self._faults and self._stand_in(each) is None:
                raise RepositoryError(
                    f"{self._faults[each.version]}: `fpan models rollback {each.card.name}` brings back what was before"
                )
        served, refused = self._decide()
        self.model_router = ModelRouter(self._crew.routing_table(served))
        self._tell(served, refused)
        self._changed.set()
        return self.model_router

    async def run(self) -> None:
        """Follows the registry until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="follows the registry")
            group.create_task(self._tend(), name="loads and unloads versions")

    async def _follow(self) -> None:
        told, behind = "", False
        while True:
            await asyncio.sleep(self._followed.settings.registry_poll_s)
            try:
                behind = await asyncio.to_thread(self._followed.moved) or behind
                if behind:
                    held = {each.card.name: each.card.version for each in self.served if each.default}
                    self._wanted = await asyncio.to_thread(self._followed.wanted, held)
                    self._faults.clear()
                    self._settle()
                    behind = False
            except Exception as error:  # also a fault of ours: it must not end the following
                self._counts.reachable(False)
                if str(error) != told:
                    known = isinstance(error, RepositoryError)
                    _log.error("%s; what is served stays as it is", error, exc_info=None if known else error)
                told = str(error)
            else:
                self._counts.reachable(True)
                told = ""

    def overrule(self, rollback: Rollback) -> None:
        """Takes a version out of what it is at once, until the registry makes it something anew."""
        self.rollbacks.stand(rollback)
        self._settle()

    async def _tend(self) -> None:
        """Loads what is wanted, tries out what could not be, and unloads what nobody uses or wants."""
        while True:
            self._changed.clear()
            self._late.clear()
            try:
                while (missing := self._missing()) is not None:
                    await self._load(missing)
                await self._try_untried()
                if not self.model_router.in_use_before:
                    await self._unload(self._going)
            except Exception:  # a fault of ours must not end the tending
                _log.exception("versions cannot be loaded or unloaded")
                self._late.update(each.version for each in self._wanted)
            await self._rest()

    async def _rest(self) -> None:
        """Waits until something changes: what is wanted, what requests use, or that it is time to try again."""
        waiting: set[asyncio.Task[Any]] = {asyncio.create_task(self._changed.wait())}
        if self._going:
            waiting.add(asyncio.create_task(self.model_router.drained()))
        try:
            timeout = _RETRY_S if self._late or self.unvalidated else None
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def _missing(self) -> ServedVersion | None:
        """The next version to load."""
        kept = {*self._loaded, *self._faults, *self._late}
        return next((each for each in self._wanted if each.version not in kept), None)

    @property
    def _going(self) -> set[Version]:
        """What is loaded, and neither asked for nor served."""
        return set(self._loaded) - {each.version for each in (*self._wanted, *self.served)}

    async def _load(self, each: ServedVersion) -> None:
        """Loads a version beside the others, and lets it answer if it may."""
        beside, card = list(self._loaded.values()), each.card
        try:
            await asyncio.to_thread(self._followed.bring, *each.version)
            await self._backend.serve([*beside, card])
            fault = await self._fault(card)
        except (CannotLoad, RepositoryError) as error:
            fault = str(error)
        except GatewayError as error:
            _log.warning("%s version %d is not tried out yet: %s", *each.version, error)
            self._late.add(each.version)
            return
        if fault:
            self._faults[each.version] = fault
            with contextlib.suppress(GatewayError, CannotLoad):  # what answers does so whether the other goes or not
                await self._backend.serve(beside)
        else:
            self._loaded[each.version] = card
        self._settle()

    async def _try_untried(self) -> None:
        """Tries out what could not be when the gateway started."""
        for version in sorted(self.unvalidated):
            card = self._loaded.get(version)
            try:
                fault = await self._fault(card) if card else ""
            except GatewayError:
                return
            self.unvalidated.discard(version)
            if fault:
                self._faults[version] = fault
            self._settle()

    async def _fault(self, card: ModelCard) -> str:
        """Why a loaded version may not answer; empty if it may.

        Raises:
            GatewayError: that cannot be told now.
        """
        folder = self._followed.repository.folder(card.name, card.version)
        agreement, inference = self._followed.settings.golden_agreement, self._inference
        try:
            await validate(self._backend, card, folder, agreement, inference.max_batch, inference.infer_timeout_s)
        except (ValidationFailed, RepositoryError) as error:
            return str(error)
        return ""

    async def _unload(self, versions: Iterable[Version]) -> None:
        going = sorted(versions)
        if not going:
            return
        # From now on they count as not loaded: should one be asked for again, it is loaded again.
        self._loaded = {version: card for version, card in self._loaded.items() if version not in going}
        await self._crew.dismiss(going)
        try:
            await self._backend.serve(list(self._loaded.values()))
        except (GatewayError, CannotLoad, RepositoryError) as error:
            _log.error("former versions stay loaded: %s", error)
            return
        for name, version in going:
            _log.info("%s version %d is unloaded", name, version)
            await asyncio.to_thread(self._followed.forget, name, version)

    def _settle(self) -> None:
        """Decides what answers, and lets it."""
        served, refused = self._decide()
        for refusal in refused:
            if refusal not in self.refused:
                name, number = refusal.card.name, refusal.card.version
                _log.error("%s version %d may not answer as the registry asks: %s", name, number, refusal.reason)
        for each in served:
            if each not in self.served:
                _log.info("%s version %d answers to %s", *each.version, ", ".join(each.names))
        self.model_router.exchange(self._crew.routing_table(served))
        self._tell(served, refused)
        self._changed.set()

    def _tell(self, served: tuple[ServedVersion, ...], refused: tuple[Refusal, ...]) -> None:
        self.served, self.refused = served, refused
        self._counts.settled(served, [refusal.card for refusal in refused])

    def _decide(self) -> tuple[tuple[ServedVersion, ...], tuple[Refusal, ...]]:
        """What answers: what is wanted and can, with another in the place of a champion that cannot."""
        able = [each for each in self._wanted if self._able(each)]
        for each in self._wanted:
            if each.default and not self._able(each) and (other := self._stand_in(each)) is not None:
                able = _kept(able, other)
        # A model of which nothing answers by its name is not served: its other versions would have nothing beside them.
        whole = {each.card.name for each in able if each.default}
        served = self.rollbacks.applied([each for each in able if each.card.name in whole])
        # A former champion that is of no use is not served, and nobody asks for it.
        asked = [each for each in self._wanted if each.version in self._faults and (each.default or each.aliases)]
        return served, tuple(Refusal(each.card, self._faults[each.version]) for each in asked)

    def _able(self, each: ServedVersion) -> bool:
        """Whether a version may answer. One that could not be tried out may where it is all there is."""
        if each.version in self._faults or each.version not in self._loaded:
            return False
        return each.default or each.version not in self.unvalidated

    def _stand_in(self, champion: ServedVersion) -> ServedVersion | None:
        """What answers in the place of a champion that cannot: what does now, or the former one."""
        now = (s for s in self.served if s.card.name == champion.card.name and s.default and s.version in self._loaded)
        former = (w for w in self._wanted if w.card.name == champion.card.name and w.former and self._able(w))
        found = [*now, *former]
        sound = (each for each in found if each.version not in self._faults)
        return next(sound, next(iter(found), None))


def _kept(served: list[ServedVersion], champion: ServedVersion) -> list[ServedVersion]:
    """With the version that answers for its model in the place of the champion that may not."""
    others = [each for each in served if each.version != champion.version]
    aliases = next((each.aliases for each in served if each.version == champion.version), ())
    kept = tuple(alias for alias in champion.aliases if alias == CHAMPION)
    return [*others, replace(champion, aliases=tuple(dict.fromkeys((*kept, *aliases))), default=True)]
