"""The transpose of a matrix is made when it is read: nobody can tell, but products, which read it as it lies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from side_by_side import in_threads

import wengert as wg
from wengert import _core

SHAPES = [(0, 3), (1, 1), (1, 5), (5, 1), (2, 3), (17, 5), (33, 65), (128, 40)]
TYPES = ["float32", "float64"]


def matrix(shape: tuple[int, int], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape).astype(dtype)


def readers() -> Iterator[tuple[str, Callable[[wg.Tensor], object]]]:
    """Everything that takes a matrix: each function of one and of two operands, and all the ways out."""
    for op in _core.op_table:
        function, arity = getattr(_core, op["name"]), op["arity"]
        yield op["name"], lambda t, f=function, n=arity: f(*[t] * n)
    yield from {
        "sum of rows": lambda t: t.sum(axis=1),
        "max of columns": lambda t: t.max(axis=0),
        "softmax": lambda t: wg.softmax(t),
        "logsumexp": lambda t: wg.logsumexp(t, axis=0),
        "reshape": lambda t: t.reshape(-1),
        "detach": lambda t: t.detach(),
        "detached and turned": lambda t: t.detach().T,
        "asarray": lambda t: wg.asarray(t),
        "tensor": lambda t: wg.tensor(t),
        "astype": lambda t: t.astype("float32"),
        "row": lambda t: t[0],
        "rows": lambda t: t[np.array([0, 0, 1])],
        "stack": lambda t: wg.stack([t, t]),
        "concat": lambda t: wg.concat([t, t], axis=1),
        "numpy": lambda t: t.numpy(),
        "array": lambda t: np.asarray(t),
        "repr": lambda t: np.array(list(repr(t))),
        "tolist": lambda t: t.tolist(),
        "NumPy's function": lambda t: np.sin(t),
        "as a constant of a compiled function": lambda t: wg.compile(lambda x: x + t)(np.ones(t.shape)),
        "as an argument of one": lambda t: wg.compile(lambda x: x * 2.0)(t),
        "as its result": lambda t: wg.compile(lambda x: x.T)(t.T),
        "assigned": assigned,
        "gradient": with_gradient,
    }.items()


def assigned(t: wg.Tensor) -> wg.Tensor:
    p = wg.tensor(np.zeros(t.shape), requires_grad=True)
    p.assign(t)
    return p


def with_gradient(t: wg.Tensor) -> wg.Tensor | None:
    p = wg.tensor(np.ones(t.shape), requires_grad=True)
    p.grad = t
    (p * 3.0).sum().backward()
    return p.grad


@pytest.mark.parametrize("name, read", list(readers()), ids=[name for name, _ in readers()])
def test_who_reads_a_transpose_finds_it(name: str, read: Callable[[wg.Tensor], object]) -> None:
    for shape in [(2, 3), (7, 5), (40, 33)]:
        x = matrix(shape)
        lazy, dense = read(wg.tensor(x).T), read(wg.tensor(np.ascontiguousarray(x.T)))
        assert np.array_equal(np.asarray(lazy), np.asarray(dense), equal_nan=name != "repr"), shape


@pytest.mark.parametrize("dtype", [*TYPES, "int64", "bool"])
@pytest.mark.parametrize("shape", SHAPES)
def test_transposes_of_all_shapes(shape: tuple[int, int], dtype: str) -> None:
    x = (matrix(shape) * 2).astype(dtype)
    t = wg.tensor(x)
    for turned in (t.T, wg.transpose(t), t.swapaxes(0, 1), t.transpose(1, 0), wg.matrix_transpose(t), t.T.T.T):
        assert turned.shape == shape[::-1] and turned.dtype == x.dtype
        assert np.array_equal(turned.numpy(), x.T) and turned.numpy().flags.c_contiguous
    assert np.array_equal(t.T.T.numpy(), x)
    assert np.array_equal(wg.tensor(x[None]).T.numpy(), x[None].T)


@pytest.mark.parametrize("dtype", TYPES)
def test_products_read_it_as_it_lies_with_the_same_bits(dtype: str) -> None:
    for m, k, n in [(1, 1, 1), (1, 300, 70), (2, 5, 3), (31, 33, 35), (48, 96, 7), (65, 40, 4), (3, 130, 129)]:
        a, b = matrix((m, k), dtype), matrix((k, n), dtype, 1)
        at, bt = wg.tensor(np.ascontiguousarray(a.T)), wg.tensor(np.ascontiguousarray(b.T))
        ways = itertools.product([wg.tensor(a), at.T, wg.tensor(a).T.T], [wg.tensor(b), bt.T])
        bits = {(x @ y).numpy().tobytes() for x, y in ways}
        flags = itertools.product([(wg.tensor(a).T, True), (at.T, False)], [(wg.tensor(b).T, True), (bt.T, False)])
        bits |= {_core.matmul(x, y, fx, fy).numpy().tobytes() for (x, fx), (y, fy) in flags}
        assert len(bits) == 1, (m, k, n)
    batch = wg.tensor(np.stack([a, 2 * a]))
    assert np.array_equal((batch @ bt.T).numpy(), (batch @ wg.tensor(b)).numpy())
    assert np.array_equal((at.T @ wg.tensor(b[:, 0])).numpy(), (wg.tensor(a) @ wg.tensor(b[:, 0])).numpy())


def test_a_product_with_a_transpose_makes_no_copy_of_it() -> None:
    a, b = wg.tensor(matrix((300, 200))), wg.tensor(matrix((300, 4)))
    turned = a.T
    turned @ b
    assert turned.T.numpy().ctypes.data == a.numpy().ctypes.data


def test_compiled_products_with_transposes_make_none() -> None:
    a, b = wg.tensor(matrix((30, 20))), wg.tensor(matrix((30, 9)))
    for f in (lambda a, b: a.T @ b, lambda a, b: b.T @ a.T.T, lambda a, b: wg.tanh(a.T @ b).T @ a.T):
        compiled = wg.compile(f)
        compiled(a, b)
        assert np.array_equal(compiled(2.0 * a, b).numpy(), f(2.0 * a, b).numpy())
        assert "permute" not in str(compiled), compiled


def test_gradients_through_transposes() -> None:
    x = wg.tensor(matrix((4, 3)))
    for f in (
        lambda x: (x.T @ x).sum(),
        lambda x: wg.sin(x.T) @ x.T.T,
        lambda x: (x.T @ wg.exp(x)).T @ x.T,
        lambda x: x.T[1] @ x,
        lambda x: (x.T.T.T * x.T).sum(axis=0),
    ):
        wg.check_grads(f, (x,), order=2)
        eager, compiled = wg.jacobian(f), wg.compile(wg.jacobian(f))
        for scale in (1.0, 1.5):
            assert np.array_equal(eager(x * scale).numpy(), compiled(x * scale).numpy())


def test_a_transpose_keeps_its_values_when_the_leaf_changes() -> None:
    old = matrix((5, 3))
    for read_before in (False, True):
        p = wg.tensor(old, requires_grad=True)
        t, view = p.T, p.numpy()
        if read_before:
            t.numpy()
        p.assign(np.zeros((5, 3)))
        assert np.array_equal(t.numpy(), old.T) and np.array_equal(view, old)
        assert not p.T.numpy().any()
    lent = old.copy()
    t = wg.asarray(lent).T
    lent[:] = 0
    assert np.array_equal(t.numpy(), old.T)
    free = wg.tensor(old)
    t = free.T
    t.assign(np.zeros((3, 5)))
    assert np.array_equal(free.numpy(), old) and not t.numpy().any()


def test_compiled_steps_change_leaves_between_transposes() -> None:
    p = wg.tensor(matrix((3, 2)), requires_grad=True)

    def step(x: wg.Tensor) -> tuple[wg.Tensor, wg.Tensor]:
        before = p.T
        p.assign(p * 2.0)
        return x @ before.T, x @ p

    compiled, x, want = wg.compile(step), matrix((4, 3)), matrix((3, 2))
    for _ in range(3):
        first, second = compiled(x)
        assert "permute" in str(compiled)  # the leaf is written between the transposition and the product
        assert np.allclose(first.numpy(), x @ want) and np.allclose(second.numpy(), x @ want * 2)
        want = want * 2


def test_threads_that_read_one_transpose() -> None:
    x = matrix((900, 700))
    for _ in range(5):
        t = wg.tensor(x).T
        assert all(in_threads(8, lambda _, t=t: np.array_equal((t + 0.0).numpy(), x.T)))
