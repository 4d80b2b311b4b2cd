"""Reductions, shapes, products, sorting and updates built from the ops: NumPy's values, derivatives of both modes to
second order, whole Jacobians of both modes against each other, and the edges.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def check(f, reference, *args, order=2, rtol=1e-12):
    """f's value is the reference's in either dtype, its derivatives are right, and many at once are the same."""
    want = reference(*args)
    got = f(*(wg.tensor(a) for a in args))
    singles = f(*(wg.tensor(a, dtype="float32") for a in args))
    several = isinstance(want, (tuple, list))
    for y, narrow, w in zip(got, singles, want, strict=True) if several else [(got, singles, want)]:
        assert y.shape == np.shape(w)
        assert y.dtype == np.float64 and narrow.dtype == np.float32
        np.testing.assert_allclose(y.numpy(), w, rtol=rtol, atol=1e-13)
        np.testing.assert_allclose(narrow.numpy(), w, rtol=2e-5, atol=2e-5)
    if all(np.size(a) for a in args):
        wg.check_grads(f, args, order=order)
    argnums = tuple(range(len(args)))
    forward, reverse = (
        [np.asarray(j) for j in wg._tree.leaves(wg.jacobian(f, argnums=argnums, mode=mode)(*args))]
        for mode in ("fwd", "rev")
    )
    for a, b in zip(forward, reverse, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


X = values(3, 4)
CUBE = values(2, 3, 4, seed=1)
AXES = [None, 0, -1, (0, 2), (-1, 1), ()]


# --- reductions -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["prod", "var", "std"])
def test_reduction(name, axis, keepdims):
    f, reference = getattr(wg, name), getattr(np, name)
    x = CUBE
    if name == "std" and axis == ():
        assert f(x, axis, keepdims=keepdims).tolist() == np.zeros(x.shape).tolist()
        return
    check(lambda x: f(x, axis, keepdims=keepdims), lambda x: reference(x, axis=axis, keepdims=keepdims), x)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8])
@pytest.mark.parametrize("name", ["prod", "cumulative_sum", "cumulative_prod"])
def test_products_and_cumulations_of_any_length(name, n):
    reference = {"prod": np.prod, "cumulative_sum": np.cumsum, "cumulative_prod": np.cumprod}[name]
    check(lambda x: getattr(wg, name)(x, 0), lambda x: reference(x, 0), values(n, 2))


@pytest.mark.parametrize("axis", [None, 0, -2, 2])
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_cumulation(name, axis):
    check(lambda x: getattr(wg, name)(x, axis), lambda x: getattr(np, name)(x, axis), CUBE, order=3)


@pytest.mark.parametrize("zeros", [[1], [0, 3], [0, 1, 2]])
def test_products_with_zeros_have_exact_derivatives(zeros):
    x = np.array([2.0, -3.0, 0.5, 7.0, 1.5])
    x[zeros] = 0
    others = np.array([np.prod(np.delete(x, i)) for i in range(5)])
    assert np.array_equal(wg.grad(wg.prod)(x).numpy(), others)
    pairs = np.array([[0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(5)] for i in range(5)])
    np.testing.assert_allclose(wg.hessian(wg.prod)(x).numpy(), pairs, rtol=1e-15)
    rows = [[np.prod(np.delete(x[: k + 1], i)) if i <= k else 0 for i in range(5)] for k in range(5)]
    np.testing.assert_allclose(wg.jacobian(wg.cumprod)(x).numpy(), rows, rtol=1e-15)


def test_std_of_a_constant_has_gradient_zero():
    for x in (np.full(3, 0.1), np.zeros(4), np.full(7, 1e30)):
        assert wg.std(x).item() == 0
        assert wg.grad(wg.std)(x).tolist() == [0.0] * x.size
        assert not wg.hessian(wg.std)(x).numpy().any()


def test_correction_and_too_few_elements():
    check(lambda x: wg.var(x, 1, correction=1), lambda x: np.var(x, 1, ddof=1), X)
    check(lambda x: wg.std(x, ddof=1.5), lambda x: np.std(x, ddof=1.5), X)
    for x in (np.zeros(0), np.zeros(1)):
        with pytest.warns(RuntimeWarning, match="degrees of freedom"):
            assert np.isnan(wg.var(x, correction=1).item())


def test_variance_of_numbers_far_from_zero():
    x = 1e8 + values(1000)
    np.testing.assert_allclose(wg.var(x).item(), np.var(x - 1e8), rtol=1e-7)


def test_average():
    w = np.abs(values(3, 4, seed=2))
    check(lambda x, w: wg.average(x, 1, w), lambda x, w: np.average(x, 1, w), X, w)
    check(lambda x, w: wg.average(x, 0, w), lambda x, w: np.average(x, 0, w), X, w[:, 0])
    check(lambda x: wg.average(x), np.average, X)
    with pytest.raises(ValueError, match=r"average: weights of shape \(2,\) .* \(3, 4\) and axis 0"):
        wg.average(X, 0, np.ones(2))


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_diff(n):
    check(lambda x: wg.diff(x, n), lambda x: np.diff(x, n), X)
    check(lambda x: wg.diff(x, n, axis=0), lambda x: np.diff(x, n, axis=0), X)


def test_counts_and_positions_are_constants():
    x = wg.tensor([[0.0, 2.0], [3.0, 0.0]], requires_grad=True)
    assert wg.count_nonzero(x).item() == 2
    assert wg.count_nonzero(x, axis=0).tolist() == [1, 1]
    assert wg.argmax(x, axis=1).tolist() == [1, 0] and not wg.argmax(x).requires_grad
    assert wg.any(x, axis=0).dtype == np.bool_
    assert wg.isinf([np.inf, -np.inf, np.nan, 1]).tolist() == [True, True, False, False]
    assert wg.logical_not([0.0, np.nan, 2.0]).tolist() == [True, False, False]
    assert wg.logical_xor([0.0, 1.0, 2.0], [0.0, 0.0, 3.0]).tolist() == [False, True, False]


def test_full_like():
    y = wg.full_like(np.zeros((2, 3), dtype=np.float32), 7.0)
    assert y.dtype == np.float32 and y.tolist() == [[7.0] * 3] * 2
    assert wg.full_like(y, 1.0, dtype="float64").dtype == np.float64


def test_whole_numbers_stay_whole():
    x = np.arange(6).reshape(2, 3)
    for name in ("prod", "cumsum", "cumprod"):
        y = getattr(wg, name)(x, 1)
        assert y.dtype == np.int64 and np.array_equal(y.numpy(), getattr(np, name)(x, 1))


# --- shapes -----------------------------------------------------------------------------------------------------
SHAPES = {
    "ravel": (wg.ravel, np.ravel),
    "moveaxis": (lambda x: wg.moveaxis(x, (0, -1), (1, 0)), lambda x: np.moveaxis(x, (0, -1), (1, 0))),
    "moveaxis one": (lambda x: wg.moveaxis(x, -1, 0), lambda x: np.moveaxis(x, -1, 0)),
    "swapaxes": (lambda x: wg.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1)),
    "flip": (wg.flip, np.flip),
    "flip axes": (lambda x: wg.flip(x, (0, -1)), lambda x: np.flip(x, (0, -1))),
    "roll": (lambda x: wg.roll(x, 5), lambda x: np.roll(x, 5)),
    "roll axis": (lambda x: wg.roll(x, -1, 1), lambda x: np.roll(x, -1, 1)),
    "roll axes": (lambda x: wg.roll(x, (1, 2), (0, -1)), lambda x: np.roll(x, (1, 2), (0, -1))),
    "pad": (lambda x: wg.pad(x, 1), lambda x: np.pad(x, 1)),
    "pad value": (
        lambda x: wg.pad(x, ((0, 1), (2, 0), (0, 0)), constant_values=3.5),
        lambda x: np.pad(x, ((0, 1), (2, 0), (0, 0)), constant_values=3.5),
    ),
    **{
        f"pad {m}": (lambda x, m=m: wg.pad(x, (1, 3), mode=m), lambda x, m=m: np.pad(x, (1, 3), mode=m))
        for m in ("edge", "reflect", "symmetric", "wrap")
    },
    "tile": (lambda x: wg.tile(x, 2), lambda x: np.tile(x, 2)),
    "tile more": (lambda x: wg.tile(x, (2, 1, 1, 3)), lambda x: np.tile(x, (2, 1, 1, 3))),
    "repeat": (lambda x: wg.repeat(x, 2), lambda x: np.repeat(x, 2)),
    "repeat axis": (lambda x: wg.repeat(x, [2, 0, 1], 1), lambda x: np.repeat(x, [2, 0, 1], 1)),
    "split": (lambda x: wg.split(x, 2, -1), lambda x: np.split(x, 2, -1)),
    "split at": (lambda x: wg.split(x, [1, 1, -1], 1), lambda x: np.split(x, [1, 1, -1], 1)),
    "unstack": (lambda x: wg.unstack(x, 1), lambda x: [x[:, i] for i in range(3)]),
    "tril": (lambda x: wg.tril(x, 1), lambda x: np.tril(x, 1)),
    "triu": (lambda x: wg.triu(x, -1), lambda x: np.triu(x, -1)),
    "diagonal": (wg.diagonal, np.diagonal),
    "diagonal of the last": (lambda x: wg.diagonal(x, 1, -1, -2), lambda x: np.diagonal(x, 1, -1, -2)),
    "trace": (lambda x: wg.trace(x, -1, 1, 2), lambda x: np.trace(x, -1, 1, 2)),
    "nan_to_num": (wg.nan_to_num, np.nan_to_num),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    check(*SHAPES[name], CUBE)


@pytest.mark.parametrize("k", range(-4, 5))
def test_diagonals_at_any_offset(k):
    check(lambda x: wg.diagonal(x, k), lambda x: np.diagonal(x, k), X)
    check(lambda x: wg.diag(x, k), lambda x: np.diag(x, k), X[0])
    check(lambda x: wg.diag(x, k), lambda x: np.diag(x, k), X)
    check(lambda x: wg.triu(x, k), lambda x: np.triu(x, k), X)


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_meshgrid_and_broadcast_arrays(indexing):
    for arrays in ([X[0]], [X[0], X[1, :3]], [X[0], X[1, :3], X[2, :2]]):
        check(lambda *a: wg.meshgrid(*a, indexing=indexing), lambda *a: np.meshgrid(*a, indexing=indexing), *arrays)
    check(lambda a, b: wg.broadcast_arrays(a, b), lambda a, b: np.broadcast_arrays(a, b), X, CUBE[:, :1])


def test_triangles_of_matrices_with_nan_and_infinities():
    x = np.array([[1.0, np.nan], [2.0, np.inf]])
    assert wg.tril(x).tolist() == [[1, 0], [2, np.inf]]
    assert wg.grad(lambda x: wg.tril(x).sum())(x).tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda: wg.moveaxis(X, (0, 0), (0, 1)), ValueError, "moveaxis: axes .* name one twice"),
        (lambda: wg.flip(X, 2), IndexError, "flip: axis 2 is out of range for 2 dimensions"),
        (lambda: wg.split(X, 3, 1), ValueError, "split: axis 1 of size 4 has no 3 equal parts"),
        (lambda: wg.pad(X, -1), ValueError, "pad: widths must not be negative"),
        (lambda: wg.tril(X[0]), ValueError, r"tril: needs two axes, got shape \(4,\)"),
        (lambda: wg.diag(CUBE), ValueError, "diag: needs a vector or a matrix"),
        (lambda: wg.meshgrid(X, indexing="yx"), ValueError, "meshgrid: indexing"),
        (lambda: wg.prod(X, 2), IndexError, "prod: axis 2 is out of range"),
        (lambda: wg.var(X, (0, -2)), ValueError, "var: axes .* name one twice"),
        (lambda: wg.diff(X, -1), ValueError, "diff: n must not be negative"),
        (lambda: wg.select([X > 0], []), ValueError, "select: 1 conditions for 0 choices"),
        (lambda: wg.vecdot(X, X[:, :2]), ValueError, r"vecdot: shapes \(3, 4\) and \(3, 2\) differ along axis -1"),
        (lambda: wg.cross(X, X), ValueError, "cross: needs vectors of 3 elements"),
        (lambda: wg.tensordot(X, X, 1), ValueError, r"tensordot: shapes \(3, 4\) and \(3, 4\) differ along axes"),
        (lambda: wg.take_along_axis(X, [[4]], 1), IndexError, "index 4 is out of range for axis 1 of size 4"),
        (lambda: wg.take_along_axis(X, [[0.5]], 1), IndexError, "indices must be integers"),
        (lambda: wg.top_k(X, 5), ValueError, "top_k: k = 5 does not fit"),
        (lambda: wg.at_set(X, 3, 0.0), IndexError, r"at_set: shape \(3, 4\): index 3 is out of bounds"),
        (lambda: wg.at_set(X, 0, np.ones(3)), ValueError, r"at_set: a value of shape \(3,\) .* of shape \(4,\)"),
        (lambda: wg.at_add(np.arange(3), 0, 1), TypeError, "at_add: needs a float array"),
        (lambda: wg.einsum("ij,jk", X), ValueError, "has 2 terms for 1 operands"),
        (lambda: wg.einsum("ijk", X), ValueError, r"'ijk' does not fit an operand of shape \(3, 4\)"),
        (lambda: wg.einsum("ij,jk", X, X), ValueError, "axis 'j' has sizes 4 and 3"),
        (lambda: wg.einsum("ij->ik", X), ValueError, "one that no operand has"),
        (lambda: wg.einsum("ii", X), ValueError, "axes 'i' of one operand differ"),
        (lambda: wg.einsum("i.", X), ValueError, "must consist of letters"),
    ],
)
def test_errors_name_the_function(f, error, message):
    with pytest.raises(error, match=message):
        f()


# --- products ---------------------------------------------------------------------------------------------------
EINSUMS = [
    ("ij,jk->ik", (3, 4), (4, 2)),
    ("ij,jk", (3, 4), (4, 2)),
    ("ba,cb", (3, 4), (2, 3)),
    ("ij,kj->ik", (3, 4), (2, 4)),
    ("i,i->", (4,), (4,)),
    ("i,j->ij", (3,), (4,)),
    ("i,j->ji", (3,), (4,)),
    ("ij,ij->ij", (3, 4), (3, 4)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    ("bij,bjk->kib", (2, 3, 4), (2, 4, 2)),
    ("ij->", (3, 4)),
    ("ij->j", (3, 4)),
    ("ij->ji", (3, 4)),
    ("ji", (3, 4)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("iji->j", (3, 2, 3)),
    ("iii", (2, 2, 2)),
    ("ii,ij->j", (3, 3), (3, 4)),
    ("ij,jk,kl->il", (3, 4), (4, 2), (2, 5)),
    ("ij,ik,il->jkl", (3, 2), (3, 2), (3, 2)),
    ("...ij,...jk->...ik", (2, 3, 4), (4, 2)),
    ("...i,...i", (2, 3, 4), (3, 4)),
    ("i...,j...->ij...", (2, 3), (4, 3)),
    ("...,...", (3,), (2, 1)),
    ("i,->i", (3,), ()),
    ("ij,jk->ik", (3, 1), (4, 2)),
    ("ij,ij->i", (3, 1), (3, 4)),
    ("ij,jk,k->", (3, 4), (4, 2), (2,)),
    ("ij,jk->ik", (3, 0), (0, 2)),
    (" i j , j -> i ", (3, 4), (4,)),
]


@pytest.mark.parametrize("case", EINSUMS, ids=str)
def test_einsum(case):
    subscripts, *shapes = case
    args = [values(*s, seed=i) for i, s in enumerate(shapes)]
    check(lambda *a: wg.einsum(subscripts, *a), lambda *a: np.einsum(subscripts, *a), *args)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.data())
def test_einsum_of_random_terms(data):
    sizes = {"i": 2, "j": 3, "k": 1, "l": 4}
    terms = data.draw(st.lists(st.permutations("ijkl").map(lambda p: p[:2]), min_size=1, max_size=4))
    used = sorted({label for term in terms for label in term})
    out = data.draw(st.permutations(used))[: data.draw(st.integers(0, len(used)))]
    subscripts = ",".join("".join(t) for t in terms) + "->" + "".join(out)
    args = [values(*(sizes[label] for label in t), seed=i) for i, t in enumerate(terms)]
    np.testing.assert_allclose(
        wg.einsum(subscripts, *args).numpy(), np.einsum(subscripts, *args), rtol=1e-12, atol=1e-13
    )


V = values(3, seed=5)
PRODUCTS = {
    "outer": (wg.outer, np.outer, X, V),
    "inner": (wg.inner, np.inner, X, CUBE),
    "inner of vectors": (wg.inner, np.inner, V, V[::-1].copy()),
    "vecdot": (wg.vecdot, lambda a, b: (a * b).sum(-1), CUBE, X),
    "vecdot axis": (lambda a, b: wg.vecdot(a, b, axis=0), lambda a, b: (a * b).sum(0), X, X[:, :1].copy()),
    "tensordot": (wg.tensordot, np.tensordot, CUBE, values(3, 4, 2)),
    "tensordot 0": (lambda a, b: wg.tensordot(a, b, 0), lambda a, b: np.tensordot(a, b, 0), X, V),
    "tensordot lists": (
        lambda a, b: wg.tensordot(a, b, ([2, 0], [0, 2])),
        lambda a, b: np.tensordot(a, b, ([2, 0], [0, 2])),
        CUBE,
        values(4, 5, 2),
    ),
    "kron": (wg.kron, np.kron, X, values(2, 2)),
    "kron of unequal dimensions": (wg.kron, np.kron, V, CUBE),
    "cross": (wg.cross, np.cross, values(4, 3), V),
    "cross axis": (lambda a, b: wg.cross(a, b, axis=0), lambda a, b: np.cross(a, b, axis=0), X, X[::-1].copy()),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name):
    check(*PRODUCTS[name])


# --- sorting and updates ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_sort(axis, descending):
    sign = -1 if descending else 1
    check(lambda x: wg.sort(x, axis, descending), lambda x: sign * np.sort(sign * x, axis), CUBE)
    x = np.round(CUBE)
    order = wg.argsort(x, axis, descending).numpy()
    assert order.dtype == np.int64
    assert np.array_equal(order, np.argsort(sign * x, axis, kind="stable"))


def test_equal_elements_keep_their_order_and_nan_come_last():
    x = np.array([1.0, np.nan, 0.0, 1.0, 0.0])
    assert wg.argsort(x).tolist() == [2, 4, 0, 3, 1]
    assert wg.grad(lambda x: (wg.sort(x) * np.array([1.0, 2, 3, 4, 5])).sum())(x).tolist() == [3, 5, 1, 4, 2]


@pytest.mark.parametrize("k", [0, 1, 3])
def test_top_k(k):
    check(lambda x: wg.top_k(x, k)[0], lambda x: -np.sort(-x)[:, :k], X)
    got, where = wg.top_k(CUBE, k, axis=1)
    assert np.array_equal(np.take_along_axis(CUBE, where.numpy(), 1), got.numpy())


def test_take_along_axis():
    index = np.array([[0, -1, 0, 2], [1, 1, 1, 1]])
    check(lambda x: wg.take_along_axis(x, index, 0), lambda x: np.take_along_axis(x, index, 0), X)
    check(lambda x: wg.take_along_axis(x, [3, 3], None), lambda x: np.take_along_axis(x, np.array([3, 3]), None), X)


KEYS = [
    0,
    (slice(None), 1),
    slice(None, None, -2),
    ([0, 2, 0],),
    ([0, 1], [1, 1]),
    X > 0,
    (Ellipsis, None),
    np.array([], dtype=int),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_updates(key):
    part = X[key]
    value = values(*part.shape, seed=8)

    def numpy_set(x, v):
        x = x.copy()
        x[key] = v
        return x

    def numpy_add(x, v):
        x = x.copy()
        np.add.at(x, key, v)
        return x

    check(lambda x, v: wg.at_set(x, key, v), numpy_set, X, value)
    check(lambda x, v: wg.at_add(x, key, v), numpy_add, X, value)
    check(lambda x: wg.at_set(x, key, 2.0), lambda x: numpy_set(x, 2.0), X)


def test_the_last_value_stays_and_alone_has_a_gradient():
    value = np.array([1.0, 2.0, 3.0])
    assert wg.at_set(np.zeros(2), [0, 1, 0], value).tolist() == [3, 2]
    g = wg.grad(lambda v: wg.at_set(np.zeros(2), [0, 1, 0], v).sum())(value)
    assert g.tolist() == [0, 1, 1]


def test_select():
    def of(m):
        return lambda x: m.select([x < -0.5, x > 0.5], [-x, x * x], 0.25)

    check(of(wg), of(np), X)


def test_numbers_for_nan_get_no_gradient():
    x = np.array([np.nan, np.inf, -np.inf, 2.0])
    assert wg.nan_to_num(x, nan=7.0, posinf=8.0, neginf=9.0).tolist() == [7, 8, 9, 2]
    assert wg.nan_to_num(x.astype("float32")).tolist() == np.nan_to_num(x.astype("float32")).tolist()
    assert wg.grad(lambda x: wg.nan_to_num(x).sum())(x).tolist() == [0, 0, 0, 1]


# --- NumPy's own functions --------------------------------------------------------------------------------------
NUMPY = [
    lambda x: np.sin(x) + np.arctan2(x, 2.0),
    lambda x: np.sum(x, axis=0),
    lambda x: np.prod(x, axis=-1),
    lambda x: np.std(x, ddof=1),
    lambda x: np.cumsum(x, axis=1),
    lambda x: np.cumprod(x),
    lambda x: np.concatenate([x, x[:1]]),
    lambda x: np.where(x > 0, x, x * x),
    lambda x: np.einsum("ij,kj->ik", x, x, optimize=True),
    lambda x: np.linalg.inv(x @ x.T),
    lambda x: np.linalg.norm(x, axis=1),
    lambda x: np.outer(x, x),
    lambda x: np.kron(x, x),
    lambda x: np.tensordot(x, x, ([0, 1], [0, 1])),
    lambda x: np.roll(np.flip(x, 0), 1, axis=1),
    lambda x: np.pad(x, 1),
    lambda x: np.tile(x, (2, 1)),
    lambda x: np.sort(x, axis=0),
    lambda x: np.trace(x),
    lambda x: np.diff(x),
    lambda x: np.moveaxis(x, 0, 1),
    lambda x: np.stack(np.split(x, 2, axis=1)),
    lambda x: np.average(x, axis=0),
    lambda x: np.sinc(x),
    lambda x: np.multiply.reduce(x, axis=1),
    lambda x: np.positive(x) * np.floor_divide(x, 0.3),
]


@pytest.mark.parametrize("f", NUMPY)
def test_numpys_functions_are_differentiated(f):
    check(f, f, X)


METHODS = [
    lambda x: x.prod(1),
    lambda x: x.var(0),
    lambda x: x.std(ddof=1),
    lambda x: x.cumsum(0),
    lambda x: x.cumprod(),
    lambda x: x[:, None].squeeze(1).swapaxes(0, 1),
    lambda x: x.ravel().repeat(2),
    lambda x: x.diagonal(1),
    lambda x: x.trace(),
    lambda x: x.dot(x.T),
    lambda x: x.clip(-0.5, 0.5),
]


@pytest.mark.parametrize("f", METHODS)
def test_methods_are_those_of_arrays(f):
    check(f, f, X)


def test_methods_that_find_positions():
    x = wg.tensor(X)
    assert x.argmax().item() == X.argmax() and x.argmin(1).tolist() == X.argmin(1).tolist()
    assert (x > 0).any().item() is True and (x > 0).all(0).tolist() == (X > 0).all(0).tolist()


def test_per_sample_gradients_of_a_network():
    """The Jacobian of one loss per sample holds each sample's gradient."""
    w0, w1, x = values(4, 5), values(5, 2), values(6, 4, seed=3)

    def losses(p):
        return wg.sum(wg.square(wg.tanh(x @ p["w0"]) @ p["w1"]), axis=1)

    each = wg.jacobian(losses)({"w0": w0, "w1": w1})
    assert each["w0"].shape == (6, 4, 5)
    for i in range(6):
        one = wg.grad(lambda p, i=i: losses(p)[i])({"w0": w0, "w1": w1})
        for name in one:
            np.testing.assert_allclose(each[name][i].numpy(), one[name].numpy(), rtol=1e-12)


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wg.grad(wg.prod)(np.zeros(3))
        wg.nan_to_num(np.array([np.nan, np.inf]))
        wg.std(np.full((2, 3), np.pi), axis=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(1,), (2,), (7,), (3, 0), (0, 3), (5, 9), (9, 5), (17, 3, 2), (2, 65, 67), (3, 2, 129)]
)
def test_running_products_are_numpys_to_the_bit(shape, dtype):
    x = np.random.default_rng(0).uniform(-2, 2, shape).astype(dtype)
    for axis in range(len(shape)):
        got = wg.cumulative_prod(x, axis=axis).numpy()
        assert got.dtype == dtype
        assert np.array_equal(got, np.cumprod(x, axis=axis))
    special = np.array([2.0, -0.0, np.inf, 1.0, np.nan], dtype)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(wg.cumulative_prod(special).numpy(), np.cumprod(special))


