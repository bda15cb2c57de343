"""The requests of ``docs/how-to/jobs.md``, and what comes back.

    python -m tests.support.jobs_page

starts the service with a Redis, makes each request in turn and writes it and its answer into the page anew.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support import redis_server
from tests.support import service as services
from tests.support.formats_page import DOCUMENTED, cut, marks
from tests.support.jobs import SECRET
from tests.support.readme import shortened

PAGE = services.ROOT / "docs" / "how-to" / "jobs.md"
DOCUMENTED_ID = "5f0c6a0e2b7d4f64a1f29c8e31d07b95"
_TIMES = re.compile(r'"(\w+_at)": "[^"]+"')
_STAGES = re.compile(r'"timing_ms": \{[^}]*\}')
_PICTURES = "-F image=@docs/astronaut.jpg -F image=@README.md"


@dataclass(frozen=True)
class Step:
    """A request of the page."""

    command: str
    shown: Callable[[str], str]
    """What the page shows of the answer."""


def _json(text: str) -> str:
    return shortened(cut(_of_nose(json.loads(text))))


def _of_nose(told: dict[str, Any]) -> dict[str, Any]:
    """An answer of which the first picture's faces are left out: the page is about other things."""
    for result in told.get("results", ()):
        if "answer" in result:
            result["answer"]["faces"] = "..."
    return told


def _with_headers(text: str) -> str:
    head, _, body = text.replace("\r", "").partition("\n\n")
    kept = [line for line in head.splitlines() if line.lower().startswith(("http/", "location:"))]
    return "\n".join([*kept, "", _json(body)])


def _last_events(text: str) -> str:
    """The first event and the last: how many there are between them is chance."""
    events = [event for event in text.strip().split("\n\n") if "data:" in event]
    return "\n\n".join((*events[:1], "...", *events[-1:])) if len(events) > 1 else events[0]


_JOB = f"{DOCUMENTED}/v1/jobs/{DOCUMENTED_ID}"
STEPS = {
    "batch": Step(f"curl -s {_PICTURES} '{DOCUMENTED}/v1/parse/batch?classes=nose'", _json),
    "submit": Step(
        f"curl -si -H 'Idempotency-Key: order-17' {_PICTURES} '{DOCUMENTED}/v1/jobs?classes=nose'", _with_headers
    ),
    "events": Step(f"curl -sN {_JOB}/events", _last_events),
    "state": Step(f"curl -s {_JOB}", _json),
    "result": Step(f"curl -s {_JOB}/result", _json),
    "delete": Step(f"curl -s -o /dev/null -w '%{{http_code}}\\n' -X DELETE {_JOB}", str.strip),
}


@contextmanager
def served() -> Iterator[str]:
    """The address of a service that takes jobs."""
    with redis_server.running() as redis:
        settings = {"REDIS_JOBS_URL": redis.url, "JOBS_SECRET": SECRET, "BACKEND": "in-process"}
        with services.running(settings) as service:
            yield service.url


def ask_all(url: str) -> dict[str, str]:
    """Makes all requests of the page in turn; what it shows of each answer."""
    shown, job = {}, DOCUMENTED_ID
    for name, step in STEPS.items():
        command = step.command.replace(DOCUMENTED, url).replace(DOCUMENTED_ID, job)
        done = subprocess.run(
            ["bash", "-c", command], cwd=services.ROOT, capture_output=True, check=True, timeout=60, text=True
        )
        if name == "submit":
            job = re.search(r'"id":"(\w+)"', done.stdout)[1]
        shown[name] = step.shown(done.stdout).replace(job, DOCUMENTED_ID)
    return shown


def steady(text: str) -> str:
    """Without what differs from one time to the next: times, request ids, event numbers, and how far it had got."""
    text = _STAGES.sub('"timing_ms": {}', _TIMES.sub(r'"\1": "..."', text))
    text = re.sub(r'"request_id": "\w+"', '"request_id": "..."', text)
    text = re.sub(r"^id: \d+$", "id: N", text, flags=re.MULTILINE)
    # A quick worker may have begun, or ended, before the first look.
    if text.startswith("HTTP/"):
        text = text.replace('"state": "running"', '"state": "queued"').replace('"attempts": 1', '"attempts": 0')
        return text.replace('"started_at": "..."', '"started_at": null')
    _, dots, last = text.partition("\n...\n")
    return text if not dots else last


def block(name: str) -> str:
    """The answer as the page has it."""
    begin, end = marks(name)
    found = PAGE.read_text().split(begin)[1].split(end)[0]
    return found.split("```", 2)[1].partition("\n")[2].rstrip("\n")


def main() -> None:
    """Writes all answers."""
    page = PAGE.read_text()
    with served() as url:
        shown = ask_all(url)
    for name, step in STEPS.items():
        begin, end = marks(name)
        kind = "json" if shown[name].startswith("{") else "text"
        before, rest = page.split(begin)
        page = f"{before}{begin}\n    {step.command}\n\n```{kind}\n{shown[name]}\n```\n{end}{rest.split(end)[1]}"
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
