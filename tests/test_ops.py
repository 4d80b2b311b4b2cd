"""Structural ops against NumPy: products, reductions, the softmax family, shapes, indexing, and their errors.

Values are compared over many shapes (hypothesis draws some of them), derivatives by check_grads in both modes to second
order, and the batched sweeps of `jacobian` against each other.
"""

import itertools
import warnings

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import wengert as wg

settings.register_profile("wengert", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("wengert")


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def check(f, reference, *args, order=2, rtol=1e-12):
    """f's value is the reference's, its derivatives are right in both modes, and so is its whole Jacobian."""
    want = np.asarray(reference(*args))
    y = f(*(wg.tensor(a) for a in args))
    assert y.shape == want.shape
    assert y.dtype == np.float64
    np.testing.assert_allclose(y.numpy(), want, rtol=rtol, atol=1e-14)
    narrow = f(*(wg.tensor(a, dtype="float32") for a in args))
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow.numpy(), want, rtol=2e-5, atol=2e-5)
    if want.size and all(a.size for a in args):
        wg.check_grads(f, args, order=order)
    argnums = tuple(range(len(args)))
    forward, reverse = (wg.jacobian(f, argnums=argnums, mode=mode)(*args) for mode in ("fwd", "rev"))
    for a, jf, jr in zip(args, forward, reverse, strict=True):
        assert jf.shape == jr.shape == want.shape + a.shape
        np.testing.assert_allclose(jf, jr, rtol=1e-10, atol=1e-13)


FLAGS = list(itertools.product([False, True], repeat=2))


# --- Products --------------------------------------------------------------------------------------------------
MATMULS = [
    ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((3, 4), (4, 5)), ((1, 1), (1, 1)),
    ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)),
    ((1, 3, 4), (6, 4, 5)), ((2, 3, 4), (4,)), ((4,), (2, 4, 3)), ((3, 1, 2, 4), (1, 2, 4, 1)),
]  # fmt: skip
EMPTY_MATMULS = [
    ((0, 4), (4, 3)),
    ((3, 0), (0, 5)),
    ((3, 4), (4, 0)),
    ((0,), (0,)),
    ((0, 2, 3), (3, 4)),
    ((2, 0, 3), (2, 3, 0)),
]


@pytest.mark.parametrize(("a", "b"), MATMULS + EMPTY_MATMULS)
def test_matmul(a, b):
    check(wg.matmul, np.matmul, values(*a), values(*b, seed=1))


@pytest.mark.parametrize(("left", "right"), FLAGS)
def test_matmul_of_transposes(left, right):
    a, b = values(*((4, 3) if left else (3, 4))), values(*((5, 4) if right else (4, 5)), seed=1)
    f = lambda a, b: (a.T if left else a) @ (b.T if right else b)  # noqa: E731
    check(f, f, a, b)


@pytest.mark.parametrize(("left", "right"), FLAGS)
@pytest.mark.parametrize("batches", [((2,), (2,)), ((2,), ()), ((), (2,)), ((3, 1), (2,))])
def test_matmul_flags_are_transposes(left, right, batches):
    """What the rules of matmul are made of."""
    a = values(*batches[0], *((4, 3) if left else (3, 4)))
    b = values(*batches[1], *((5, 4) if right else (4, 5)), seed=1)
    swap = lambda x, flag: np.swapaxes(x, -1, -2) if flag else x  # noqa: E731
    check(
        lambda a, b: wg._core.matmul(a, b, left, right),
        lambda a, b: swap(a, left) @ swap(b, right),
        a,
        b,
    )


@given(hnp.mutually_broadcastable_shapes(signature="(m,k),(k,n)->(m,n)", max_dims=3, min_side=0, max_side=4))
def test_matmul_of_random_shapes(shapes):
    a, b = shapes.input_shapes
    check(wg.matmul, np.matmul, values(*a), values(*b, seed=1), order=1)


