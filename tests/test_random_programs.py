"""Random programs, plain against compiled, bit for bit.

A program is a list of steps on arrays of odd sizes: slices, joins, pads, sorts, broadcasts, reductions, products,
elementwise operations, leaves that are changed in place, and gradients of all that. It runs plainly and compiled, three
times on other values, from the same state; results and state must be the same to the last bit.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg

SIZES = (1, 2, 3, 5, 7, 8, 9, 11, 16, 17, 31, 33, 64, 65)

UNARY = [
    "tanh",
    "sigmoid",
    "relu",
    "gelu",
    "silu",
    "softplus",
    "sin",
    "cos",
    "square",
    "negative",
    "abs",
    "leaky_relu",
    "erf",
    "arctan",
]
BINARY = ["add", "subtract", "multiply", "maximum", "minimum", "hypot", "arctan2"]
REDUCTIONS = ["sum", "mean", "max", "min", "logsumexp", "std", "var"]


class Writer:
    """Draws a program step by step, on values whose shapes it knows from running it once."""

    def __init__(self, seed: int):
        self.pick = random.Random(seed)
        self.draw = np.random.default_rng(seed)
        self.dtype = self.pick.choice(["float32", "float64"])

    def shape(self) -> tuple[int, ...]:
        return tuple(self.pick.choice(SIZES[:9]) for _ in range(self.pick.choice([0, 1, 1, 2, 2, 2, 3])))

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.draw.standard_normal(shape).astype(self.dtype)

    def step(self, shapes: list[tuple[int, ...]]) -> Callable[[list[Any]], Any]:
        """A function from the values so far to the next one."""
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("do_")]
        while (made := self.pick.choice(kinds)(shapes)) is None:
            pass
        return made

    def any_of(self, shapes: list[tuple[int, ...]], ndim: int = 0) -> int | None:
        """A value with that many axes at least, and some elements; the latest first."""
        able = [i for i, s in enumerate(shapes) if len(s) >= ndim]
        return self.pick.choice(able[-6:] if self.pick.random() < 0.6 else able) if able else None

    def do_unary(self, shapes: Any) -> Any:
        i, f = self.any_of(shapes), getattr(wg, self.pick.choice(UNARY))
        return lambda v: f(v[i])

    def do_number(self, shapes: Any) -> Any:
        i, k = self.any_of(shapes), round(self.pick.uniform(-1, 1), 2)
        return self.pick.choice(
            [lambda v: v[i] * k, lambda v: k - v[i], lambda v: v[i] + k, lambda v: wg.where(v[i] > k, v[i], k)]
        )

    def do_binary(self, shapes: Any) -> Any:
        i, f = self.any_of(shapes), getattr(wg, self.pick.choice(BINARY))
        fits = [j for j, s in enumerate(shapes) if s == shapes[i]]
        j = self.pick.choice(fits)
        return lambda v: f(v[i], v[j])

    def do_broadcast(self, shapes: Any) -> Any:
        i = self.any_of(shapes)
        s = shapes[i]
        row = tuple(d if self.pick.random() < 0.5 else 1 for d in s)[self.pick.randrange(len(s) + 1) :]
        a, f = self.array(row), getattr(wg, self.pick.choice(BINARY))
        return lambda v: f(v[i], wg.asarray(a))

    def do_own_row(self, shapes: Any) -> Any:
        i = self.any_of(shapes, 1)
        return None if i is None else self.pick.choice([lambda v: v[i] * v[i][:1], lambda v: v[i] + v[i][..., -1:]])

    def do_slice(self, shapes: Any) -> Any:
        i = self.any_of(shapes, 1)
        if i is None:
            return None
        key = []
        for d in shapes[i]:
            start = self.pick.randrange(d)
            key.append(
                self.pick.choice(
                    [slice(None), slice(start, None), slice(0, start + 1), slice(None, None, -1), slice(start, d, 2)]
                )
                if self.pick.random() < 0.8
                else start
            )
        return lambda v: v[i][tuple(key)]

    def do_concat(self, shapes: Any) -> Any:
        i = self.any_of(shapes, 1)
        if i is None:
            return None
        axis = self.pick.randrange(len(shapes[i]))
        more = self.array(tuple(self.pick.choice(SIZES[:8]) if k == axis else d for k, d in enumerate(shapes[i])))
        fits = [j for j, s in enumerate(shapes) if s == shapes[i]]
        j = self.pick.choice(fits)
        return lambda v: wg.concat([v[i], wg.asarray(more), v[j]], axis=axis)

    def do_stack(self, shapes: Any) -> Any:
        i = self.any_of(shapes)
        return None if len(shapes[i]) > 2 else lambda v: wg.stack([v[i], v[i] * 0.5], axis=0)

    def do_pad(self, shapes: Any) -> Any:
        i = self.any_of(shapes, 1)
        return None if i is None else lambda v: wg.pad(v[i], 1)

    def do_sort(self, shapes: Any) -> Any:
        i = self.any_of(shapes, 1)
        return None if i is None else lambda v: wg.sort(v[i])

    def do_shape(self, shapes: Any) -> Any:
        i = self.any_of(shapes, 1)
        if i is None:
            return None
        if len(shapes[i]) == 1:
            return lambda v: wg.reshape(v[i], (-1, 1))
        return self.pick.choice([lambda v: wg.reshape(v[i], (-1,)), lambda v: v[i].T, lambda v: wg.flip(v[i])])

    def do_reduce(self, shapes: Any) -> Any:
        i = self.any_of(shapes, 1)
        if i is None or shapes[i][-1] < 2:
            return None
        f, axis = getattr(wg, self.pick.choice(REDUCTIONS)), self.pick.randrange(-1, len(shapes[i]) - 1)
        keep = self.pick.random() < 0.5
        return lambda v: f(v[i], axis=axis, keepdims=keep)

    def do_rows(self, shapes: Any) -> Any:
        i, f = self.any_of(shapes, 1), self.pick.choice([wg.softmax, wg.log_softmax, wg.cumsum])
        return None if i is None else lambda v: f(v[i], axis=-1)

    def do_product(self, shapes: Any) -> Any:
        i = self.any_of([s if len(s) == 2 else () for s in shapes], 2)
        if i is None:
            return None
        w, b = self.array((shapes[i][1], self.pick.choice(SIZES))), self.pick.choice([0.0, self.array((1,))])
        act = getattr(wg, self.pick.choice(UNARY))
        return self.pick.choice(
            [lambda v: v[i] @ w, lambda v: act(v[i] @ w + b), lambda v: wg.tanh(v[i] @ v[i].T), lambda v: v[i].T @ v[i]]
        )

    def do_gather(self, shapes: Any) -> Any:
        i = self.any_of(shapes, 1)
        if i is None:
            return None
        rows = self.draw.integers(0, shapes[i][0], self.pick.choice(SIZES[:8]))
        return lambda v: wg.take(v[i], rows, axis=0)

    def do_local_leaf(self, shapes: Any) -> Any:
        i = self.any_of(shapes)

        def leaf(v: list[Any]) -> Any:
            with wg.no_grad():
                t = wg.zeros(shapes[i], self.dtype)
                t.assign(v[i] * 0.5)
                t.assign(t + 1.0)
            return v[i] + t

        return leaf

    def do_detached(self, shapes: Any) -> Any:
        i = self.any_of(shapes)
        return lambda v: v[i] * wg.stop_gradient(v[i])


def write(seed: int) -> tuple[Callable[..., Any], Callable[[], tuple[np.ndarray, ...]], Callable[[], list[Any]]]:
    """A program of arguments and parameters, a maker of arguments, and a maker of parameters."""
    w = Writer(seed)
    argument_shapes = [w.shape() for _ in range(w.pick.randrange(1, 4))]
    parameter_shapes = [w.shape() for _ in range(w.pick.randrange(0, 3))]
    values: list[Any] = [wg.tensor(w.array(s)) for s in argument_shapes + parameter_shapes]
    steps: list[Callable[[list[Any]], Any]] = []
    for _ in range(w.pick.randrange(2, 26)):
        step = w.step([t.shape for t in values])
        made = step(values)
        if 0 < made.size < 20_000 and made.ndim < 4:
            steps.append(step)
            values.append(made)
    results = [w.pick.randrange(len(values)) for _ in range(w.pick.randrange(1, 5))]
    way = w.pick.choice(["values", "values", "grad", "backward", "train"])

    def run(arguments: Any, parameters: Any) -> list[Any]:
        v = [*arguments, *parameters]
        for step in steps:
            v.append(step(v))
        return [v[i] for i in results]

    def total(arguments: Any, parameters: Any) -> Any:
        return sum((wg.sum(wg.tanh(r)) for r in run(arguments, parameters)), wg.sum(wg.sin(arguments[0])))

    def program(parameters: list[Any], *arguments: Any) -> Any:
        if way == "values":
            return run(arguments, parameters)
        if way == "grad":
            return wg.value_and_grad(total)(list(arguments), parameters)
        for p in parameters:
            p.grad = None
        loss = total(arguments, parameters)
        if not loss.requires_grad:
            return loss
        loss.backward()
        if way == "backward":
            return [loss, *(p * 1.0 for p in parameters)]
        with wg.no_grad():
            before = [p.reshape((-1,)) for p in parameters]  # aliases, which show the values of now
            for p in parameters:
                if p.grad is not None:
                    p.assign(p - 0.1 * p.grad)
            return [
                loss,
                total(arguments, parameters),
                *before,
                *(b - p.reshape((-1,)) for b, p in zip(before, parameters, strict=True)),
            ]

    fresh = np.random.default_rng(seed)
    initial = [fresh.standard_normal(s).astype(w.dtype) for s in parameter_shapes]
    return (
        program,
        lambda: tuple(fresh.standard_normal(s).astype(w.dtype) for s in argument_shapes),
        lambda: [wg.tensor(a, requires_grad=True) for a in initial],
    )


def flat(tree: Any) -> list[Any]:
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in flat(part)]
    return [tree]


def bits(x: Any) -> bytes:
    a = x.detach().numpy()
    return np.where(np.isnan(a), np.nan, a).astype(a.dtype).tobytes()  # one NaN is as good as another


@pytest.mark.parametrize("block", range(20))
def test_random_programs_replay_their_bits(block: int) -> None:
    for seed in range(100 * block, 100 * block + 100):
        program, arguments, parameters = write(seed)
        mine, others = parameters(), parameters()
        compiled = wg.compile(lambda *a, program=program, others=others: program(others, *a))
        for round in range(3):
            given = arguments()
            plain = flat(program(mine, *map(wg.tensor, given)))
            replayed = flat(compiled(*given))
            for i, (a, b) in enumerate(zip(plain, replayed, strict=True)):
                assert bits(a) == bits(b), f"seed {seed}, round {round}, result {i}"
            for i, (p, q) in enumerate(zip(mine, others, strict=True)):
                assert bits(p) == bits(q), f"seed {seed}, round {round}, parameter {i}"
                assert (p.grad is None) == (q.grad is None)
                if p.grad is not None:
                    assert bits(p.grad) == bits(q.grad), f"seed {seed}, round {round}, gradient {i}"
