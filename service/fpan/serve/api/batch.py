"""Several pictures, each with its own answer or its own problem: what batches and jobs are made of."""

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
    """What a request carries."""

    data: bytes
    """The file of the picture; empty where it is yet to be fetched."""
    options: dict[str, object] = field(default_factory=dict)
    """Members of the query (words) and of the JSON body (values), ``image`` and ``url`` left out."""
    url: str | None = None
    """Where the picture is, in the place of its bytes."""


_OK = 200


class Parse(Protocol):
    """Parses one picture of several."""

    async def __call__(self, picture: Upload, identity: str) -> bytes:
        """The JSON answer, as ``/v1/parse`` gives it.

        Args:
            picture: with all options that count for it.
            identity: of the request.

        Raises:
            GatewayError: why there is none.
        """
        ...


def check_size(picture: Upload, max_bytes: int) -> None:
    """Refuses what is too large for one picture.

    Raises:
        TooLarge: it is.
    """
    if len(picture.data) > max_bytes:
        raise TooLarge(f"the picture has {len(picture.data)} bytes; this server takes at most {max_bytes}")


def read_options(members: Mapping[str, object]) -> ParseOptions:
    """Options whose answer is JSON.

    Raises:
        GatewayError: they are wrong.
    """
    options = ParseOptions.read(members)
    return replace(options, output=options.output or ("rle",))


async def entry(parse: Parse, index: int, picture: Upload, identity: str) -> bytes:
    """What became of one picture: ``{index, status, answer}``, or ``{index, status, problem}``, as JSON."""
    try:
        return _entry(index, _OK, "answer", await parse(picture, identity))
    except GatewayError as error:
        return problem_entry(index, error, identity)
    except Exception as error:
        return problem_entry(index, broken(error, identity), identity)


def problem_entry(index: int, error: GatewayError, identity: str) -> bytes:
    """The entry of a picture that has no answer."""
    return _entry(index, error.status, "problem", json.dumps(problem_of(error, identity), ensure_ascii=False).encode())


def _entry(index: int, status: int, member: str, body: bytes) -> bytes:
    return b'{"index":%d,"status":%d,"%b":%b}' % (index, status, member.encode(), body)


async def entries(parse: Parse, pictures: Sequence[Upload], identity: str, at_once: int) -> AsyncGenerator[bytes, None]:
    """The entries of pictures in their order, each as soon as it and those before it are there.

    Closed, or cancelled, it drops what is under way.

    Args:
        parse: parses each.
        pictures: with all options that count for each.
        identity: of the request.
        at_once: how many are under way at the same time.
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
