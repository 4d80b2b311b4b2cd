"""What is measured in a fresh process, memory, threads, imports: ``python -m race.child WHAT ARGUMENTS`` prints it."""

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def ask(what, *arguments):
    """The numbers that a fresh process prints."""
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-W", "ignore", "-m", "race.child", what, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    if result.returncode:
        sys.exit(f"{' '.join(command)}:\n{result.stderr}")
    return [float(x) for x in result.stdout.split()]


def resident(peak=False):
    """Bytes of this process in memory, now or at most since ``forget_peak``."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:" if peak else "VmRSS:"))
    return int(line.split()[1]) * 1024


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def memory(contender, index):
    """Bytes at most that making and running five steps takes beyond the library and the data."""
    from . import nets, timing

    net, make = nets.NETS[int(index)].fill(), nets.contenders(nets.NETS[int(index)])[contender]
    if module := {"PyTorch": "torch", "JAX jit": "jax"}.get(contender):
        timing.optional(module)
    before = resident()
    forget_peak()
    step = make(net)
    for _ in range(5):
        step()
    return [resident(peak=True) - before]


def threads(index, repeats, *cores):
    """Seconds a compiled step with one thread and with two, side by side on so many cores."""
    import wengert as wg

    from . import nets, timing

    os.sched_setaffinity(0, {int(c) for c in cores})
    step = nets.wengert_compiled(nets.NETS[int(index)].fill())

    def steps(n):
        def run():
            with wg.threads(n):
                step()

        return run

    times = timing.alternate({n: steps(n) for n in (1, 2)}, int(repeats))
    return [times[1], times[2]]


def tape(library):
    """Bytes a node of a recorded chain of tanh of one number."""
    from . import ops

    n, hold = 100_000, ops.TAPES[library]()
    hold(1000)
    before = resident()
    kept = hold(n)
    size = (resident() - before) / n
    del kept
    return [size]


def imports(module):
    """Seconds to import a module, and threads that this starts."""
    start = time.perf_counter()
    __import__(module)
    return [time.perf_counter() - start, len(os.listdir("/proc/self/task")) - 1]


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(*globals()[what](*arguments))
