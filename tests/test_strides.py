"""Index arithmetic: arrays broadcast, turned, cut and put together over random shapes, against NumPy, bit for bit.

Axes are odd, prime, tiny, one past a register, empty; rows are short and many, as well as long and few.
"""

import math

import numpy as np
import pytest

import wengert as wg
from wengert import _core

SIZES = [0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33, 127, 129]
DTYPES = ["float32", "float64", "int64", "bool"]


def random_shape(rng, ndim, most=60_000):
    while True:
        shape = tuple(int(n) for n in rng.choice(SIZES, ndim))
        if math.prod(shape) <= most:
            return shape


def filled(rng, shape, dtype):
    return rng.integers(-9, 10, shape).astype(dtype)


def narrowed(rng, shape):
    """A shape that broadcasts to this one."""
    kept = tuple(n if rng.random() < 0.6 else 1 for n in shape)
    return kept[rng.integers(len(kept) + 1) if rng.random() < 0.3 else 0 :]


@pytest.mark.parametrize("seed", range(60))
def test_broadcasting(seed):
    rng = np.random.default_rng(seed)
    shape = random_shape(rng, int(rng.integers(1, 7)))
    dtype = DTYPES[seed % 2]
    a, b, c = (filled(rng, narrowed(rng, shape), dtype) for _ in range(3))
    full = filled(rng, shape, dtype)
    np.testing.assert_array_equal(wg.add(a, b), a + b)
    np.testing.assert_array_equal(wg.multiply(full, b), full * b)
    np.testing.assert_array_equal(wg.where(a, b, full), np.where(a != 0, b, full))
    np.testing.assert_array_equal(wg.clip(a, b, c), np.minimum(np.maximum(a, b), c))
    g = wg.grad(lambda a, b: wg.sum(wg.multiply(a, b) * full), (0, 1))(a.astype("float64"), b.astype("float64"))
    for got, other, own in ((g[0], b, a), (g[1], a, b)):
        whole = np.broadcast_to(full * other, np.broadcast_shapes(shape, a.shape, b.shape)).astype("float64")
        lead = tuple(range(whole.ndim - own.ndim))
        want = whole.sum(lead)
        want = want.sum(tuple(i for i, n in enumerate(own.shape) if n == 1), keepdims=True)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("rows", "row"), [((7681,), 16), ((30, 256), 16), ((5, 1025), 3), ((40, 3), 127), ((17,), 2), ((999, 2), 5)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_short_rows(rows, row, dtype):
    """Rows, columns and single numbers against each other, over more than one tile."""
    rng = np.random.default_rng(row)
    shape = (*rows, row)
    for sa in (shape, (*rows, 1), (1,) * len(rows) + (row,), (*rows[:-1], 1, row), (rows[0], *[1] * len(rows)), ()):
        for sb in (shape, (*rows, 1), (*rows[:-1], 1, row)):
            a, b = filled(rng, sa, dtype), filled(rng, sb, dtype)
            np.testing.assert_array_equal(wg.subtract(a, b), a - b)


@pytest.mark.parametrize("seed", range(60))
def test_moving(seed):
    rng = np.random.default_rng(seed)
    shape = random_shape(rng, int(rng.integers(1, 7)))
    x = filled(rng, shape, DTYPES[seed % 4])
    small = filled(rng, narrowed(rng, shape), DTYPES[seed % 4])
    np.testing.assert_array_equal(wg.broadcast_to(small, shape), np.broadcast_to(small, shape))
    order = rng.permutation(x.ndim)
    np.testing.assert_array_equal(wg.permute_dims(x, order), x.transpose(order))
    key = tuple(
        slice(*(int(v) for v in rng.integers(-n - 1, n + 2, 2)), int(rng.choice([-3, -1, 1, 1, 2]))) for n in shape
    )
    np.testing.assert_array_equal(wg.tensor(x)[key], x[key])
    if x.dtype.kind == "f":
        g = wg.grad(lambda x: wg.sum(x[key]))(x)
        want = np.zeros_like(x)
        want[key] = 1
        np.testing.assert_array_equal(g, want)


@pytest.mark.parametrize("seed", range(30))
def test_diagonals(seed):
    rng = np.random.default_rng(seed)
    x = filled(rng, random_shape(rng, int(rng.integers(1, 5)), 2000), DTYPES[seed % 2])
    axis, new = int(rng.integers(x.ndim)), int(rng.integers(x.ndim + 1))
    y = np.asarray(_core.embed_diagonal(x, axis, new))
    pair = (axis + (axis >= new), new)
    assert np.count_nonzero(y) == np.count_nonzero(x)
    np.testing.assert_array_equal(np.moveaxis(np.diagonal(y, 0, *pair), -1, axis), x)
    np.testing.assert_array_equal(_core.take_diagonal(y, pair[0], new), x)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("seed", range(20))
def test_batches_of_products(seed, dtype):
    rng = np.random.default_rng(seed)
    batch = random_shape(rng, int(rng.integers(1, 5)), 200)
    m, k, n = (int(v) for v in rng.integers(0, 6, 3))
    a, b = filled(rng, (*narrowed(rng, batch), m, k), dtype), filled(rng, (*narrowed(rng, batch), k, n), dtype)
    np.testing.assert_array_equal(wg.matmul(a, b), a @ b)
    np.testing.assert_array_equal(_core.matmul(a.swapaxes(-1, -2), b.swapaxes(-1, -2), True, True), a @ b)
