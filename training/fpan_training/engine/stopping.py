"""Ctrl-C and SIGTERM while a run trains: the batch is finished and a checkpoint written before the process ends."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_WORKER_GRACE_S = 15
"""Seconds that a loader's process goes on after a SIGTERM, for the batch that its run still finishes."""


class TrainingStopped(KeyboardInterrupt):
    """A signal ended training once a checkpoint had been written. Its message is one line; empty in all processes of a
    run but the first.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number
        """Of the signal."""


class Interrupted(BaseException):
    """A signal came within :meth:`StopRequest.interrupting`."""


@dataclass
class StopRequest:
    """Whether a signal asks a run to end. Only the first signal asks; a second acts as it would have without this."""

    number: int = 0
    """Of the signal; 0: none came."""
    _interrupting: bool = False
    _before: dict[int, Any] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def listening(cls) -> Iterator["StopRequest"]:
        """A block in which SIGINT and SIGTERM ask. A SIGINT that is ignored, as in the background of a shell, stays so.

        Outside the main thread Python handles no signals, and nothing is changed.
        """
        request = cls()
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    request._before[number] = signal.signal(number, request._handle)
        try:
            yield request
        finally:
            request._restore()

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """A block that a signal ends at once, also one that came before it, with :class:`Interrupted`."""
        self._interrupting = True
        try:
            if self.number:
                raise Interrupted
            yield
        finally:
            self._interrupting = False

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.number = number
        self._restore()
        if self._interrupting:
            raise Interrupted

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()


def outlive_signals(_: int) -> None:
    """In a loader's process (``worker_init_fn``): it ends with its loader, so that a signal to all processes of a run,
    as a terminal and torchrun send it, does not take the next batch away from a run that finishes its own.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not ignored: Python itself ends loaders by this signal where a run failed, and waits for them.
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_WORKER_GRACE_S))
