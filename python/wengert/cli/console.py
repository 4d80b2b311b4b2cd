"""Between the command line and the terminal: output that may fail, and signals that may come at any time.

What a run has learned matters more than what it says: a reader that leaves, a full disk behind a redirection, a
terminal without accents or a second Ctrl-C cost words and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
from types import FrameType
from typing import Any, TextIO


class Output:
    """A stream that does not raise: after a failure it is silent and remembers the reason.

    Letters that its encoding lacks are written as escapes.
    """

    def __init__(self, stream: TextIO | None):
        self.stream = stream or open(os.devnull, "w")  # noqa: SIM115 - for as long as the program runs
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        encoding = self.stream.encoding or "utf-8"
        self._try(lambda: self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding)))
        return len(text)

    def write_data(self, content: bytes) -> None:
        """What another program may read: the bytes as they are, whatever the terminal's encoding."""
        self.flush()
        self._try(lambda: self.stream.buffer.write(content))
        self.flush()

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, action: Any) -> None:
        if self.failure is not None:
            return
        try:
            action()
        except OSError as error:
            self.failure = error
            with contextlib.suppress(OSError):  # what is buffered goes nowhere, not into an error at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def was_lost(self) -> bool:
        """Whether somebody misses something; a reader that closed its end has seen enough."""
        return self.failure is not None and self.failure.errno != errno.EPIPE

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def open_standard_files() -> None:
    """The null device in the place of standard streams that are closed, which the next file opened would get."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the least free number


class Signals:
    """Ctrl-C and SIGTERM. The first raises KeyboardInterrupt if that is welcome; the others are only counted.

    Signals that the caller has told the program to ignore stay ignored.
    """

    HANDLED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: int | None = None
        self.welcome = True
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in self.HANDLED:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self.before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        if self.welcome:
            self.welcome = False
            raise KeyboardInterrupt

    @property
    def exit_code(self) -> int:
        """As shells give it for a program that a signal ended; Ctrl-C if nobody knows."""
        return 128 + (self.received or signal.SIGINT)