@pytest.mark.parametrize("m", [1, 2, 5, 31, 64, 129])
@pytest.mark.parametrize(("k", "n"), [(1, 1), (3, 17), (64, 64), (300, 33), (7, 260)])
def test_matmul_of_many_sizes(m, k, n):
    for dtype, rtol in ((np.float64, 1e-13), (np.float32, 1e-5)):
        a, b = values(m, k).astype(dtype), values(k, n, seed=1).astype(dtype)
        bound = rtol * (np.abs(a).astype(np.float64) @ np.abs(b)) + 1e-30
        for x, y in [(a, b), (a.T.copy().T, b), (a, b.T.copy().T)]:
            got = wg.matmul(x, y).numpy()
            assert got.dtype == dtype
            assert (np.abs(got - a.astype(np.float64) @ b) <= bound).all()


def test_dot_and_operator():
    a, b = values(3, 4), values(4, seed=1)
    np.testing.assert_array_equal(wg.dot(a, b), wg.tensor(a) @ b)
    np.testing.assert_array_equal(a @ wg.tensor(b), wg.tensor(a) @ b)
    np.testing.assert_array_equal(wg.dot(2.0, b), 2 * b)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((32, 784), (512, 10), r"matmul: \(32, 784\) @ \(512, 10\): inner sizes 784 and 512 differ"),
        ((3,), (4,), r"matmul: \(3,\) @ \(4,\): inner sizes 3 and 4 differ"),
        ((2, 3, 4), (3, 4, 5), r"matmul: \(2, 3, 4\) @ \(3, 4, 5\): batch axes do not broadcast"),
        ((), (3,), r"matmul: \(\) @ \(3,\): operands need at least one axis"),
    ],
)
def test_matmul_refuses_by_name(a, b, message):
    with pytest.raises(ValueError, match=message):
        wg.matmul(np.ones(a), np.ones(b))


# --- Reductions ------------------------------------------------------------------------------------------------
AXES = [None, 0, 1, -1, 2, (0, 1), (1, 2), (0, 2), (-1, 0), (0, 1, 2), ()]
REDUCTIONS = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "logsumexp": scipy.special.logsumexp}


def distinct(*shape):
    """Well separated, so that the largest stays the largest under a difference quotient."""
    return np.random.default_rng(3).permutation(np.arange(np.prod(shape, dtype=int)) * 0.37 - 2).reshape(shape)


def reduce_with_numpy(name, x, axis, keepdims):
    if name == "logsumexp" and axis == ():  # scipy's has no empty tuple: of one element, it is the element
        return x
    return REDUCTIONS[name](x, axis=axis, keepdims=keepdims)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name, axis, keepdims):
    check(
        lambda x: getattr(wg, name)(x, axis=axis, keepdims=keepdims),
        lambda x: reduce_with_numpy(name, x, axis, keepdims),
        distinct(2, 3, 4),
    )


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
def test_reduction_methods(name):
    x = wg.tensor(distinct(2, 3))
    np.testing.assert_array_equal(getattr(x, name)(axis=0), getattr(wg, name)(x, axis=0))
    np.testing.assert_array_equal(getattr(x, name)(1, True), getattr(wg, name)(x, 1, True))


@given(
    hnp.array_shapes(min_dims=0, max_dims=5, min_side=1, max_side=4).flatmap(
        lambda s: st.tuples(st.just(s), st.sets(st.integers(-len(s), len(s) - 1)) if s else st.just(set()))
    ),
    st.sampled_from(list(REDUCTIONS)),
    st.booleans(),
)
def test_reduction_of_random_shapes(shape_and_axes, name, keepdims):
    shape, axes = shape_and_axes
    axes = tuple({a % len(shape): a for a in axes}.values())
    check(
        lambda x: getattr(wg, name)(x, axis=axes, keepdims=keepdims),
        lambda x: reduce_with_numpy(name, x, axes, keepdims),
        distinct(*shape),
        order=1,
    )


