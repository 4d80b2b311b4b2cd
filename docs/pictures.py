"""Draws the pictures of lecture.md: ``python docs/pictures.py`` writes them beside this file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import wengert as wg


def worked_example() -> wg.Tape:
    x = wg.tensor(0.5, requires_grad=True)
    with wg.Tape() as tape:
        a = x**2
        b = wg.exp(a)
        c = a + b
        d = wg.sqrt(c)
        e = wg.cos(c)
        f = d + e
    f.backward()
    return tape


def perceptron() -> wg.Tape:
    rng = np.random.default_rng(0)
    X, y = wg.tensor(rng.standard_normal((8, 2))), wg.tensor(rng.standard_normal((8, 1)))
    W0, W1 = (wg.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((2, 3), (3, 1)))
    b0, b1 = (wg.tensor(np.zeros(n), requires_grad=True) for n in (3, 1))
    with wg.Tape() as tape:
        f1 = wg.tanh(X @ W0 + b0)
        f2 = f1 @ W1 + b1
        L = ((y - f2) ** 2).sum()
    L.backward()
    return tape


def network() -> wg.Tape:
    rng = np.random.default_rng(0)
    X, labels = wg.tensor(rng.standard_normal((32, 64)), dtype="float32"), wg.tensor(rng.integers(0, 10, 32))
    model = wg.nn.MLP([64, 32, 32, 10], activation="relu", seed=0)
    with wg.Tape() as tape:
        scores = model(X)
        L = wg.nn.cross_entropy(scores, labels)
    L.backward()
    return tape


PICTURES = {
    "worked-example.svg": lambda: worked_example().to_svg(),
    "perceptron.svg": lambda: perceptron().to_svg(),
    "network.svg": lambda: network().to_svg(fold=2),
}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (Path(__file__).parent / name).write_text(draw(), encoding="utf-8")
