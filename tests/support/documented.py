"""Examples of the pages in `docs/`, as they stand there."""

from pathlib import Path

from tests.support.service import ROOT, Service

HTTP, GRPC = "http://127.0.0.1:8000", "127.0.0.1:50051"
"""Where the examples look for the service."""


def page(name: str) -> Path:
    """A page of `docs/` by its path without the ending, such as ``how-to/clients``."""
    return ROOT / "docs" / f"{name}.md"


def example(name: str, which: str) -> str:
    """The code between the marks ``begin: which`` and ``end: which``, without its fence."""
    text = page(name).read_text()
    marked = text.split(f"<!-- begin: {which} -->\n")[1].split(f"\n<!-- end: {which} -->")[0]
    fence, *code, last = marked.split("\n")
    assert (fence[:3], last) == ("```", "```")
    return "\n".join(code)


def aimed(code: str, service: Service) -> str:
    """An example that asks ``service``."""
    code = code.replace(HTTP, service.url).replace(GRPC, f"127.0.0.1:{service.grpc_port}")
    return code.replace(HTTP.removeprefix("http://"), service.url.removeprefix("http://"))
