"""The cheap-gradient principle, measured: what value and gradient together cost, in units of the value alone.

    python bench/cheap_gradient.py                               prints the table
    python bench/cheap_gradient.py --write docs/cheap-gradient.md   puts it into the page

Processor time of one thread on one core, compiled and as Python calls it. Value and value-with-gradient run
alternately, so that a change of clock speed meets both, and the median of the ratios is reported. The aims are for
compiled programs: uncompiled, small ones measure the interpreter. Fails if an aim is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

for library in ("WENGERT", "OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import fair
import numpy as np

import wengert as wg

BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"


@dataclass
class Program:
    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    aim: float = 4.0
    argnums: int | tuple[int, ...] = 0


def worked_example(x: Any) -> Any:
    c = x**2 + wg.exp(x**2)
    return wg.sqrt(c) + wg.cos(c)


def perceptron(X: Any, y: Any, weights: list[Any]) -> Any:
    for W, b in weights[:-1]:
        X = wg.tanh(X @ W + b)
    W, b = weights[-1]
    return ((X @ W + b - y) ** 2).sum()


def logsumexp_chain(X: Any) -> Any:
    for _ in range(10):
        X = X - wg.logsumexp(X, axis=1, keepdims=True) * 0.5
    return X.sum()


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def sine_chain(x: Any) -> Any:
    for _ in range(20):
        x = wg.sin(x) * 1.1
    return x.sum()


def programs() -> list[Program]:
    rng = np.random.default_rng(0)

    def normal(*shape: int, dtype: str = "float64") -> wg.Tensor:
        return wg.tensor(rng.standard_normal(shape), dtype=dtype)

    def network(batch: int, *sizes: int) -> Program:
        weights = [(normal(n, m, dtype="float32") / n**0.5, normal(m, dtype="float32")) for n, m in pairwise(sizes)]
        X, y = normal(batch, sizes[0], dtype="float32"), normal(batch, sizes[-1], dtype="float32")
        name = f"perceptron {'-'.join(map(str, sizes))}, batch {batch}"
        return Program(name, perceptron, (X, y, weights), 2.6, 2)

    n = 200
    A, W, S, a, b = normal(n, n), normal(n, n), normal(n, n), normal(n), normal(n)
    large = wg.tensor(n * np.eye(n))
    return [
        Program("worked example, one number", worked_example, (wg.tensor(0.5),)),
        Program("worked example, 10⁵ numbers", lambda x: worked_example(x).sum(), (normal(100_000) * 0.1,)),
        network(32, 4, 64, 64, 2),
        network(64, 64, 64, 10),
        network(48, 40, 80, 80, 6),
        network(128, 784, 256, 10),
        network(256, 512, 512, 512, 10),
        Program("logsumexp chain, 256 × 100", logsumexp_chain, (normal(256, 100),)),
        Program("sine chain of 40 steps, 10⁴ numbers", sine_chain, (normal(10_000),)),
        Program("Rosenbrock, 10⁴ numbers", rosenbrock, (normal(10_000),)),
        Program(f"xᵀBx, n = {n}", lambda B: a @ B @ a, (S,)),
        Program(f"(x − As)ᵀW(x − As), n = {n}", lambda s: (a - A @ s) @ W @ (a - A @ s), (b,)),
        Program(f"tr(XᵀX S), n = {n}", lambda X: (X.T @ X * S).sum(), (A,)),
        Program(f"aᵀX⁻¹b, n = {n}", lambda X: a @ wg.linalg.inv(X) @ b, (A + large,)),
        Program(
            f"Gaussian log-likelihood, n = {n}",
            lambda X: wg.linalg.slogdet(X)[1] + a @ wg.linalg.solve(X, a),
            (A @ A.T + large,),
        ),
        Program(f"log det X, n = {n}", lambda X: wg.linalg.slogdet(X)[1], (A @ A.T + large,)),
    ]


def seconds(f: Callable[..., Any], args: tuple[Any, ...], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        f(*args)
    return (time.process_time() - start) / repeats


def measure(
    value: Callable[..., Any], both: Callable[..., Any], args: tuple[Any, ...], pairs: int, batch: float
) -> Any:
    """(seconds for the value, median of value-with-gradient over value); about ``batch`` seconds of values at once."""
    seconds(value, args, 3), seconds(both, args, 3)
    repeats = max(1, int(batch / seconds(value, args, 3)))
    values, ratios = [], []
    for _ in range(pairs):
        values.append(seconds(value, args, repeats))
        ratios.append(seconds(both, args, repeats) / values[-1])
    return statistics.median(values), statistics.median(ratios)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="a page to put the table into, between its two markers")
    parser.add_argument("--pairs", type=int, default=21)
    parser.add_argument("--batch", type=float, default=0.005, help="seconds of values to time at once")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(*fair.conditions(), sep="\n")
    lines = [
        "| program | value, µs | (value + gradient) / value | aim | not compiled: value, µs | ratio |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    missed = []
    for p in programs():
        both = wg.value_and_grad(p.f, p.argnums)
        value, ratio = measure(wg.compile(p.f), wg.compile(both), p.args, options.pairs, options.batch)
        eager, eager_ratio = measure(p.f, both, p.args, options.pairs, options.batch)
        lines.append(
            f"| {p.name} | {value * 1e6:.3g} | **{ratio:.2f}** | {p.aim:g} | {eager * 1e6:.3g} | {eager_ratio:.2f} |"
        )
        print(lines[-1], flush=True)
        if ratio > p.aim:
            missed.append(p.name)
    table = "\n".join(lines) + "\n"
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        options.write.write_text(before + BEGIN + table + END + rest.split(END)[1], encoding="utf-8")
    if missed:
        print("above the aim:", "; ".join(missed), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
