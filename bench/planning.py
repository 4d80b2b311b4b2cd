"""How the first call of a compiled function grows with the program, from 10^3 recorded operations to 10^6.

    python bench/planning.py [OPERATIONS ...]

The first call records the program, plans it and gives the results. It is compared with one plain run, which records too
where it differentiates. The aim is at most three times that, at any length: no pass over the program is quadratic.
"""

import os
import sys
import time

import fair

os.environ["WENGERT_NUM_THREADS"] = "1"

import numpy as np

import wengert as wg

AIM = 3.0


def tanh_chain(n):
    def f(x):
        for _ in range(n):
            x = wg.tanh(x)
        return x

    return f


def layers(n):
    w, b = wg.tensor(np.eye(8)), wg.tensor(np.ones(8))

    def f(x):
        for _ in range(n // 3):
            x = wg.tanh(x @ w + b)
        return x

    return f


def gradient(n):
    """Value and gradient of layers: about half of the operations are pullbacks."""
    return wg.value_and_grad(lambda x: wg.sum(layers(n // 2)(x)))


def lstm(n):
    """A cell of 8 units over a sequence, 14 operations a step."""
    rng = np.random.default_rng(0)
    w = wg.tensor(rng.standard_normal((16, 32)) * 0.2)

    def f(x):
        h = c = x * 0.0
        for _ in range(n // 14):
            z = wg.concat([x, h], axis=1) @ w
            i, o, u, g = z[:, :8], z[:, 8:16], z[:, 16:24], z[:, 24:]
            c = wg.sigmoid(i) * wg.tanh(u) + wg.sigmoid(g) * c
            h = wg.sigmoid(o) * wg.tanh(c)
        return h

    return f


def seconds(f, *args):
    start = time.process_time()
    f(*args)
    return time.process_time() - start


def main():
    print(*fair.conditions(), sep="\n")
    lengths = [int(float(a)) for a in sys.argv[1:]] or [1_000, 10_000, 100_000, 1_000_000]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 8))
    print(f"{'program':12} {'operations':>10} {'plain run':>10} {'first call':>11} {'ratio':>6} {'ns each':>8}")
    missed = 0
    for program in (tanh_chain, layers, gradient, lstm):
        for n in lengths:
            f, repeats = program(n), 3 if n < 1_000_000 else 1
            f(wg.tensor(x))
            plain = min(seconds(f, wg.tensor(x)) for _ in range(repeats))
            compiled = [wg.compile(f) for _ in range(repeats)]
            first = min(seconds(c, x) for c in compiled)
            recorded = compiled[0].stats()[0]["recorded"]
            missed += first > AIM * plain
            print(
                f"{program.__name__:12} {recorded:10,} {plain * 1e3:7.2f} ms {first * 1e3:8.2f} ms "
                f"{first / plain:5.2f}x {first / recorded * 1e9:8.0f}{'  MISSED' if first > AIM * plain else ''}",
                flush=True,
            )
    print(f"aim: at most {AIM:g} times a plain run; missed {missed} times")


if __name__ == "__main__":
    main()
