"""Alternating repeats of contenders, and what this core can do at most: multiply-adds and copied bytes a second."""

import functools
import importlib
import json
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np

import wengert as wg

OURS = "wengert"
COMPILED = f"{OURS} compiled"
COPY = "a copy of the same bytes"  # what memory allows, beside contenders; not a peer
least = False  # whether to report the least time of many short stretches, for a machine that others use too


@functools.cache
def optional(name):
    """The module, or None if it is not installed. PyTorch comes with one thread."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    if name == "torch":
        module.set_num_threads(1)
    return module


def clock(f, calls=1):
    """Seconds for so many calls."""
    start = time.perf_counter()
    for _ in range(calls):
        f()
    return time.perf_counter() - start


def alternate(contenders, repeats, average=statistics.median):
    """Median seconds a call of each function, by name: all run once, then all again, so that drift meets everybody."""
    stretch, calls, rounds = 2e-4 if least else 5e-3, {}, {}
    for name, f in contenders.items():
        calls[name] = 1
        while calls[name] < 1_000_000 and (once := min(clock(f, calls[name]) for _ in range(3))) < stretch:
            calls[name] *= 2
        rounds[name] = repeats * 20 if least and once < 10 * stretch else repeats
    times = {name: [] for name in contenders}
    for i in range(max(rounds.values())):
        for name, f in contenders.items():
            if i < rounds[name]:
                times[name].append(clock(f, calls[name]) / calls[name])
    return {name: (min if least else average)(t) for name, t in times.items()}


def bound(f, *values):
    return lambda: f(*values)


@functools.cache
def peak(program, dtype="float32"):
    """(FLOP/s of fused multiply-adds, how it was measured).

    ``program`` is bench_kernels, which runs chains of them in registers. Without it, the best rate of any large product
    in any library here is a lower bound: a limit made from it is too generous by what that product leaves unused.
    """
    if program and Path(program).exists():
        which = f"fma peak/{wg._core.isa()}/{'f32' if dtype == 'float32' else 'f64'}"
        command = [program, f"--benchmark_filter=^{which}$", "--benchmark_format=json", "--benchmark_repetitions=5"]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return max(run["FLOP/s"] for run in result["benchmarks"] if run["run_type"] == "iteration"), "bench_kernels"
    rng, best = np.random.default_rng(0), 0.0
    for n in (256, 384, 512):
        a, b = rng.standard_normal((2, n, n)).astype(dtype)
        products = {OURS: bound(wg._core.matmul, wg.tensor(a), wg.tensor(b)), "NumPy": bound(np.matmul, a, b)}
        if torch := optional("torch"):
            products["PyTorch"] = bound(torch.matmul, torch.tensor(a), torch.tensor(b))
        best = max(best, 2 * n**3 / min(alternate(products, 9, min).values()))
    return best, "the best product of all, a lower bound"


@functools.cache
def copy_rate(nbytes=1 << 27):
    """Bytes a second, read and written, of copying one half of so much memory, more than caches hold, to the other."""
    source, target = np.ones(nbytes // 2, np.uint8), np.ones(nbytes // 2, np.uint8)
    return nbytes / alternate({"copy": lambda: np.copyto(target, source)}, 9, min)["copy"]
