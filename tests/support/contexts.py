"""What requests carry, for tests of what reads it."""

from fpan.serve.api.context import RequestContext
from fpan.serve.api.deadline import Deadline
from fpan.serve.api.options import ParseOptions
from fpan.serve.pipeline.parser import FaceParser, Parsed


async def parse_within(parser: FaceParser, data: bytes, options: ParseOptions) -> Parsed:
    """Parses before the deadline of the options."""
    assert options.deadline_ms is not None
    context = RequestContext(deadline=Deadline.after(options.deadline_ms))
    async with context.deadline.limit():
        return await parser.parse(data, options, context)
