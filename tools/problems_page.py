"""`python -m tools.problems_page` makes docs/reference/problems.md from the tree of errors; a test compares the two."""

import inspect
from collections.abc import Iterator
from pathlib import Path

from fpan.serve.api.errors import PROBLEM_BASE, GatewayError, every_error

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "problems.md"
_HEAD = """# Problems

<!-- Made by `python -m tools.problems_page` from service/fpan/serve/api/errors.py: change the texts there. -->

Every error is answered as JSON of the type `application/problem+json` (RFC 9457):

| member | what it is |
|---|---|
| `type` | what went wrong: one of the URIs below. They do not change, so that programs can tell errors apart by them |
| `title` | the same for people, the same for each `type` |
| `status` | the HTTP status |
| `detail` | what went wrong this time, for people. Its wording may change |
| `request_id` | the id of the request, which is also in the header `X-Request-Id` and in the server's log |

Where a later try may work, the header `Retry-After` says after how many seconds. A problem within an answer, such as
that of one picture of a batch, has the member `retry_after_s` instead.

In gRPC the same error is a status with the code below. Its details hold an `ErrorInfo` (domain `mask-fpan`) whose
`reason` is the last word of the type in capitals, such as `UNSUPPORTED_IMAGE`, and, where a later try may work, a
`RetryInfo`. Below `/v2` errors are `{"error": "..."}`, as the Open Inference Protocol has them, with the same statuses.

Errors of HTTP itself that are not listed have a type too, made of their names: a wrong method is
`urn:mask-fpan:problem:method-not-allowed`, with the status 405 and the methods that are right in the header `Allow`.

| type | status | gRPC code | title | `Retry-After` |
|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    errors = sorted(every_error(), key=lambda error: (error.status, error.slug))
    rows = "\n".join(_row(error) for error in errors)
    return f"{_HEAD}{rows}\n" + "".join(f"\n{section}" for section in map(_section, errors))


def parts(error: type[GatewayError]) -> list[str]:
    """The paragraphs of an error's text, each in one line: what it means, what to do."""
    return [" ".join(part.split()) for part in inspect.cleandoc(error.__doc__ or "").split("\n\n")]


def _row(error: type[GatewayError]) -> str:
    again = "yes" if error.retry_after_s is not None else ""
    kind = f"[`{PROBLEM_BASE}{error.slug}`](#{error.slug})"
    return f"| {kind} | {error.status} | `{error.grpc_code}` | {error.title} | {again} |"


def _section(error: type[GatewayError]) -> str:
    meaning, advice = parts(error)[:2]
    return "\n".join((f"## {error.slug}", "", *_wrapped(meaning), "", *_wrapped(f"**What to do.** {advice}"), ""))


def _wrapped(text: str, width: int = 120) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