@pytest.mark.parametrize("shape", [(100_003,), (1000, 77), (77, 1000), (3, 50, 700)])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_large_reductions(name, shape):
    x = values(*shape)
    for axis in (None, 0, -1):
        got = getattr(wg, name)(x, axis=axis).numpy()
        np.testing.assert_allclose(got, REDUCTIONS[name](x, axis=axis), rtol=1e-12, atol=1e-12)


def test_float32_sums_do_not_drift():
    x = np.random.default_rng(0).random((100_000, 3), dtype=np.float32)
    exact = x.astype(np.float64).sum(axis=0)
    np.testing.assert_allclose(wg.sum(x, axis=0).numpy(), exact, rtol=1e-7)
    np.testing.assert_allclose(wg.sum(x).item(), exact.sum(), rtol=1e-7)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
def test_reductions_over_nothing(shape):
    x = np.zeros(shape)
    for axis in [None, *range(x.ndim)]:
        check(lambda x, axis=axis: wg.sum(x, axis=axis), lambda x, axis=axis: np.sum(x, axis=axis), x)
        empty = axis is None or shape[axis] == 0
        for name in ("max", "min"):
            if empty:
                with pytest.raises(ValueError, match=rf"{name}: axis of size 0 in shape .*element"):
                    getattr(wg, name)(x, axis=axis)
            else:
                assert getattr(wg, name)(x, axis=axis).shape == np.max(x, axis=axis).shape
    with pytest.warns(RuntimeWarning, match="mean of an empty slice"):
        assert np.isnan(wg.mean(np.zeros(0)).item())
    assert wg.logsumexp(np.zeros(0)).item() == -np.inf
    assert wg.logsumexp(np.zeros((0, 2)), axis=0).tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_refuse_bad_axes(name):
    f = getattr(wg, name)
    with pytest.raises(IndexError, match=rf"{name}: axis 2 is out of range for 2 dimensions"):
        f(np.ones((2, 3)), axis=2)
    with pytest.raises(IndexError, match=rf"{name}: axis -3 is out of range"):
        f(np.ones((2, 3)), axis=-3)
    with pytest.raises(ValueError, match=rf"{name}: axis -1 is named twice"):
        f(np.ones((2, 3)), axis=(1, -1))


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_carry_nan_and_infinity(name):
    for row in ([1.0, np.nan, 2.0], [np.inf, 1.0], [-np.inf, 1.0], [np.nan, np.inf]):
        for n in (1, 20):  # within a register and beyond
            x = np.array(row * n)
            with np.errstate(invalid="ignore"):
                np.testing.assert_array_equal(getattr(wg, name)(x).item(), REDUCTIONS[name](x))


def test_reductions_of_whole_numbers_and_masks():
    x = np.array([[1, 2], [3, 4]])
    assert wg.sum(x).dtype == np.int64
    assert wg.sum(x, axis=0).tolist() == [4, 6]
    assert wg.max(x).item() == 4
    assert wg.tensor(x).sum().dtype == np.int64
    assert wg.sum(x > 1).item() == 3
    assert wg.mean(x).item() == 2.5
    assert wg.argmax(x, axis=0).tolist() == [1, 1]
    assert wg.argmin(x).item() == 0
    assert wg.any(x > 3).item() is True
    assert wg.all(x > 3).item() is False


# --- The softmax family ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 5, 1), (3, 1, 2)])
def test_softmax(shape, axis):
    check(lambda x: wg.softmax(x, axis), lambda x: scipy.special.softmax(x, axis), values(*shape))
    check(lambda x: wg.log_softmax(x, axis), lambda x: scipy.special.log_softmax(x, axis), values(*shape))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
