"""The log of `fpan serve` and `fpan worker`."""

import logging

from fpan.serve.settings import Settings

_OWN = "fpan"


def set_up(settings: Settings) -> None:
    """Logs to stderr: what this package says, from ``log_level`` on; of the libraries that it uses, warnings alone.

    Those know of no privacy: the client of HTTP has a line with the address of each picture that it fetches, and the
    decoder, at ``debug``, one for each EXIF tag with its value.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=max(level, logging.WARNING), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger(_OWN).setLevel(level)
