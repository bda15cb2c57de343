"""The log of `fpan serve` and `fpan worker`."""

import logging

from fpan.serve.telemetry.settings import TelemetrySettings

_OWN = "fpan"
_OF_CALLERS = ("Invalid HTTP request received.", "ASGI callable returned without completing response.")
"""What uvicorn logs of requests that are no HTTP, answered with 400, and of answers that nobody has read in time."""


def set_up(settings: TelemetrySettings) -> None:
    """Logs to stderr: what this package says, from ``log_level`` on; of the libraries that it uses, warnings alone.

    Those know of no privacy: the client of HTTP has a line with the address of each picture that it fetches, and the
    decoder, at ``debug``, one for each EXIF tag with its value.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=max(level, logging.WARNING), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger(_OWN).setLevel(level)
    logging.getLogger("uvicorn.error").addFilter(_is_no_remark_on_a_request)


def _is_no_remark_on_a_request(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's is about itself. Its callers could fill the log with the others."""
    return record.msg not in _OF_CALLERS