def test_softmax_of_nothing(shape):
    for f in (wg.softmax, wg.log_softmax):
        assert wg.grad(lambda x, f=f: wg.sum(f(x)))(np.zeros(shape)).shape == shape


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 33, 1000])
def test_softmax_of_long_rows(n):
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 2e-5)):
        x = (10 * values(5, n)).astype(dtype)
        np.testing.assert_allclose(
            wg.softmax(x), scipy.special.softmax(x.astype(np.float64), -1), rtol=rtol, atol=1e-30
        )
        np.testing.assert_allclose(
            wg.log_softmax(x), scipy.special.log_softmax(x.astype(np.float64), -1), rtol=rtol, atol=rtol
        )


def cross_entropy_with_numpy(x, labels):
    return -np.take_along_axis(scipy.special.log_softmax(x, -1), labels[..., None], -1)[..., 0]


@pytest.mark.parametrize("shape", [(4,), (5, 3), (2, 3, 4), (0, 3)])
def test_softmax_cross_entropy(shape):
    labels = np.random.default_rng(1).integers(0, shape[-1], shape[:-1])
    check(
        lambda x: wg._core.softmax_cross_entropy(x, wg.tensor(labels)),
        lambda x: cross_entropy_with_numpy(x, labels),
        values(*shape),
    )


def test_softmax_cross_entropy_refuses_by_name():
    f = lambda x, labels: wg._core.softmax_cross_entropy(wg.tensor(x), wg.tensor(labels))  # noqa: E731
    with pytest.raises(IndexError, match=r"softmax_cross_entropy: label 3 at position 1 is not in \[0, 3\)"):
        f(np.ones((2, 3)), [0, 3])
    with pytest.raises(IndexError, match="label -1 at position 0"):
        f(np.ones((2, 3)), [-1, 2])
    with pytest.raises(TypeError, match="labels must be integers, got float64"):
        f(np.ones((2, 3)), [0.0, 1.0])
    with pytest.raises(ValueError, match=r"scores of shape \(2, 3\) need one label a row, got labels of shape \(3,\)"):
        f(np.ones((2, 3)), [0, 1, 2])
    with pytest.raises(TypeError, match="scores must be floats, got int64"):
        f(np.ones((2, 3), dtype=int), [0, 1])


# --- Shapes ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(4, 6), (24,), (2, 3, 2, 2), (-1,), (3, -1), (2, 3, -1), 24])
def test_reshape(shape):
    check(lambda x: wg.reshape(x, shape), lambda x: np.reshape(x, shape), values(2, 3, 4))


def test_reshape_of_one_and_of_none():
    check(lambda x: x.reshape(1, 1), lambda x: x.reshape(1, 1), values())
    check(lambda x: x.reshape(()), lambda x: x.reshape(()), values(1, 1))
    check(lambda x: x.reshape(3, 0), lambda x: x.reshape(3, 0), values(0, 2))


@pytest.mark.parametrize("axes", [*list(itertools.permutations(range(4)))[::3], (-1, 0, -2, 1)])
def test_permute_dims(axes):
    check(lambda x: wg.permute_dims(x, axes), lambda x: np.transpose(x, axes), values(2, 3, 4, 5), order=1)


@given(
    st.integers(0, 5).flatmap(
        lambda n: st.tuples(st.permutations(range(n)), st.lists(st.integers(0, 4), min_size=n, max_size=n))
    )
)
def test_permute_dims_of_random_shapes(axes_and_shape):
    axes, shape = axes_and_shape
    for dtype in (np.float64, np.float32, np.int64, np.bool_):
        x = (10 * values(*shape)).astype(dtype)
        np.testing.assert_array_equal(wg.permute_dims(x, axes), np.transpose(x, axes))


def test_transposes():
    x = values(2, 3, 4)
    check(lambda x: x.T, lambda x: x.T, x)
    check(wg.matrix_transpose, lambda x: np.swapaxes(x, -1, -2), x)
    check(lambda x: x.transpose(1, 0, 2), lambda x: x.transpose(1, 0, 2), x)
    check(wg.transpose, np.transpose, x)
    for shape in [(1, 7), (7, 1), (33, 65), (128, 128)]:
        check_big = values(*shape)
        for dtype in (np.float64, np.float32):
            np.testing.assert_array_equal(wg.tensor(check_big.astype(dtype)).T, check_big.astype(dtype).T)


