"""``footprint``: import time and threads in a fresh process, and installed size; alternating, medians."""

import statistics
from pathlib import Path

from . import child
from .tables import Table
from .timing import optional


def footprint(args):
    modules = [m for m in ("numpy", "wengert", "torch", "jax", "sklearn", "autograd", "mygrad") if optional(m)]
    times, threads = {m: [] for m in modules}, {}
    for _ in range(args.repeats):
        for m in modules:
            seconds, threads[m] = child.ask("imports", m)
            times[m].append(seconds)
    table = Table("footprint", "package", ["import, ms", "threads started", "installed, MB", "aim"])
    limit = statistics.median(times["numpy"]) + 0.025
    for m in modules:
        folder, spent = Path(optional(m).__file__).parent, statistics.median(times[m])
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc") / 1e6
        aims = [("≤ NumPy + 25 ms", spent <= limit), ("0 threads", threads[m] == 0)] if m == "wengert" else []
        table.add(m, [f"{spent * 1e3:.1f}", f"{threads[m]:.0f}", f"{size:.1f}"], aims)
    table.show()
