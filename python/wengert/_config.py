"""What this process runs on: threads and instruction sets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from wengert import _core
from wengert._version import __version__


def set_num_threads(n: int) -> None:
    """How many threads a kernel may use, in the whole process. Results do not depend on it, to the bit.

    At first it is WENGERT_NUM_THREADS, or else what CPU affinity and the container's quota allow.

    >>> import wengert as wg
    >>> n = wg.get_num_threads()
    >>> wg.set_num_threads(1)
    >>> wg.get_num_threads()
    1
    >>> wg.set_num_threads(n)
    """
    if n < 1:
        raise ValueError(f"set_num_threads: n must be at least 1, got {n}")
    _core.set_num_threads(n)


def get_num_threads() -> int:
    """How many threads a kernel called from this thread may use.

    >>> import wengert as wg
    >>> wg.get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Within it, kernels called from this thread use at most n threads.

    >>> import wengert as wg
    >>> with wg.threads(1):
    ...     wg.get_num_threads()
    1
    """
    if n < 1:
        raise ValueError(f"threads: n must be at least 1, got {n}")
    before = _core.exchange_thread_limit(n)
    try:
        yield
    finally:
        _core.exchange_thread_limit(before)


def show_config() -> None:
    """Prints the version, the instruction set in use and those available, threads and memory.

    >>> import wengert as wg
    >>> wg.show_config()  # doctest: +ELLIPSIS
    wengert ...
    instruction set   ...
    """
    live, cached, _ = _core.memory_use()
    print(f"wengert {__version__}")
    print(f"instruction set   {_core.isa()} (this CPU and build have {', '.join(_core.isas())}; WENGERT_ISA chooses)")
    print(f"threads           {_core.get_num_threads()} (WENGERT_NUM_THREADS, wg.set_num_threads)")
    print(f"array memory      {live / 2**20:.1f} MiB in use, {cached / 2**20:.1f} MiB kept for reuse")