@pytest.mark.parametrize(
    ("shape", "to"),
    [((), (2, 3)), ((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 3, 1), (4, 2, 3, 5)), ((1,), (0,)), ((2, 3), (2, 3))],
)
def test_broadcast_to(shape, to):
    check(lambda x: wg.broadcast_to(x, to), lambda x: np.broadcast_to(x, to), values(*shape))


@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0))
def test_broadcasting_of_random_shapes(shapes):
    a, b = shapes.input_shapes
    check(lambda a, b: a * b, lambda a, b: a * b, values(*a), values(*b, seed=1), order=1)
    check(
        lambda a: wg.broadcast_to(a, shapes.result_shape),
        lambda a: np.broadcast_to(a, shapes.result_shape),
        values(*a),
        order=1,
    )


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, None])
def test_concat_and_stack(axis):
    parts = [values(2, 3, 2, seed=k) for k in range(3)]
    check(lambda *xs: wg.concat(xs, axis), lambda *xs: np.concatenate(xs, axis), *parts)
    if axis is not None:
        check(lambda *xs: wg.stack(xs, axis), lambda *xs: np.stack(xs, axis), *parts)


def test_concat_of_different_and_empty_parts():
    check(lambda *xs: wg.concat(xs, 1), lambda *xs: np.concatenate(xs, 1), values(2, 1), values(2, 0), values(2, 3))
    check(lambda x: wg.concat([x, x, 2 * x]), lambda x: np.concatenate([x, x, 2 * x]), values(2, 2))
    many = [values(1, seed=k) for k in range(40)]
    check(lambda *xs: wg.concat(xs), lambda *xs: np.concatenate(xs), *many, order=1)
    assert wg.concat([np.ones(2, np.float32), np.ones(2)]).dtype == np.float64
    assert wg.concat([np.ones(2, np.int64), np.ones(1, np.int64)]).dtype == np.int64
    assert wg.concat([np.ones(1, np.bool_), np.ones(1, np.bool_)]).dtype == np.bool_


def test_expand_dims_and_squeeze():
    x = values(2, 3)
    for axis in (0, 1, 2, -1, (0, -1), (1, 3)):
        check(lambda x, axis=axis: wg.expand_dims(x, axis), lambda x, axis=axis: np.expand_dims(x, axis), x)
    y = values(1, 2, 1, 3, 1)
    for axis in (None, 0, -1, (0, 2), (-1, 0)):
        check(lambda y, axis=axis: wg.squeeze(y, axis), lambda y, axis=axis: np.squeeze(y, axis), y)


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda x: wg.reshape(x, (4, 2)), ValueError, r"reshape: \(2, 3\) has 6 elements, which do not fill \(4, 2\)"),
        (lambda x: wg.reshape(x, (-1, 4)), ValueError, r"reshape: \(2, 3\) has 6 elements, which \(-1, 4\) does not"),
        (lambda x: wg.reshape(x, (-1, -1)), ValueError, r"reshape: \(-1, -1\) may hold one -1"),
        (lambda x: wg.permute_dims(x, (0, 0)), ValueError, "permute: axis 0 is named twice"),
        (lambda x: wg.permute_dims(x, (0,)), ValueError, r"permute: 1 axes for an array of shape \(2, 3\)"),
        (lambda x: wg.permute_dims(x, (0, 2)), IndexError, "permute: axis 2 is out of range for 2 dimensions"),
        (lambda x: wg.broadcast_to(x, (2, 4)), ValueError, r"broadcast_to: \(2, 3\) does not broadcast to \(2, 4\)"),
        (lambda x: wg.broadcast_to(x, (3,)), ValueError, r"broadcast_to: \(2, 3\) does not broadcast to \(3,\)"),
        (lambda x: wg.concat([x, x[:, :2]]), ValueError, r"concat: shapes \(2, 3\) and \(2, 2\) differ outside"),
        (lambda x: wg.concat([]), ValueError, "concat: needs at least one array"),
        (lambda x: wg.concat([x], 2), IndexError, "concat: axis 2 is out of range for 2 dimensions"),
        (lambda x: wg.concat([x[0, 0], x[0, 1]]), ValueError, "concat: zero-dimensional arrays cannot be joined"),
        (lambda x: wg.stack([x, x[0]]), ValueError, r"stack: shapes \(2, 3\) and \(3,\) differ"),
        (lambda x: wg.stack([]), ValueError, "stack: needs at least one array"),
        (lambda x: wg.squeeze(x, 0), ValueError, r"squeeze: axis 0 of shape \(2, 3\) has size 2, not 1"),
        (lambda x: wg.expand_dims(x, 4), IndexError, "expand_dims: axis 4 is out of range"),
        (lambda x: wg.expand_dims(x, (0, 0)), ValueError, "expand_dims: axes .* name one twice"),
        (lambda x: wg.matrix_transpose(x[0]), ValueError, r"matrix_transpose: needs two axes, got shape \(3,\)"),
        (lambda x: wg.softmax(x, 2), IndexError, "softmax: axis 2 is out of range for 2 dimensions"),
        (lambda x: x.astype("complex128"), TypeError, "complex128"),
        (lambda x: x.astype("float16"), TypeError, "float16"),
        (lambda x: wg.zeros((2**40, 2**40)), ValueError, "too large"),
    ],
)  # fmt: skip
def test_shape_errors(f, error, message):
    with pytest.raises(error, match=message):
        f(wg.ones((2, 3)))