@pytest.mark.parametrize("zeros", [(), (0,), (2,), (1, 3), (0, 1, 4)])
@pytest.mark.parametrize("axis", [0, 1])
def test_derivatives_of_running_products_are_exact_with_zeros(zeros, axis):
    x = np.random.default_rng(1).uniform(0.5, 2, (5, 5))
    x[list(zeros)] = 0.0
    x = x if axis == 0 else x.T
    jacobians = [wg.jacobian(lambda z: wg.cumulative_prod(z, axis), mode=mode)(x).numpy() for mode in ("rev", "fwd")]
    want = np.zeros((5, 5, 5, 5))
    for i, j, k in np.ndindex(5, 5, 5):  # of product k to factor j <= k, on line i
        others = np.delete(x[:, i] if axis == 0 else x[i], j)[:k]
        if j <= k:
            want[(k, i, j, i) if axis == 0 else (i, k, i, j)] = others.prod()
    for got in jacobians:
        np.testing.assert_allclose(got, want, rtol=1e-14, atol=0)
    wg.check_grads(lambda z: wg.cumulative_prod(z, axis), (x,), order=3, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_running_products_under_every_transform(n):
    x = np.random.default_rng(2).uniform(-2, 2, (n, 4))

    def f(z):
        return (wg.cumulative_prod(z, 0) * np.cos(np.arange(4.0))).sum()

    dense = wg.hessian(f)(x).numpy().reshape(4 * n, 4 * n)
    np.testing.assert_allclose(dense, dense.T, atol=1e-14)
    np.testing.assert_allclose(wg.hvp(f, x, x).numpy().ravel(), dense @ x.ravel(), rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(wg.compile(wg.grad(f))(x).numpy(), wg.grad(f)(x).numpy())
