"""Gradients of parts of an array (slices, unstacked rows, gathered entries).

What each part contributes is added in place, so that many parts of one array cost what the parts cost, and right
whatever they overlap and whatever comes before.
"""

import time

import numpy as np
import pytest

import wengert as wg

X = np.linspace(0.2, 1.7, 24).reshape(4, 6)

# Of a matrix of shape (4, 6), a row of six.
PARTS = {
    "row": lambda x: x[1],
    "last row": lambda x: x[-1],
    "column": lambda x: wg.concat([x[:, 2], x[:2, 3]]),
    "reversed": lambda x: x[2, ::-1],
    "steps": lambda x: x[::2, 1::2].reshape(6),
    "step one in a long row": lambda x: x.reshape(24)[3:21].reshape(3, 6).sum(0),
    "empty": lambda x: x[2:2].sum(0),
    "one element": lambda x: x[3, 4] * np.ones(6),
    "unstacked": lambda x: wg.unstack(x)[2],
    "split": lambda x: wg.split(x, 2)[1].sum(0),
    "gathered": lambda x: wg.take(x, [3, 0, 3], axis=0).sum(0),
    "gathered columns": lambda x: wg.take(x, [5, 5, 0, 1, -1, 2], axis=1)[0],
    "mask": lambda x: x[np.arange(24).reshape(4, 6) % 4 == 1],
    "positions": lambda x: x[[0, 1, 2, 3, 0, 0], [1, 1, 1, 1, 1, 5]],
    "whole": lambda x: x.sum(0),
    "constant along an axis": lambda x: wg.broadcast_to(x.sum(), (6,)),
}


def programs():
    rng = np.random.default_rng(0)
    names = list(PARTS)
    for _ in range(40):
        chosen = [names[i] for i in rng.integers(len(names), size=rng.integers(2, 7))]
        yield lambda x, chosen=chosen: sum((wg.sin(PARTS[n](x)) * (k + 1.0)).sum() for k, n in enumerate(chosen))


@pytest.mark.parametrize("f", list(programs()))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_parts_of_one_array(f, dtype):
    x = wg.tensor(X, dtype)
    if dtype == "float64":
        wg.check_grads(f, (x,), order=2)
    gradient = wg.grad(f)(x)
    assert gradient.dtype == dtype
    for compiled in (wg.compile(wg.grad(f)), wg.compile(lambda x: wg.grad(lambda x: f(x * 1.0))(x))):
        for _ in range(3):
            np.testing.assert_array_equal(compiled(x), gradient)
    leaf = wg.tensor(x, requires_grad=True)
    f(leaf).backward(create_graph=True)  # recorded, so not in place
    np.testing.assert_allclose(leaf.grad, gradient, rtol=1e-5 if dtype == "float32" else 1e-14)
    h = wg.hessian(f)(x).reshape(24, 24)
    np.testing.assert_allclose(h, h.T, atol=1e-5 if dtype == "float32" else 1e-12)


def test_a_contribution_does_not_write_into_what_is_handed_out():
    x = wg.tensor(X, requires_grad=True)
    seed = wg.tensor(np.ones((4, 6)))
    first = (x * 1.0 + 0.0).backward(seed)
    first = x.grad
    view = first.numpy().copy()
    x[1].backward(np.ones(6))
    (x[2] * x[2]).sum().backward()
    np.testing.assert_array_equal(first, view)
    np.testing.assert_array_equal(seed, np.ones((4, 6)))
    y = wg.tensor(X, requires_grad=True) + 0.0
    pulled = wg.vjp(lambda x: (x, x[0], x[1]), y)[1]
    pulled((seed, np.ones(6), np.ones(6)))
    np.testing.assert_array_equal(seed, np.ones((4, 6)))


def test_unit_arrays_do_not_count_as_such_once_something_was_added():
    f = lambda x: wg.sin(x) + x[0] * x[1]  # noqa: E731
    for mode in ("rev", "fwd"):
        j = wg.jacobian(f, mode=mode)(wg.tensor([1.0, 2.0, 3.0]))
        np.testing.assert_allclose(j, np.diag(np.cos([1.0, 2.0, 3.0])) + [[2.0, 1.0, 0.0]] * 3, rtol=1e-15)
    g = lambda x: (x + x[0]) * 2.0  # noqa: E731
    np.testing.assert_array_equal(wg.jacobian(g, mode="rev")(wg.tensor([1.0, 2.0])), [[4.0, 0.0], [2.0, 2.0]])


@pytest.mark.parametrize("part", [lambda x, i: x[i], lambda x, i: wg.take(x, [i], axis=0)[0]], ids=["slice", "gather"])
def test_many_parts_cost_what_the_parts_cost(part):
    """Each part of an array of 4 million numbers; writing it in full each time would take seconds."""
    n = 2000
    x = wg.tensor(np.ones((n, n)), requires_grad=True)
    y = wg.stack([part(x, i)[0] for i in range(n)]).sum()
    start = time.process_time()
    y.backward()
    took = time.process_time() - start
    assert x.grad.numpy().sum() == n
    assert took < 2  # 30 ms; 2000 arrays of 32 MB take ten seconds and more