# --- Indexing --------------------------------------------------------------------------------------------------
X = values(4, 5, 3)
ROWS = np.array([2, 0, 2, -1])
MASK = X[:, :, 0] > 0
KEYS = {
    "integer": 1, "negative": -1, "two": (1, -2), "all": (1, 2, 0), "slice": slice(1, 3), "step": slice(None, None, 2),
    "backwards": slice(None, None, -1), "backwards by 2": (slice(3, 0, -2), slice(None, None, -2)),
    "empty": slice(3, 1), "beyond": slice(2, 100), "ellipsis": (..., 1), "ellipsis between": (1, ..., 2),
    "only ellipsis": ..., "nothing": (), "new axis": (None, 1, None), "new axis last": (..., None),
    "rows": ROWS, "list": [3, 1, 1], "table of rows": np.array([[0, 1], [1, 3]]),
    "none at all": np.array([], dtype=int),
    "one mask": np.array([True, False, True, True]), "big mask": MASK, "empty mask": np.zeros(4, bool),
    "rows and slice": (ROWS, slice(1, 3)), "slice and rows": (slice(None), ROWS),
    "pairs": (ROWS, np.array([0, 1, 0, 1])),
    "broadcast pairs": (ROWS[:, None], np.array([0, 2])), "separated": (ROWS, slice(None), np.array([0, 1, 2, 0])),
    "rows and integer": (ROWS, 1), "mask and integer": (np.array([True, False, True, True]), 2),
    "ellipsis and rows": (..., np.array([2, 0, 2])), "rows and new axis": (ROWS, None),
    "small ints": np.array([1, 0], np.uint8),
    "whole mask": X > 0.5,
}  # fmt: skip


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_indexing(key):
    check(lambda x: x[key], lambda x: np.asarray(x[key]), X)


def test_indexing_with_tensors():
    np.testing.assert_array_equal(wg.tensor(X)[wg.tensor(ROWS)], X[ROWS])
    np.testing.assert_array_equal(wg.tensor(X)[wg.tensor(X) > 0.5], X[X > 0.5])
    np.testing.assert_array_equal(wg.tensor(X)[wg.tensor(2)], X[2])


@st.composite
def arrays_and_basic_keys(draw):
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    return shape, draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))


