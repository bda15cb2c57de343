"""Watches challengers and new champions in traffic, and takes back those that do badly."""

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass

from fpan.contract import AliasName, RepositoryError
from fpan.contract.aliases import CHALLENGER, CHAMPION
from fpan.registry import AliasMoved
from fpan.serve.pipeline.segment.observation import Observation
from fpan.serve.rollout.canary import CanaryRules, Fault, TrafficRecord, TrafficWindow, fault_of
from fpan.serve.rollout.controller import RolloutController
from fpan.serve.rollout.repository import WatchedRepository
from fpan.serve.rollout.rollback import Rollback, former_of
from fpan.serve.rollout.served import SEGMENTATION, ServedVersion, Version
from fpan.serve.telemetry.metrics import WatchCounts

CHECK_S = 0.5
"""How often the versions are judged, in seconds."""
_ERRORS = ("failed", "late")
"""Outcomes that speak against a version."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Probation:
    """A new champion's first time."""

    version: Version
    until: float
    former: TrafficRecord
    """How the version did that answered before."""


class Monitor:
    """Judges by what this gateway sees alone. Several gateways may watch: one of them moves the alias back."""

    def __init__(self, rollout: RolloutController, followed: WatchedRepository, counts: WatchCounts) -> None:
        """Makes one of its parts.

        Args:
            rollout: what is served.
            followed: the registry, which is told where it can be written to.
            counts: where it is told what happens.
        """
        self._rollout = rollout
        self._followed = followed
        self._counts = counts
        self._watched = CanaryRules.of(followed.settings)
        self._probation_s = followed.settings.watch_champion_s
        self._loop = asyncio.get_running_loop()
        self._windows: defaultdict[Version, TrafficWindow] = defaultdict(TrafficWindow)
        self._serials: dict[Version, int] = {}
        self._answering: dict[str, Version] = {}
        self._probations: dict[str, _Probation] = {}
        self._unwritten: frozenset[Rollback] = frozenset()

    def ended(self, asked: Observation) -> None:
        """A question to a version has ended; an :data:`~fpan.serve.pipeline.segment.observation.Observer`."""
        card = asked.segmenter.card
        self._counts.ended(card, asked.segmenter.alias, asked.outcome, asked.seconds)
        if asked.outcome == "ok" or asked.outcome in _ERRORS:
            crop_s = asked.crop_s if asked.outcome == "ok" else None
            self._windows[card.name, card.version].add(self._loop.time(), crop_s)

    async def run(self) -> None:
        """Judges until it is cancelled."""
        while True:
            try:
                await self.check()
            except Exception:  # a fault of ours must not end the watching
                _log.exception("the versions in traffic cannot be judged")
            await asyncio.sleep(CHECK_S)

    async def check(self) -> None:
        """Judges once, and takes back at most one version."""
        self._unwritten &= self._rollout.rollbacks.standing
        self._counts.unwritten(rollback.version for rollback in self._unwritten)
        served = [each for each in self._rollout.served if each.card.task == SEGMENTATION]
        answering = {each.card.name: each for each in served if each.default}
        for champion in answering.values():
            self._meet(champion, served)
        self._begin_anew(served)
        for each in served:
            other = self._other(each, answering[each.card.name])
            if other is not None and (fault := fault_of(self._record(each.version), other, self._watched)):
                await self._take_back(each, fault)
                return

    def _begin_anew(self, served: list[ServedVersion]) -> None:
        """Forgets how a version did before it was made what it is, and versions that are gone."""
        serials = {each.version: each.serial for each in served}
        for version in list(self._windows):
            if version not in serials or serials[version] != self._serials.get(version, serials[version]):
                del self._windows[version]
        self._serials = serials

    def _record(self, version: Version) -> TrafficRecord:
        return self._windows[version].record(self._loop.time() - self._watched.window_s)

    def _meet(self, champion: ServedVersion, served: list[ServedVersion]) -> None:
        """Puts a champion on probation that was promoted over the one before; not one that a rollback brought back."""
        name = champion.card.name
        before, self._answering[name] = self._answering.get(name), champion.version
        self._counts.watched(name)
        if before in (None, champion.version):
            return
        self._probations.pop(name, None)
        former = former_of(name, served)
        if former is not None and former.version == before:
            until = self._loop.time() + self._probation_s
            self._probations[name] = _Probation(champion.version, until, self._record(before))

    def _other(self, each: ServedVersion, champion: ServedVersion) -> TrafficRecord | None:
        """What a version is judged beside; None where it is not watched."""
        if each.share:
            return self._record(champion.version)
        probation = self._probations.get(each.card.name)
        if each is champion and probation is not None and self._loop.time() < probation.until:
            return probation.former
        return None

    async def _take_back(self, served: ServedVersion, fault: Fault) -> None:
        """Here at once, then in the registry."""
        name, version = served.version
        alias: AliasName = CHAMPION if served.default else CHALLENGER
        if served.default:
            del self._probations[name]
            if former_of(name, self._rollout.served) is None:
                _log.error("%s version %d does badly (%s), but no former champion is loaded", name, version, fault.text)
                return
        rollback = Rollback(served.version, served.serial)
        self._rollout.overrule(rollback)
        self._counts.taken_back(name, alias, fault.reason)
        _log.error("%s version %d is %s no more in this gateway: %s", name, version, alias, fault.text)
        command = f"automatic: {fault.text}"
        try:
            await asyncio.to_thread(self._followed.take_back, name, alias, version, command)
        except AliasMoved as moved:
            _log.info("the registry has it already: %s", moved)
        except RepositoryError as error:
            self._unwritten |= {rollback}
            self._counts.unwritten(unwritten.version for unwritten in self._unwritten)
            _log.error("the registry still has it as %s, this gateway keeps to its decision: %s", alias, error)
