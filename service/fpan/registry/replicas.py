"""Promotions and rollbacks that wait until every gateway of a model repository serves the new version."""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from fpan.client._access import key_headers, verifying
from fpan.contract import AliasName, Change, RepositoryError
from fpan.contract.aliases import CHAMPION
from fpan.registry.registry import Registry
from fpan.registry.store import AliasMoved

TIMEOUT_S = 120.0
"""Seconds within which all gateways must follow: each loads and tests a network, or may still be starting."""
_POLL_S = 0.1
_ANSWER_TIMEOUT_S = 10.0


class NotFollowed(RepositoryError):
    """A gateway does not serve the expected version. The message says which gateway, why, and what was done."""


class Refused(NotFollowed):
    """A gateway has tested the version and refuses to serve it."""


@dataclass(frozen=True)
class Replica:
    """One gateway."""

    address: str
    """For people: its URL, with the IP address if the host name has several."""
    versions: dict[AliasName | None, int]
    """For one model: alias -> the version that the gateway serves for it; None -> the default version."""
    refused: dict[int, str]
    """Version that the gateway refuses to serve -> reason."""
    fault: str = ""
    """Why the gateway could not be queried; empty if it could."""


class Replicas:
    """All gateways at some URLs. Host names are resolved at each look; every address of a name is one gateway."""

    def __init__(self, urls: Sequence[str], timeout_s: float = TIMEOUT_S) -> None:
        """Checks the URLs; connects later.

        Args:
            urls: such as ``http://gateway:8000``.
            timeout_s: seconds within which all gateways must follow.

        Raises:
            ValueError: a URL is not of this form.
        """
        for url in urls:
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise ValueError(f"{url!r} is no address of a gateway: write http://HOST:PORT")
        self._urls = tuple(urls)
        self._timeout_s = timeout_s

    def look(self, name: str) -> list[Replica]:
        """The versions of a model that each gateway serves now."""
        return [replica for url in self._urls for replica in _replicas(url, name)]

    def until(self, name: str, served: Callable[[Replica], bool], refused: int | None = None) -> None:
        """Waits until all gateways serve the expected version.

        Args:
            name: the model.
            served: whether a gateway serves the expected version.
            refused: the version that the gateways test; the wait ends as soon as one of them refuses it.

        Raises:
            NotFollowed: a gateway refuses the version (:class:`Refused`), or the time is over.
        """
        until = time.monotonic() + self._timeout_s
        while True:
            replicas = self.look(name)
            for replica in replicas:
                if refused in replica.refused:
                    raise Refused(f"{replica.address} refuses it: {replica.refused[refused]}")
            late = [replica for replica in replicas if replica.fault or not served(replica)]
            if replicas and not late:
                return
            if time.monotonic() > until:
                what = "; ".join(f"{r.address} {r.fault or 'serves ' + _versions(r)}" for r in late)
                raise NotFollowed(f"after {self._timeout_s:g} s {what or 'no gateway is there'}")
            time.sleep(_POLL_S)


def promote_everywhere(
    registry: Registry,
    name: str,
    version: int,
    alias: AliasName,
    command: str,
    replicas: Replicas,
    share: float = 0.0,
) -> Change:
    """Points an alias to a version, and rolls back unless every gateway serves it.

    If a model has no champion, the version that answers now is made champion first, as the target of the rollback. If
    the alias names the version already, as after an interrupted promotion, it is rolled back only if a gateway refuses
    the version.

    Raises:
        NotFollowed: a gateway does not follow; the message says what the alias names now.
        RepositoryError: the version cannot be promoted.
    """
    if alias == CHAMPION and CHAMPION not in registry.store.aliases(name).aliases:
        answering = _answering(name, replicas.look(name))
        if answering != version:
            registry.promote(name, answering, CHAMPION, f"{command} (what answered before)")
    change = registry.promote(name, version, alias, command, share)
    try:
        replicas.until(name, lambda replica: replica.versions.get(alias) == version, version)
    except NotFollowed as error:
        if change.before == version and not isinstance(error, Refused):
            raise NotFollowed(f"{error}. Version {version} was {alias} already, and stays so") from error
        back = _take_back(registry, name, version, alias, command)
        raise NotFollowed(f"{name} version {version} is not {alias}: {error}. {back}") from error
    except BaseException:
        if change.before != version:
            _take_back(registry, name, version, alias, command)
        raise
    return change