@given(arrays_and_basic_keys())
@settings(max_examples=150)
def test_basic_indexing_of_random_shapes(drawn):
    shape, key = drawn
    check(lambda x: x[key], lambda x: np.asarray(x[key]), values(*shape), order=1)


@st.composite
def arrays_and_integer_keys(draw):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5))
    return shape, draw(
        hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(min_dims=0, max_dims=2, max_side=4))
    )


@given(arrays_and_integer_keys())
def test_integer_indexing_of_random_shapes(drawn):
    shape, key = drawn
    check(lambda x: x[key], lambda x: np.asarray(x[key]), values(*shape), order=1)


def test_repeated_indices_add_up_in_index_order():
    g = np.array([1e16, 1.0, -1e16, 1.0])
    (dx,) = wg.vjp(lambda x: x[np.array([1, 1, 1, 0])], np.zeros(2))[1](g)
    assert dx.tolist() == [1.0, (1e16 + 1.0) - 1e16]


def test_take():
    for axis in (0, 1, 2, -1, None):
        for indices in ([0, 2, 2], np.array([[1, -1], [0, 0]]), 1):
            check(
                lambda x, axis=axis, indices=indices: wg.take(x, indices, axis=axis),
                lambda x, axis=axis, indices=indices: np.take(x, indices, axis=axis),
                X,
                order=1,
            )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (4, "index 4 is out of range for axis 0 of size 4"),
        ((0, -6), "index -6 is out of range for axis 1 of size 5"),
        ([0, 4], "index 4 is out of range for axis 0 of size 4"),
        ((slice(None), [0, 5]), "index 5 is out of bounds for axis 1 with size 5"),
        ((0, 0, 0, 0), r"too many indices: shape \(4, 5, 3\) was indexed with 4"),
        ((..., 0, ...), "one ellipsis"),
        (1.5, "indices must be integers, booleans or slices, got an array of dtype float64"),
        (np.zeros(3, bool), "boolean"),
    ],
)
def test_indexing_refuses(key, message):
    with pytest.raises(IndexError, match=message):
        wg.tensor(X)[key]


def test_take_refuses():
    with pytest.raises(IndexError, match="index 5 is out of range for axis 1 of size 5"):
        wg.take(X, [5], axis=1)
    with pytest.raises(IndexError, match="take: axis 3 is out of range for 3 dimensions"):
        wg.take(X, [0], axis=3)


def test_writing_is_refused():
    x = wg.tensor(X)
    with pytest.raises(TypeError, match="do not change in place"):
        x[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0] = 1.0


def test_iteration_unpacks_rows():
    a, b = wg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert b.tolist() == [3.0, 4.0]
    assert a.tolist() == [1.0, 2.0]
    assert wg.grad(lambda v: (lambda a, b: a * b)(*v))(np.array([2.0, 3.0])).tolist() == [3.0, 2.0]


# --- Casts and choices -----------------------------------------------------------------------------------------
def test_cast_passes_gradients_between_floats():
    x = values(3).astype(np.float32)
    g = wg.grad(lambda x: wg.sum(x.astype("float64") ** 2))(x)
    assert g.dtype == np.float32
    np.testing.assert_allclose(g, 2 * x, rtol=1e-6)
    assert wg.jvp(lambda x: x.astype("float32"), (values(3),), (values(3),))[1].dtype == np.float32
    assert wg.tensor([0.0, -2.5]).astype("bool").tolist() == [False, True]
    assert wg.tensor([1.9, -2.5]).astype("int64").tolist() == [1, -2]
    assert not wg.tensor(x, requires_grad=True).astype("int64").requires_grad


@pytest.mark.parametrize("bounds", [(-0.5, 0.5), (None, 0.3), (-0.3, None), (None, None)])
def test_clip(bounds):
    low, high = bounds
    check(lambda x: wg.clip(x, low, high), lambda x: np.clip(x, -np.inf if low is None else low, high), values(4, 5))


