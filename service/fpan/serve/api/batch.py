"""Requests with several pictures, each with its own answer or its own problem. Batches and jobs use this."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from fpan.serve.api.errors import GatewayError, TooLarge
from fpan.serve.api.options import ParseOptions
from fpan.serve.api.problem import broken, problem_of


@dataclass(frozen=True)
class Upload:
    """One picture of a request, and its options."""

    data: bytes
    """The picture's file; empty if it has not been fetched from :attr:`url` yet."""
    options: dict[str, object] = field(default_factory=dict)
    """Members of the query (strings) and of the JSON body (JSON values), without ``image`` and ``url``."""
    url: str | None = None
    """Address to fetch the picture from, if its bytes were not sent."""


_OK = 200


class Parse(Protocol):
    """Parses one picture of several."""

    async def __call__(self, picture: Upload, identity: str) -> bytes:
        """The JSON answer, as ``/v1/parse`` gives it.

        Args:
            picture: the picture, with every option that applies to it.
            identity: id of the request.

        Raises:
            GatewayError: the picture has no answer; the error says why.
        """
        ...


def check_size(picture: Upload, max_bytes: int) -> None:
    """Checks the size of a picture's file.

    Raises:
        TooLarge: the file has more than ``max_bytes`` bytes.
    """
    if len(picture.data) > max_bytes:
        raise TooLarge(f"the picture has {len(picture.data)} bytes; this server takes at most {max_bytes}")


def read_options(members: Mapping[str, object]) -> ParseOptions:
    """Reads options for an answer in JSON; its output is ``rle`` unless they name another.

    Raises:
        GatewayError: an option is unknown or has a wrong value.
    """
    options = ParseOptions.read(members)
    return replace(options, output=options.output or ("rle",))


async def entry(parse: Parse, index: int, picture: Upload, identity: str) -> bytes:
    """Parses one picture and returns ``{index, status, answer}`` or ``{index, status, problem}`` as JSON."""
    try:
        return _entry(index, _OK, "answer", await parse(picture, identity))
    except GatewayError as error:
        return problem_entry(index, error, identity)
    except Exception as error:
        return problem_entry(index, broken(error, identity), identity)


def problem_entry(index: int, error: GatewayError, identity: str) -> bytes:
    """Returns the entry of a picture that has no answer, as JSON."""
    return _entry(index, error.status, "problem", json.dumps(problem_of(error, identity), ensure_ascii=False).encode())


def _entry(index: int, status: int, member: str, body: bytes) -> bytes:
    return b'{"index":%d,"status":%d,"%b":%b}' % (index, status, member.encode(), body)


async def entries(parse: Parse, pictures: Sequence[Upload], identity: str, at_once: int) -> AsyncGenerator[bytes, None]:
    """Yields the entries of pictures in order, each as soon as it and all entries before it are ready.

    When the generator is closed or cancelled, it cancels the parses that are running.

    Args:
        parse: parses one picture.
        pictures: the pictures, each with every option that applies to it.
        identity: id of the request.
        at_once: largest number of parses that run at the same time.
    """
    places = asyncio.Semaphore(at_once)

    async def one(index: int, picture: Upload) -> bytes:
        async with places:
            return await entry(parse, index, picture, identity)

    tasks = [asyncio.create_task(one(index, picture)) for index, picture in enumerate(pictures)]
    try:
        for task in tasks:
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