def rollback_everywhere(registry: Registry, name: str, alias: AliasName, command: str, replicas: Replicas) -> Change:
    """Rolls an alias back, and waits until every gateway has followed.

    Raises:
        NotFollowed: a gateway does not follow; the alias stays rolled back.
        RepositoryError: there is no previous version.
    """
    change = registry.rollback(name, alias, command)
    replicas.until(name, lambda replica: replica.versions.get(alias) == change.version)
    return change


def _take_back(registry: Registry, name: str, version: int, alias: AliasName, command: str) -> str:
    """Rolls the alias back, and returns a sentence that says what happened."""
    try:
        back = registry.rollback(name, alias, f"{command} (taken back)", expect=version)
    except AliasMoved as error:
        return f"Somebody was faster: {error}"
    except RepositoryError as error:
        return f"It cannot be taken back: {error}"
    return f"It was taken back: {alias} is " + (f"version {back.version}" if back.version else "nothing") + " again"


def _answering(name: str, replicas: Sequence[Replica]) -> int:
    """The version that answers by default at all gateways.

    Raises:
        NotFollowed: the gateways differ, or one cannot be queried: there would be no version to roll back to.
    """
    said = {replica.versions.get(None) for replica in replicas if not replica.fault}
    faults = [f"{replica.address} {replica.fault}" for replica in replicas if replica.fault]
    version = said.pop() if len(said) == 1 and not faults else None
    if version is None:
        why = "; ".join(faults) or "they answer with different versions"
        raise NotFollowed(
            f"{name} has no champion, and which version answers now cannot be told ({why}): `fpan models promote "
            f"{name} VERSION` without --url makes that one champion first"
        )
    return version


def _versions(replica: Replica) -> str:
    return ", ".join(f"version {version} as {alias or 'default'}" for alias, version in replica.versions.items())


def _replicas(url: str, name: str) -> Iterator[Replica]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = sorted({info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError as error:
        yield Replica(url, {}, {}, f"cannot be found ({error.strerror or error})")
        return
    for address in found:
        told = url if len(found) == 1 else f"{url} at {address}"
        try:
            yield Replica(told, *_read(_ask(parts.scheme, host, str(address), port), name))
        except (httpx.HTTPError, ValueError, KeyError) as error:
            yield Replica(told, {}, {}, f"does not answer ({error})")


def _ask(scheme: str, host: str, address: str, port: int) -> Any:
    """The models of one gateway, queried at its own IP address with the shared host name in Host header and SNI."""
    literal = f"[{address}]" if ":" in address else address
    shared = f"[{host}]" if ":" in host else host
    with httpx.Client(timeout=_ANSWER_TIMEOUT_S, verify=verifying()) as client:
        response = client.get(
            f"{scheme}://{literal}:{port}/v1/models",
            headers={"Host": f"{shared}:{port}", **key_headers()},
            extensions={"sni_hostname": host},
        )
    return response.raise_for_status().json()


def _read(answer: Any, name: str) -> tuple[dict[AliasName | None, int], dict[int, str]]:
    versions: dict[AliasName | None, int] = {}
    for model in answer["models"]:
        if model["name"] == name and model["tried"]:
            versions |= dict.fromkeys(model["aliases"], model["version"])
            if model["default"]:
                versions[None] = model["version"]
    return versions, {each["version"]: each["reason"] for each in answer["refused"] if each["name"] == name}