def test_clip_by_arrays():
    check(wg.clip, np.clip, values(4, 3), -np.ones(3) / 2, np.ones((4, 1)) / 3)


def test_where_and_comparisons():
    a, b = values(3, 4), values(4, seed=1)
    for operator in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):
        got = getattr(wg.tensor(a), operator)(b)
        assert got.dtype == np.bool_
        np.testing.assert_array_equal(got, getattr(a, operator)(b))
    check(lambda a, b: wg.where(a > b, a * b, wg.sin(b)), lambda a, b: np.where(a > b, a * b, np.sin(b)), a, b)
    mask = np.array([True, False, True, False])
    check(lambda a, b: wg.where(mask, a, b), lambda a, b: np.where(mask, a, b), a, b)
    assert ((wg.tensor(a) > 0) & (wg.tensor(a) < 1)).dtype == np.bool_
    np.testing.assert_array_equal(~(wg.tensor(a) > 0), ~(a > 0))
    np.testing.assert_array_equal((wg.tensor(a) > 0) | (wg.tensor(a) < -1), (a > 0) | (a < -1))


def test_operators_with_numpy_on_either_side():
    a, b = values(3), np.abs(values(3, seed=1)) + 0.5
    t = wg.tensor(a, requires_grad=True)
    for f in (lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: abs(x) ** y,
              lambda x, y: abs(x) % y, lambda x, y: x // y, lambda x, y: -x + +y):  # fmt: skip
        for left, right, plain in (
            (t, b, f(a, b)),
            (a, wg.tensor(b, requires_grad=True), f(a, b)),
            (t, 2.5, f(a, 2.5)),
        ):
            y = f(left, right)
            assert isinstance(y, wg.Tensor)
            np.testing.assert_allclose(y.detach().numpy(), plain, rtol=1e-14)
    for f in (lambda x: 2.5 - x, lambda x: 2.5 / x, lambda x: 2.0**x, lambda x: 1 + x):
        check(f, f, b)
    assert (np.float64(3) * wg.tensor(b, dtype="float32")).dtype == np.float64  # a NumPy scalar has a dtype of its own


def test_numpy_functions_on_tensors():
    x = values(3, 4)
    for f in (np.sin, np.exp, lambda x: np.sum(x, axis=0), lambda x: np.concatenate([x, x]), np.transpose, np.mean,
              lambda x: np.maximum(x, 0.1), lambda x: np.matmul(x.T, x), lambda x: np.add.reduce(x, axis=1),
              lambda x: np.where(x > 0, x, 2 * x), lambda x: np.reshape(x, (4, 3)), np.max):  # fmt: skip
        check(f, f, x)
    with pytest.raises(TypeError, match="cannot be differentiated"):
        np.fft.fft(wg.tensor(x, requires_grad=True))
    assert isinstance(np.cumsum(x), np.ndarray)


# --- Memory layouts of NumPy -----------------------------------------------------------------------------------
def test_all_numpy_strides_are_accepted():
    base = values(6, 8)
    for view in (
        base[::-1],
        base[:, ::2],
        base.T,
        np.broadcast_to(base[0], (3, 8)),
        base[::-2, ::-3],
        np.asfortranarray(base),
    ):
        for make in (wg.tensor, wg.asarray):
            np.testing.assert_array_equal(make(view), view)
            np.testing.assert_allclose(wg.grad(lambda x: wg.sum(x * x))(make(view)), 2 * view)
    swapped = base.astype(base.dtype.newbyteorder())
    np.testing.assert_array_equal(wg.tensor(swapped), base)
    unaligned = np.frombuffer(b"x" + base.tobytes(), dtype=np.uint8)[1:].view(np.float64)
    np.testing.assert_array_equal(wg.asarray(unaligned), base.ravel())


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wg.grad(lambda x: wg.sum(wg.log(x) / x))(np.array([0.0, 1.0]))
