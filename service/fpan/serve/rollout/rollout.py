"""The versions in traffic follow the aliases of the registry."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from fpan.contract import ModelCard, RepositoryError
from fpan.contract.aliases import CHAMPION
from fpan.serve.errors import GatewayError
from fpan.serve.inference.backend import CannotLoad, InferenceBackend
from fpan.serve.metrics import RolloutCounts
from fpan.serve.pipeline.lineup import Lineup
from fpan.serve.rollout.crew import Crew
from fpan.serve.rollout.followed import FollowedRepository
from fpan.serve.rollout.trial import TrialFailed, try_out
from fpan.serve.rollout.verdicts import Verdict, Verdicts
from fpan.serve.served import ServedVersion, Version

_log = logging.getLogger(__name__)

_RETRY_S = 5.0
"""After which a version is loaded again that could not be because the server was away, in seconds."""


@dataclass(frozen=True)
class Refusal:
    """A version that the registry asks for and that does not answer here."""

    card: ModelCard
    reason: str


class Rollout:
    """Follows the registry: loads what it asks for beside what answers, tries it out, lets it answer, and unloads what
    nothing uses any more.

    A version that fails its trial never answers; what answered before goes on.
    """

    def __init__(
        self, followed: FollowedRepository, backend: InferenceBackend, crew: Crew, counts: RolloutCounts
    ) -> None:
        """Takes what it needs.

        Args:
            followed: the registry.
            backend: it serves what the registry asked for when it was opened.
            crew: makes rosters.
            counts: where it is told what happens.
        """
        self._followed = followed
        self._settings = followed.settings
        self._backend = backend
        self._crew = crew
        self._counts = counts
        self._loaded: dict[Version, ModelCard] = {}
        self._loading = asyncio.Lock()
        self._exchanged = asyncio.Event()
        self._untried: dict[Version, ModelCard] = {}
        self._try_again_at = inf
        self.verdicts = Verdicts()
        """What is not served as the registry asks, because it failed in traffic."""
        self.served: tuple[ServedVersion, ...] = ()
        """What answers."""
        self.refused: tuple[Refusal, ...] = ()
        """What should and does not."""

    async def begin(self, wanted: Sequence[ServedVersion]) -> Lineup:
        """Tries out what is loaded, and returns the first lineup.

        Raises:
            RepositoryError: the version that is to answer for a model fails its trial.
        """
        self._loaded = {each.version: each.card for each in wanted}
        faults: dict[Version, str] = {}
        for each in wanted:
            try:
                fault = await self._fault(each.card)
            except GatewayError as error:  # a server elsewhere, which may come yet; until then we are not ready
                _log.warning("%s version %d is not tried out yet: %s", *each.version, error)
                self._untried[each.version] = each.card
                continue
            if fault and each.default:
                raise RepositoryError(f"{fault}: `fpan models rollback {each.card.name}` brings back what was before")
            if fault:
                faults[each.version] = fault
        self._settle(wanted, faults)
        self.lineup = Lineup(self._crew.roster(self.served))
        return self.lineup

    async def run(self) -> None:
        """Follows the registry until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="follows the registry")
            group.create_task(self._retire(), name="unloads former versions")

    async def _follow(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(self._settings.registry_poll_s)
            try:
                await self._try_untried()
                late = asyncio.get_running_loop().time() > self._try_again_at
                if await asyncio.to_thread(self._followed.moved) or late:
                    held = {each.card.name: each.card.version for each in self.served if each.default}
                    await self._bring(await asyncio.to_thread(self._followed.wanted, held))
            except RepositoryError as error:
                self._counts.reachable(False)
                if str(error) != told:
                    _log.error("%s; what is served stays as it is", error)
                told = str(error)
            except Exception:  # a fault of ours must not end the following
                _log.exception("what the registry asks for cannot be brought into traffic")
            else:
                self._counts.reachable(True)
                told = ""

    async def _bring(self, wanted: Sequence[ServedVersion]) -> None:
        """Brings into traffic what the registry asks for, as far as it passes its trial."""
        missing = {each.version: each.card for each in wanted if each.version not in self._loaded}
        # What is loaded answers at once: a rollback waits for nothing, though its own former champion must be loaded.
        self._settle(self.verdicts.applied(wanted), dict.fromkeys(missing, ""))
        self.lineup.exchange(self._crew.roster(self.served))
        self._try_again_at = inf
        if missing:
            async with self._loading:
                absent = {
                    version: fault for version, card in missing.items() if (fault := await self._load(card)) is not None
                }
            self._settle(self.verdicts.applied(wanted), absent)
            self.lineup.exchange(self._crew.roster(self.served))
        self._exchanged.set()

    def overrule(self, verdict: Verdict) -> None:
        """Takes a version out of what it is at once, until the registry makes it something anew."""
        self.served = self.verdicts.passed(verdict, self.served)
        self._counts.settled(self.served, [refusal.card for refusal in self.refused])
        self.lineup.exchange(self._crew.roster(self.served))

    async def _load(self, card: ModelCard) -> str | None:
        """Loads a version beside the others. Returns why it is not loaded then: empty where it will be tried again."""
        beside = list(self._loaded.values())
        try:
            await asyncio.to_thread(self._followed.bring, card.name, card.version)
            await self._backend.serve([*beside, card])
            fault = await self._fault(card)
        except (CannotLoad, RepositoryError) as error:
            fault = str(error)
        except GatewayError as error:
            _log.warning("%s version %d is not tried out yet: %s", card.name, card.version, error)
            self._try_again_at = asyncio.get_running_loop().time() + _RETRY_S
            return ""
        if not fault:
            self._loaded[card.name, card.version] = card
            return None
        with contextlib.suppress(GatewayError, CannotLoad):  # what answers does so whether or not the other one goes
            await self._backend.serve(beside)
        return fault

    async def _try_untried(self) -> None:
        """Tries out what could not be when the gateway started. It answers already, there being nothing else."""
        with contextlib.suppress(GatewayError):
            while self._untried:
                version, card = next(iter(self._untried.items()))
                if version in self._loaded and (fault := await self._fault(card)):
                    _log.error("%s version %d answers, but %s", *version, fault)
                self._untried.pop(version, None)

    async def _fault(self, card: ModelCard) -> str:
        """Why a loaded version may not answer; empty if it may.

        Raises:
            GatewayError: that cannot be told now.
        """
        settings, folder = self._settings, self._followed.repository.folder(card.name, card.version)
        try:
            await try_out(
                self._backend, card, folder, settings.golden_agreement, settings.max_batch, settings.infer_timeout_s
            )
        except (TrialFailed, RepositoryError) as error:
            return str(error)
        return ""

    def _settle(self, wanted: Sequence[ServedVersion], absent: Mapping[Version, str]) -> None:
        """Decides what answers: what is wanted, and in the place of a champion that cannot, the one that does now.

        Args:
            wanted: by the registry.
            absent: what of it does not answer, and why; an empty reason is that it is yet to be loaded.
        """
        served = [each for each in wanted if each.version not in absent]
        for each in wanted:
            if each.version in absent and each.default:
                for now in (s for s in self.served if s.card.name == each.card.name and s.default):
                    served = _kept(served, now)
        # A former champion that is of no use is not served, and nobody asks for it.
        refused = [each for each in wanted if absent.get(each.version) and (each.default or each.aliases)]
        for each in refused:
            aliases = " and ".join(each.aliases) or "answering"
            _log.error("%s version %d, which is %s, may not answer: %s", *each.version, aliases, absent[each.version])
        for each in served:
            if each not in self.served:
                _log.info("%s version %d answers to %s", *each.version, ", ".join(each.names))
        self.refused = tuple(Refusal(each.card, absent[each.version]) for each in refused)
        self.served = tuple(served)
        self._counts.settled(self.served, [refusal.card for refusal in self.refused])

    async def _retire(self) -> None:
        """Unloads what no request uses and nobody asks for, after each exchange."""
        while True:
            await self._exchanged.wait()
            self._exchanged.clear()
            await self.lineup.drained()
            async with self._loading:
                if self.lineup.in_use_before:  # exchanged again meanwhile
                    self._exchanged.set()
                    continue
                await self._unload(set(self._loaded) - {each.version for each in self.served})

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


def _kept(served: list[ServedVersion], former: ServedVersion) -> list[ServedVersion]:
    """With the version that goes on answering for its model in the place of the champion that may not."""
    others = [each for each in served if each.version != former.version]
    aliases = next((each.aliases for each in served if each.version == former.version), ())
    kept = tuple(alias for alias in former.aliases if alias == CHAMPION)
    return [*others, replace(former, aliases=(*kept, *aliases))]
