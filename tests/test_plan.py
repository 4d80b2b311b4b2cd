"""The planner's passes, each by itself: a program in, a program out, as text; and a planner that stays linear."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import _core


def text(f: Callable[..., Any], shapes: Sequence[tuple[int, ...]], *passes: str) -> str:
    """The code of f on zeros of these shapes after the passes, one instruction a line, without the dtype."""
    recorded = _core.plan_text(f, [wg.zeros(s) for s in shapes], passes)
    return recorded.replace("  float64", " ")


def code(block: str) -> str:
    return "".join(line.strip() + "\n" for line in block.strip().splitlines())


def test_read() -> None:
    w = wg.tensor([1.0, 2.0], requires_grad=True)
    assert code(text(lambda x: wg.sum(x * w).reshape((1, 1)), [(3, 2)])) == code("""
        %2 = multiply(argument0, leaf1) (3, 2)
        %3 = sum(%2) ()
        return %3 as (1, 1)
    """)


def test_read_knows_what_the_recording_alone_knows() -> None:
    outside = wg.tensor([1.0, 2.0])

    def f(x: Any) -> Any:
        inside, changed = wg.asarray(np.ones(2)), wg.zeros(2)
        changed.assign(x)
        return x * inside + outside * changed

    assert code(text(f, [(2,)])) == code("""
        assign(local1, constant2)
        assign(local1, argument0)
        %4 = multiply(argument0, constant3) (2,)
        %6 = multiply(leaf5, local1) (2,)
        %7 = add(%4, %6) (2,)
        return %7
    """)


def test_copy_written_aliases() -> None:
    w = wg.tensor([1.0, 2.0], requires_grad=True)

    def f(x: Any) -> Any:
        before = w.reshape((2, 1))
        w.assign(x)
        return before, w.reshape((2, 1))

    assert code(text(f, [(2,)], "copy_written_aliases")) == code("""
        %4 = copy(leaf1 as (2, 1)) (2, 1)
        assign(leaf1, argument0)
        return %4
        return leaf1 as (2, 1)
    """)


def test_fold_constants() -> None:
    f = lambda x: x * wg.exp(wg.zeros(2))  # noqa: E731
    assert code(text(f, [(2,)], "fold_constants")) == code("""
        %3 = multiply(argument0, constant2) (2,)
        return %3
    """)


def test_merge_equal() -> None:
    w = wg.tensor([1.0, 2.0], requires_grad=True)

    def f(x: Any) -> Any:
        a, b = wg.exp(w), wg.exp(w)
        w.assign(x)
        return a + b, wg.exp(w), wg.sum(x.reshape((1, 2)), axis=0), wg.sum(x.reshape((1, 2)), axis=0)

    assert code(text(f, [(2,)], "merge_equal")) == code("""
        %2 = exp(leaf1) (2,)
        assign(leaf1, argument0)
        %4 = add(%2, %2) (2,)
        %5 = exp(leaf1) (2,)
        %7 = sum(argument0 as (1, 2)) (2,)
        return %4
        return %5
        return %7
        return %7
    """)


def test_drop_dead() -> None:
    def f(x: Any) -> Any:
        wg.tanh(wg.exp(x))
        return x * x

    assert code(text(f, [(2,)], "drop_dead")) == code("""
        %3 = multiply(argument0, argument0) (2,)
        return %3
    """)


@pytest.mark.parametrize(
    ("f", "folded"),
    [
        (lambda x, w, b: wg.tanh(x @ w + b), "%5 = matmul(argument0, argument1) + argument2 then tanh (4, 2)"),
        (lambda x, w, b: x @ w + b, "%4 = matmul(argument0, argument1) + argument2 (4, 2)"),
        (lambda x, w, b: wg.exp(x @ w), "%4 = matmul(argument0, argument1) then exp (4, 2)"),
    ],
)
def test_fold_epilogues(f: Callable[..., Any], folded: str) -> None:
    assert code(text(f, [(4, 3), (3, 2), (2,)], "fold_epilogues")).splitlines()[0] == folded


def test_an_epilogue_is_not_folded_where_its_product_is_read_twice() -> None:
    assert "then" not in text(lambda x, w: (z := x @ w, wg.tanh(z)), [(4, 3), (3, 2)], "fold_epilogues")


def test_give_outputs() -> None:
    def f(x: Any) -> Any:
        y = wg.exp(x)
        return y, y, x

    assert code(text(f, [(2,)], "give_outputs")) == code("""
        %1 = exp(argument0) (2,)
        %2 = copy(%1) (2,)
        %3 = copy(argument0) (2,)
        return %1
        return %1
        return argument0
    """)


def test_strips_and_places() -> None:
    def f(x: Any) -> Any:
        for _ in range(2):
            x = wg.exp(wg.softmax(x) * x)
        return wg.sum(x)

    assert code(text(f, [(3, 5)], "give_outputs", "places")) == code("""
        %1 = softmax(argument0) (3, 5)  at 0
        strip
        %2 = multiply(%1, argument0) (3, 5)
        %3 = exp(%2) (3, 5)  at 0
        %4 = softmax(%3) (3, 5)  at 128
        strip
        %5 = multiply(%4, %3) (3, 5)
        %6 = exp(%5) (3, 5)  at 0
        %7 = sum(%6) ()
    """)


def test_an_unknown_pass_is_refused() -> None:
    with pytest.raises(ValueError, match="no pass is called tidy"):
        text(wg.exp, [(2,)], "tidy")


def tanh_chain(n: int) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        for _ in range(n):
            x = wg.tanh(x)
        return x

    return f


def products(n: int) -> Callable[[Any], Any]:
    w = wg.tensor(np.eye(3))

    def f(x: Any) -> Any:
        for _ in range(n // 2):
            x = wg.tanh(x @ w)
        return x

    return f


def parts(n: int) -> Callable[[Any], Any]:
    return lambda x: wg.sum(wg.stack([wg.sum(x[i % 3] * x[i % 2]) for i in range(n // 4)]))


def trained(n: int) -> Callable[[Any], Any]:
    w = wg.tensor(np.eye(3), requires_grad=True)

    def f(x: Any) -> Any:
        for _ in range(n // 8):
            with wg.no_grad():
                w.assign(w - 0.01 * (x @ w))
            x = wg.tanh(x + w.reshape((3, 3)))
        return x

    return f


@pytest.mark.parametrize("program", [tanh_chain, products, parts, trained])
def test_planning_is_linear(program: Callable[[int], Callable[[Any], Any]]) -> None:
    """A program ten times as long plans in about ten times the time: a quadratic pass would take a hundred."""

    def seconds(n: int) -> float:
        times = []
        for _ in range(3):
            f = wg.compile(program(n))
            start = time.process_time()
            f(np.ones((3, 3)))
            times.append(time.process_time() - start)
        return min(times)

    seconds(1000)
    assert seconds(40_000) < 25 * seconds(4_000)
