"""What the service's own OpenAPI document allows and forbids, by Schemathesis: does it answer as the document says?"""

import base64
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.run import PhaseName

from tests.fuzz.corpus import broken
from tests.fuzz.hostile import WORDS
from tests.fuzz.tally import HANG_S, Part
from tests.fuzz.target import GOOD

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "use_after_free",
    "allow_header_conformance",
    "unsupported_method",
)
"""Not among them: whether whatever fits the document's types is taken. It need not be a picture."""
_SHARE_GOOD = 3
"""One of so many pictures is whole."""
_KEPT_OPTIONS = 2
LATE = {503: b"no place became free within", 504: b"deadline-exceeded"}
"""What a request with a deadline of its own may be told besides, and a piece of the words: that it has waited in vain,
or that it takes longer."""
PHASES = ("examples", "coverage", "fuzzing", "stateful")
QUICK = ("examples", "fuzzing", "stateful")
"""All but each border of each type, which takes a quarter of a minute."""


def pictures() -> st.SearchStrategy[bytes]:
    """Whole and broken files."""
    return st.integers(0, 2**31).map(lambda number: broken(number) if number % _SHARE_GOOD else GOOD)


@cache
def _taught() -> None:
    """Tells Schemathesis once what it cannot know: what bytes of pictures are."""
    for media in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(media, pictures())
    schemathesis.openapi.format("binary", pictures())
    schemathesis.hook("map_body")(_with_pictures)
    schemathesis.hook("map_query")(_with_words)
    schemathesis.hook("before_load_schema")(_with_events)


def _with_events(context: Any, document: dict[str, Any]) -> None:
    """Gives event streams the schema of one event, where Schemathesis looks for it.

    It reads ``schema`` of a stream as that of an event, and ``itemSchema``, which OpenAPI has from version 3.2 on.
    """
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation.get("responses", {}).values():
                for content in response.get("content", {}).values():
                    if "x-itemSchema" in content:
                        del content["schema"]
                        content["itemSchema"] = content.pop("x-itemSchema")


def _with_pictures(context: Any, body: Any) -> Any:
    """Texts where base64 belongs become pictures, so that what follows them is met too."""
    if isinstance(body, dict):
        body = _with_words(context, body)
        if isinstance(body.get("image"), str):
            body["image"] = _base64_for(body["image"])
        if isinstance(body.get("images"), list):
            body["images"] = [
                _base64_for(each) if isinstance(each, str) else _with_pictures(context, each) for each in body["images"]
            ]
    return body


def _with_words(context: Any, members: Any) -> Any:
    """Most options become words that are taken, the first two of them: an answer needs all of them to be right."""
    rng = Random(repr(members))
    if not isinstance(members, dict) or not rng.randrange(4):
        return members
    spare = [name for name in members if name in WORDS][_KEPT_OPTIONS:]
    kept = {name: value for name, value in members.items() if name not in spare}
    return {name: rng.choice(WORDS[name]) if name in WORDS else value for name, value in kept.items()}


def _base64_for(text: str) -> str:
    rng = Random(text)
    if not rng.randrange(5):
        return text
    return base64.b64encode(broken(rng.randrange(2**31)) if rng.randrange(_SHARE_GOOD) else GOOD).decode()


def configuration(seed: int, examples: int, phases: tuple[str, ...]) -> SchemathesisConfig:
    """How much is asked, and what is looked at."""
    rules = {"enabled": False, **{name: {"enabled": True} for name in CHECKS}}
    # Whether those are about an early deadline of the request's own, :func:`_note` looks at.
    rules["not_a_server_error"] = {"enabled": True, "expected-statuses": ["2xx", "3xx", "4xx", *LATE]}
    project = {
        "request-timeout": HANG_S,
        "continue-on-failure": True,
        "generation": {"max-examples": examples, "database": "none", "no-shrink": True},
        "checks": rules,
        # Whatever else of the protocol somebody asks for is told as not there, with 404, wrong methods too.
        "operations": [{"include-path-regex": "^/v2", "checks": {"unsupported_method": {"enabled": False}}}],
        "phases": {name: {"enabled": name in phases} for name in PHASES},
    }
    return SchemathesisConfig.from_dict({"seed": seed, "suppress-health-check": ["all"], **project})


def fuzz(url: str, part: Part, seed: int, examples: int, phases: tuple[str, ...] = PHASES) -> None:
    """Asks all that the document has, and notes each answer.

    Args:
        url: of the service.
        part: is told.
        seed: of what is made up.
        examples: for each operation, in each phase that makes them up.
        phases: of Schemathesis: the document's examples, each border of each type, made up inputs, and sequences along
            the links from answer to request.
    """
    _taught()
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=configuration(seed, examples, phases))
    with part.timed():
        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                _note(part, event)
            elif isinstance(event, events.NonFatalError):
                part.faults.append(f"{event.label}: {event.value!r}")
            elif isinstance(event, events.FatalError):
                raise event.exception


def _note(part: Part, event: events.ScenarioFinished) -> None:
    if event.phase is PhaseName.PROBING:
        return
    for case, made in event.recorder.interactions.items():
        if made.response is None:
            part.note("none", HANG_S)
            part.faults.append(f"{made.request.method} {made.request.uri}: no answer within {HANG_S:g} s")
            continue
        status = made.response.status_code
        part.note(str(status), made.response.elapsed)
        if status in LATE and not (_hurries(made.request) and LATE[status] in made.response.content):
            part.faults.append(f"{made.request.method} {made.request.uri}: {status}: {made.response.content[:300]!r}")
        part.faults += _failed(event, case)


def _hurries(request: Any) -> bool:
    return "deadline_ms" in request.uri or b"deadline_ms" in (request.body or b"")


def _failed(event: events.ScenarioFinished, case: str) -> Iterator[str]:
    for check in event.recorder.checks.get(case, ()):
        if check.status is Status.FAILURE and check.failure_info is not None:
            failure, repeat = check.failure_info.failure, check.failure_info.code_sample
            yield f"{event.label}: {check.name}: {failure.title}: {failure.message}\n{repeat[:2000]}"
