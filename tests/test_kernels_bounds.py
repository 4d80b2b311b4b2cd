"""No kernel of any ISA reads or writes one byte outside of its operands: they stand beside inaccessible pages.

Lengths are odd and around multiples of a register, so that pointers at the end of a page have no alignment. A result is
also held against the same kernel's on ordinary memory, bit for bit. The matrix product has its own such test.
"""

import os

import numpy as np
import pytest
from guard import Guarded

from wengert import _core

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs mprotect"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

ISAS = _core.isas()
LENGTHS = [1, 3, 7, 8, 15, 17, 33, 131]
each_isa = pytest.mark.parametrize("isa", ISAS)
each_type = pytest.mark.parametrize("dtype", [np.float32, np.float64])
each_side = pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])


@pytest.fixture
def guard():
    guard = Guarded()
    yield guard
    guard.release()


def same(got, want):
    np.testing.assert_array_equal(got.view(f"u{got.itemsize}"), want.view(f"u{got.itemsize}"))


def maps():
    """The name of every elementwise kernel, and the number of its operands."""
    for op in _core.op_table:
        yield op["name"], op["arity"]
        for k in range(op["arity"] if op["differentiable"] else 0):
            yield f"{op['name']}_d{k}", op["arity"] + 2


@each_isa
@each_type
@each_side
def test_maps(guard, isa, dtype, at_end):
    """Operands within the usual, and in the tails, which some kernels compute apart."""
    rng = np.random.default_rng(0)
    for n in LENGTHS:
        x0 = rng.normal(size=(5, n)).astype(dtype) * np.array([1, 1, 1, 100, 1], dtype)[:, None]
        x = [guard.copy(row, at_end) for row in x0]
        one = guard.copy(np.ones(1, dtype), at_end)
        y = guard.array((n,), dtype, at_end)
        for name, arity in maps():
            for operands in (
                [x[k] for k in range(arity)],
                [x[3 - k] for k in range(min(arity, 4))],
                [one, *x[1:arity]],
            ):
                if len(operands) == arity and any(a.size == n for a in operands):
                    _core.kernel_map(isa, name, operands, y)
                    same(y, _core.kernel_map(isa, name, [a.copy() for a in operands]))
        in_place = guard.copy(x0[0], at_end)
        _core.kernel_map(isa, "tanh", [in_place], in_place)
        same(in_place, _core.kernel_map(isa, "tanh", [x0[0]]))


@each_isa
@each_type
@each_side
def test_results_that_go_past_the_caches(guard, isa, dtype, at_end):
    n = (1 << 24) // dtype().itemsize + 77
    x, y = guard.array((n,), dtype, at_end), guard.array((n,), dtype, at_end)
    x[...] = 3
    _core.kernel_map(isa, "add", [x, x], y)
    assert (y == 6).all()


@each_isa
@each_type
@each_side
def test_reductions(guard, isa, dtype, at_end):
    rng = np.random.default_rng(1)
    for n in [*LENGTHS, 2050]:
        for outer, inner in [(1, 1), (3, 1), (1, 7), (2, 33), (1, 129)]:
            x = guard.copy(rng.normal(size=(outer, n, inner)).astype(dtype), at_end)
            y = guard.array((outer, inner), dtype, at_end)
            for name in ("sum", "max", "min"):
                _core.kernel_reduce(isa, name, x, outer, n, inner, out=y)
                same(y, _core.kernel_reduce(isa, name, x.copy(), outer, n, inner))


@each_isa
@each_type
@each_side
def test_rows(guard, isa, dtype, at_end):
    rng = np.random.default_rng(2)
    for n in [*LENGTHS, 2050]:
        for rows in (1, 5, 17):
            x, g = (guard.copy(rng.normal(size=(rows, n)).astype(dtype), at_end) for _ in range(2))
            labels = guard.copy(rng.integers(0, n, rows), at_end)
            one, full = guard.array((rows,), dtype, at_end), guard.array((rows, n), dtype, at_end)
            for name, arrays, out in [
                ("softmax", [x], full),
                ("log_softmax", [x], full),
                ("logsumexp", [x], one),
                ("softmax_pullback", [x, g], full),
                ("log_softmax_pullback", [x, g], full),
                ("layer_norm", [x], full),
                ("layer_norm_pullback", [x, g], full),
                ("cross_entropy", [x, labels], one),
                ("cross_entropy_pullback", [x, labels, guard.copy(g[:, 0], at_end)], full),
            ]:
                _core.kernel_rows(isa, name, arrays, out=out)
                same(out, _core.kernel_rows(isa, name, [a.copy() for a in arrays]))


@each_isa
@each_type
@each_side
def test_moves(guard, isa, dtype, at_end):
    rng = np.random.default_rng(3)
    for rows, cols in [(1, 1), (3, 5), (7, 33), (33, 7), (65, 17), (130, 131)]:
        x = guard.copy(rng.normal(size=(2, rows, cols)).astype(dtype), at_end)
        y = guard.array((2, cols, rows), dtype, at_end)
        _core.kernel_move(isa, "transpose", x, None, y)
        same(y, np.ascontiguousarray(x.transpose(0, 2, 1)))
        index = guard.copy(rng.integers(0, rows, 11), at_end)
        index[:2] = 0, rows - 1
        y = guard.array((11, cols), dtype, at_end)
        _core.kernel_move(isa, "gather", x[1], index, y)
        same(y, x[1][index])
        total, want = guard.array((rows, cols), dtype, at_end), np.zeros((rows, cols), dtype)
        _core.kernel_move(isa, "scatter_add", y, index, total)
        np.add.at(want, index, y)
        same(total, want)


@each_isa
@each_type
@each_side
def test_optimizer_updates(guard, isa, dtype, at_end):
    rng = np.random.default_rng(4)
    for n in LENGTHS:
        for name, states in (("sgd", 1), ("adam", 2)):
            ordinary = [rng.random(n).astype(dtype) for _ in range(2 + states)]
            p, g, *state = (guard.copy(a, at_end) for a in ordinary)
            _core.kernel_update(isa, name, p, g, state)
            _core.kernel_update(isa, name, ordinary[0], ordinary[1], ordinary[2:])
            for got, want in zip([p, g, *state], ordinary, strict=True):
                same(got, want)
