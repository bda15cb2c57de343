"""Files that others exchange while this runs: keys, certificates."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

_log = logging.getLogger(__name__)
Contents = tuple[bytes, ...]


class WatchedFiles:
    """Hands on what is in some files, at first and whenever it has changed; what is of no use changes nothing.

    The contents are compared, not times: a mounted Secret is exchanged by turning a link, and a file may be written
    twice within a clock's tick.
    """

    def __init__(
        self,
        what: str,
        paths: Sequence[Path],
        use: Callable[[Contents], None],
        poll_s: float,
        told: Callable[[bool], None] = lambda good: None,
    ) -> None:
        """Reads them and hands them on.

        Args:
            what: names them in the log.
            paths: the files.
            use: takes the contents. A ``ValueError`` or ``OSError`` of its says that they are of no use, and why.
            poll_s: how often they are looked at, in seconds.
            told: hears after each change whether the files of now are those in use.

        Raises:
            OSError: a file cannot be read.
            ValueError: they are of no use.
        """
        self._what = what
        self._paths = tuple(paths)
        self._use = use
        self._poll_s = poll_s
        self._told = told
        self._seen: Contents | str = self.read()
        use(self._seen)
        told(True)

    def read(self) -> Contents:
        """What is in the files."""
        return tuple(path.read_bytes() for path in self._paths)

    async def run(self) -> None:
        """Follows them until it is cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Hands on what has changed since the last look."""
        try:
            now: Contents | str = self.read()
        except OSError as error:
            now = _reason(error)
        if now == self._seen:
            return
        self._seen = now
        try:
            if not isinstance(now, str):
                self._use(now)
                _log.info("the %s has been read again", self._what)
                self._told(True)
                return
            reason = now
        except (OSError, ValueError) as error:
            reason = _reason(error)
        _log.error("the %s cannot be used, what was there before stays: %s", self._what, reason)
        self._told(False)


def _reason(error: OSError | ValueError) -> str:
    """Without names of files."""
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
