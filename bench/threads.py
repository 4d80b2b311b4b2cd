"""Two threads beside one, in turn and in one process: ``python bench/threads.py [word ...]`` for the cases so named.

The best of many short runs counts, for the second core must be free at the time. A second thread may bring nothing
(small sizes, or what memory limits), but it must not cost anything.
"""

import sys
import time
from collections.abc import Callable, Iterator

import fair
import numpy as np

import wengert as wg

RNG = np.random.default_rng(0)


def array(*shape: int) -> wg.Tensor:
    return wg.tensor(RNG.standard_normal(shape).astype(np.float32))


def cases() -> Iterator[tuple[str, Callable[[], object]]]:
    for n in (1_000, 10_000, 40_000, 70_000, 140_000, 300_000, 1_000_000, 10_000_000):
        x, y = array(n), array(n)
        yield f"add {n}", lambda x=x, y=y: x + y
        yield f"relu {n}", lambda x=x: wg.relu(x)
        yield f"tanh {n}", lambda x=x: wg.tanh(x)
    for rows, columns in ((100, 100), (1_000, 64), (1_000, 1_000), (100_000, 64), (64, 100_000)):
        x, row, at = array(rows, columns), array(columns), wg.asarray(RNG.permutation(rows))
        shape = f"{rows}x{columns}"
        yield f"column sums {shape}", lambda x=x: wg.sum(x, axis=0)
        yield f"column max {shape}", lambda x=x: wg.max(x, axis=0)
        yield f"row sums {shape}", lambda x=x: wg.sum(x, axis=1)
        yield f"sum {shape}", lambda x=x: wg.sum(x)
        yield f"softmax {shape}", lambda x=x: wg.softmax(x)
        yield f"add row {shape}", lambda x=x, row=row: x + row
        yield f"gather {shape}", lambda x=x, at=at: x[at]
    for m, k, n in ((64, 64, 64), (160, 160, 160), (512, 512, 512), (128, 784, 256), (256, 256, 10), (1, 1024, 1024)):
        a, b = array(m, k), array(k, n)
        yield f"matmul {m}x{k}x{n}", lambda a=a, b=b: a @ b
    for batch, m in ((64, 16), (1_000, 16), (1_000, 32), (64, 64), (8, 128), (16, 200)):
        a, b = array(batch, m, m), array(batch, m, m)
        yield f"matmul {batch} of {m}x{m}", lambda a=a, b=b: a @ b
    for n in (1_000, 40_000, 300_000, 3_000_000):
        p = wg.tensor(np.ones(n, np.float32), requires_grad=True)
        p.grad = array(n)
        yield f"adam {n}", wg.optim.Adam([p]).step


def seconds(f: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        f()
    return (time.perf_counter() - start) / times


def main(words: list[str]) -> None:
    print(*fair.conditions(), sep="\n")
    print(f"{'case':28s} {'1 thread, us':>12s} {'2 threads':>10s} {'ratio':>6s}")
    for name, f in cases():
        if words and not any(w in name for w in words):
            continue
        times = max(1, int(1e-3 / min(seconds(f, 1) for _ in range(5))))
        best = {1: 1e9, 2: 1e9}
        end = time.perf_counter() + 0.4
        while time.perf_counter() < end:
            for n in best:
                with wg.threads(n):
                    best[n] = min(best[n], seconds(f, times))
        print(f"{name:28s} {1e6 * best[1]:12.1f} {1e6 * best[2]:10.1f} {best[1] / best[2]:6.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
