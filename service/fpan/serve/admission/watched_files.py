"""Files that may be replaced while the server runs: keys, certificates."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

_log = logging.getLogger(__name__)
Contents = tuple[bytes, ...]


class WatchedFiles:
    """Passes on the contents of files, once at first and after every change; unusable contents are ignored.

    Contents are compared, not times: Kubernetes replaces a mounted Secret by changing a link, and a file may be written
    twice within the resolution of its time.
    """

    def __init__(
        self,
        what: str,
        paths: Sequence[Path],
        use: Callable[[Contents], None],
        poll_s: float,
        told: Callable[[bool], None] = lambda good: None,
    ) -> None:
        """Reads the files and passes their contents on.

        Args:
            what: name of the files in the log.
            paths: the files.
            use: called with the contents. It raises ``ValueError`` or ``OSError`` if they cannot be used.
            poll_s: interval between reads, in seconds.
            told: called after each change with whether the present contents are in use.

        Raises:
            OSError: a file cannot be read.
            ValueError: the contents cannot be used.
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
        """Returns the contents of the files."""
        return tuple(path.read_bytes() for path in self._paths)

    async def run(self) -> None:
        """Watches the files until it is cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Reads the files, and passes the contents on if they have changed."""
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
    """The error's message without names of files."""
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
