"""Random programs that change leaves, plain against compiled, bit for bit.

Leaves from outside and leaves that the program makes, their aliases (reshaped, transposed, detached), assignments,
gradients and steps along them, in any order: what a value shows must be what it showed in the plain function, at every
replay, and so must the leaves afterwards and their .grad.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg

Values = list[Any]


def assign(leaf: Any, value: Any) -> None:
    with wg.no_grad():
        leaf.assign(value)


def differentiate(values: Values, leaves: Values, a: Any, b: Any, i: int) -> None:
    able = [t for t in leaves if t.requires_grad]
    for t in able:
        t.grad = None
    sum(wg.sum(wg.sin(t * a.detach())) for t in able).backward()
    values.append(able[i % len(able)].grad)


def step(values: Values, leaves: Values, a: Any, b: Any, i: int) -> None:
    if able := [t for t in leaves if t.requires_grad and t.grad is not None]:
        assign(able[i % len(able)], able[i % len(able)] - 0.1 * able[i % len(able)].grad)


# f(values, leaves, one value, another, a number): most add a value, some change a leaf.
STEPS: list[Callable[[Values, Values, Any, Any, int], None]] = [
    lambda v, leaves, a, b, i: v.append(wg.tanh(a) + 0.1 * i),
    lambda v, leaves, a, b, i: v.append(a * b),
    lambda v, leaves, a, b, i: v.append(a.T),
    lambda v, leaves, a, b, i: v.append(a.detach()),
    lambda v, leaves, a, b, i: v.append(wg.tanh(a @ b.T)),
    lambda v, leaves, a, b, i: v.append(a.reshape(4).reshape(2, 2)),
    lambda v, leaves, a, b, i: v.append(wg.concat([a[:1], b[1:]])),
    lambda v, leaves, a, b, i: v.append(wg.sort(a, axis=1)),
    lambda v, leaves, a, b, i: v.append(wg.grad(lambda t: wg.sum(wg.tanh(t * b)))(a.detach())),
    lambda v, leaves, a, b, i: assign(leaves[i % len(leaves)], wg.tanh(a) + 0.5 * leaves[i % len(leaves)]),
    lambda v, leaves, a, b, i: assign(leaves[i % len(leaves)], a.T),
    lambda v, leaves, a, b, i: assign(leaves[i % len(leaves)], b),
    differentiate,
    step,
]


def write(seed: int) -> Callable[[Values, Any], Values]:
    """A program of leaves from outside and an argument."""
    pick = random.Random(seed)
    steps = [(pick.choice(STEPS), *(pick.randrange(100) for _ in range(3))) for _ in range(pick.randrange(3, 16))]
    made, shows_leaves = pick.randrange(4), pick.random() < 0.5

    def program(outside: Values, x: Any) -> Values:
        own = [wg.tensor(x * (0.5 + k), requires_grad=True) if k else wg.zeros((2, 2)) for k in range(made)]
        leaves = [*outside, *own]
        values = [x, *leaves]
        for change, a, b, i in steps:
            change(values, leaves, values[a % len(values)], values[b % len(values)], i)
        return values[-4:] + (leaves if shows_leaves else [])

    return program


def bits(t: Any) -> bytes:
    return b"" if t is None else t.detach().numpy().tobytes()


@pytest.mark.parametrize("block", range(10))
def test_random_changes_of_leaves_replay_their_bits(block: int) -> None:
    for seed in range(100 * block, 100 * block + 100):
        program, draw = write(seed), np.random.default_rng(seed)
        mine, others = (
            [wg.tensor(np.arange(4.0).reshape(2, 2) * 0.1 + k, requires_grad=k == 0) for k in range(1 + seed % 2)]
            for _ in range(2)
        )
        compiled = wg.compile(lambda x, program=program, others=others: program(others, x))
        for round in range(3):
            x = draw.standard_normal((2, 2))
            plain, replayed = program(mine, wg.tensor(x)), compiled(x)
            assert [*map(bits, plain)] == [*map(bits, replayed)], f"seed {seed}, round {round}: results"
            assert [*map(bits, mine)] == [*map(bits, others)], f"seed {seed}, round {round}: leaves"
            grads = [[bits(t.grad) for t in leaves] for leaves in (mine, others)]
            assert grads[0] == grads[1], f"seed {seed}, round {round}: gradients"
