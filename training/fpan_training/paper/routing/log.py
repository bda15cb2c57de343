"""The log of decisions: a line of JSON a picture, which a later run goes on from and other processes read."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fpan_training.data.folder import DataError
from fpan_training.paper.routing.decision import Decision, RoutingConfig


class DecisionLog:
    """Decisions by picture, kept in a file whose first line is the configuration that they were made under.

    Several processes may add to it: each line is one write to the file's end, and what a process does not know it looks
    for in what the others have added.
    """

    def __init__(self, path: Path, config: RoutingConfig) -> None:
        """Opens a log or begins it. A last line that was cut off when a run broke is dropped.

        Raises:
            DataError: the log was made under another configuration, or is none.
        """
        self._path = path
        self._known: dict[str, Decision] = {}
        head = json.loads(json.dumps({"config": asdict(config)}))
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(head) + "\n", encoding="utf-8")
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
        first, end, _ = content.partition(b"\n")
        if _json(first, path) != head:
            raise DataError(f"{path} was made under other settings: route to another folder, or delete this one")
        self._read_to = len(first) + len(end)
        self._catch_up()

    def get(self, name: str) -> Decision | None:
        """The decision about a picture; None where there is none yet."""
        if name not in self._known:
            self._catch_up()
        return self._known.get(name)

    def add(self, decision: Decision) -> None:
        """Writes a decision down."""
        line = json.dumps(decision.to_json(), ensure_ascii=False) + "\n"
        with self._path.open("ab", buffering=0) as file:
            file.write(line.encode())
        self._known[decision.name] = decision

    def decisions(self) -> tuple[Decision, ...]:
        """All that are known, one for a picture, in the order of their names."""
        self._catch_up()
        return tuple(self._known[name] for name in sorted(self._known))

    def _catch_up(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.splitlines():
            decision = Decision.from_json(_json(line, self._path))
            self._known[decision.name] = decision


def _json(line: bytes, path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path} is no log of decisions: {line[:80]!r}") from error
    return content
