"""Results follow the scale of their input: far from 1, values and derivatives are those near 1, by the power law.

The law of each function (norms grow as the input, determinants as its n-th power, a softmax settles) is read off in
float64 at moderate scales; at extreme ones value, gradient and second derivative must obey it, wherever the law itself
stays in the range of the dtype.
"""

import warnings

import numpy as np
import pytest

import wengert as wg
from wengert import _reductions, linalg, nn
from wengert.nn import losses

rng = np.random.default_rng(7)
A = rng.standard_normal((3, 3)) + 3 * np.eye(3)
FIVE = rng.standard_normal((2, 5, 5)) + 4 * np.eye(5)
TALL, FLAT, VECTOR = rng.standard_normal((5, 3)), rng.standard_normal((3, 5)), rng.standard_normal(3)
ROWS, LONG = rng.standard_normal((4, 7)), rng.standard_normal((3, 130))
SPD = A @ A.T


def symmetric(x):
    return (x + wg.matrix_transpose(x)) * 0.5


def like(x, y):
    """An array of numbers near 1, in the dtype of x."""
    return np.asarray(y, x.dtype)


def layer(kind, x, **options):
    return kind(x.shape[1], dtype=str(x.dtype), **options)(x)


# name and what of it: (function, input)
TABLE = {
    "cholesky": (lambda x: linalg.cholesky(symmetric(x)), SPD),
    "cross": (lambda x: linalg.cross(x, like(x, VECTOR)), A),
    "det": (linalg.det, A),
    "det 1": (linalg.det, A[:1, :1]),
    "det 2": (linalg.det, A[:2, :2]),
    "det 5": (linalg.det, FIVE),
    "diagonal": (linalg.diagonal, A),
    "eigh": (lambda x: linalg.eigh(symmetric(x)), A),
    "eigvalsh": (lambda x: linalg.eigvalsh(symmetric(x)), A),
    "inv": (linalg.inv, FIVE),
    "lstsq": (lambda x: linalg.lstsq(x, like(x, np.arange(5.0)))[:2], TALL),
    "lstsq of b": (lambda x: linalg.lstsq(like(x, TALL), x)[:2], FLAT.T),
    "matmul": (lambda x: linalg.matmul(x, x), A),
    "matrix_norm": (linalg.matrix_norm, FIVE),
    **{f"matrix_norm {p}": (lambda x, p=p: linalg.matrix_norm(x, ord=p), TALL) for p in ("nuc", 1, -1, 2, -2)},
    **{f"matrix_norm {p}": (lambda x, p=p: linalg.matrix_norm(x, ord=p), TALL) for p in (np.inf, -np.inf)},
    "matrix_power": (lambda x: linalg.matrix_power(x, 3), A),
    "matrix_power -1": (lambda x: linalg.matrix_power(x, -1), A),
    "matrix_transpose": (linalg.matrix_transpose, A),
    "norm": (linalg.norm, TALL),
    "norm of columns": (lambda x: linalg.norm(x, axis=0), TALL),
    "outer": (lambda x: linalg.outer(x, x), VECTOR),
    "pinv": (linalg.pinv, TALL),
    "qr": (linalg.qr, TALL),
    "qr flat": (linalg.qr, FLAT),
    "slogdet": (lambda x: linalg.slogdet(x).logabsdet - 5 * wg.log(wg.abs(x[:, 0, 0])), FIVE),
    "solve": (lambda x: linalg.solve(x, like(x, TALL[:3])), A),
    "solve of b": (lambda x: linalg.solve(like(x, A), x), TALL[:3]),
    "solve_triangular": (lambda x: linalg.solve_triangular(x, like(x, VECTOR)), A),
    "svd": (linalg.svd, A),
    "svd tall": (lambda x: linalg.svd(x, full_matrices=False), TALL),
    "svd flat": (lambda x: linalg.svd(x, full_matrices=False), FLAT),
    "svdvals": (linalg.svdvals, TALL),
    "tensordot": (lambda x: linalg.tensordot(x, x), A),
    "trace": (linalg.trace, A),
    "vecdot": (lambda x: linalg.vecdot(x, x), A),
    **{
        f"vector_norm {p}, {axis}": (lambda x, p=p, axis=axis: linalg.vector_norm(x, axis, ord=p), LONG)
        for p in (0, 0.5, 1, 2, 3, 7.5, -1, -2, np.inf, -np.inf)
        for axis in (None, 0, 1)
    },
    "average": (lambda x: wg.average(x, axis=1, weights=like(x, np.arange(1.0, 8))), ROWS),
    "cumulative_prod": (lambda x: wg.cumulative_prod(x, axis=1), A),
    "cumulative_sum": (lambda x: wg.cumulative_sum(x, axis=1), A),
    "diff": (wg.diff, ROWS),
    "log_softmax": (wg.log_softmax, ROWS),
    "logsumexp": (lambda x: wg.logsumexp(x, axis=1), ROWS),
    "max": (lambda x: wg.max(x, axis=0), ROWS),
    "mean": (lambda x: wg.mean(x, axis=0), ROWS),
    "min": (lambda x: wg.min(x, axis=0), ROWS),
    "prod": (wg.prod, VECTOR),
    "softmax": (wg.softmax, ROWS),
    "softmax, long": (wg.softmax, LONG),
    "std": (wg.std, LONG),
    "std of columns": (lambda x: wg.std(x, axis=0, correction=1), ROWS),
    "sum": (wg.sum, ROWS),
    "var": (lambda x: wg.var(x, axis=0), ROWS),
    "hypot": (lambda x: wg.hypot(x[0], x[1]), ROWS),
    "hypot by one": (lambda x: wg.hypot(x, like(x, 1.0)), ROWS),
    **{f"LayerNorm {eps}": (lambda x, e=eps: layer(nn.LayerNorm, x, eps=e), ROWS) for eps in (1e-5, 0)},
    **{f"LayerNorm {eps}, long": (lambda x, e=eps: layer(nn.LayerNorm, x, eps=e), LONG) for eps in (1e-5, 0)},
    **{f"BatchNorm1d {eps}": (lambda x, e=eps: layer(nn.BatchNorm1d, x, eps=e), LONG) for eps in (1e-5, 0)},
    "mse_loss": (lambda x: nn.mse_loss(x[0], x[1]), ROWS),
    "l1_loss": (lambda x: nn.l1_loss(x[0], x[1]), ROWS),
    "huber_loss": (lambda x: nn.huber_loss(x[0], x[1]), ROWS),
    "cross_entropy": (lambda x: nn.cross_entropy(x, [0, 2, 1, 6]), ROWS),
    "cross_entropy of probabilities": (
        lambda x: nn.cross_entropy(x, like(x, np.tile(np.arange(1, 8) / 28, (4, 1)))),
        ROWS,
    ),
    "cross_entropy, smooth": (lambda x: nn.cross_entropy(x, [0, 2, 1, 6], label_smoothing=0.1), ROWS),
    "nll_loss": (lambda x: nn.nll_loss(x, [0, 2, 1, 6]), ROWS),
    "binary_cross_entropy_with_logits": (lambda x: nn.binary_cross_entropy_with_logits(x, ROWS > 0.5), ROWS),
}
DISCRETE = {"all", "any", "argmax", "argmin", "count_nonzero"}
# 1e±25 and 1e±160; and less, where high powers of the scale stay in range.
EXTREME = {
    "float32": (2.0**83, 2.0**-83, 2.0**20, 2.0**-20),
    "float64": (2.0**531, 2.0**-531, 2.0**180, 2.0**-180),
}


def test_the_table_holds_every_function():
    tabled = {name.partition(" ")[0].strip(",") for name in TABLE}
    functions = {name for name in linalg.__all__ if name != "LinAlgError"} | set(_reductions.__all__) - DISCRETE
    functions |= {n for n, f in vars(losses).items() if n in nn.__all__ and f.__module__ == losses.__name__}
    functions |= {name for name in nn.__all__ if "Norm" in name}
    assert functions - tabled == set()


def results(f, x):
    """Per result of f: value, gradient and second derivative along a direction, of a weighted sum."""
    leaves = wg._tree.leaves(f(x))
    for i, value in enumerate(leaves):
        if value.dtype.kind != "f":
            continue
        weights = like(x, np.cos(np.arange(value.size)).reshape(value.shape))
        direction = like(x, np.sin(1.0 + np.arange(x.size)).reshape(x.shape))

        def weighted(z, i=i, weights=weights):
            return (wg._tree.leaves(f(z))[i] * weights).sum()

        yield "value", i, value.numpy()
        yield "gradient", i, wg.grad(weighted)(x).numpy()
        yield "second derivative", i, wg.hvp(weighted, x, direction).numpy()


def size(a):
    return np.abs(a).max(initial=0.0)


@pytest.mark.parametrize("dtype", EXTREME)
@pytest.mark.parametrize("name", TABLE)
def test_results_follow_the_scale_of_their_input(name, dtype):
    f, x = TABLE[name]
    info = np.finfo(dtype)
    rtol = 3e-4 if dtype == "float32" else 1e-9
    compared = 0
    for scale in EXTREME[dtype]:
        near = 2.0**48 if scale > 1 else 2.0**-48
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            law = [list(results(f, wg.tensor(x * s))) for s in (near, near**0.75)]
            got = list(results(f, wg.tensor(x * scale, dtype)))
        for (what, i, y), (_, _, nearer), (_, _, z) in zip(law[0], law[1], got, strict=True):
            if size(y) < 1e-9 * near ** np.round(np.log2(size(nearer) or 1) / np.log2(near) / 0.75):
                y = y * 0.0  # what the law leaves is 0, but for rounding
            power = np.round(8 * np.log2(size(y) / size(nearer)) / np.log2(near)) / 2 if size(y) and size(nearer) else 0
            exponent = np.log2(scale) - np.log2(near)
            expected = y.astype(np.longdouble) * np.longdouble(2.0) ** (power * exponent)
            if not info.tiny * 1e3 < size(expected) < info.max / 1e3 and size(y):
                continue
            compared += 1
            error = size(z - expected)
            assert error <= rtol * (size(expected) or 1.0), (what, i, scale, power, z, expected)
    assert compared


# --- what has no derivative, at any scale --------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [-80, -30, 0, 30, 80])
def test_dependent_columns_and_repeated_values_are_refused_at_every_scale(dtype, power):
    """Rounding leaves no exact zero and no two equal values; a scale makes none."""
    turn = np.linalg.qr(FIVE)[0]
    twice = turn @ np.diag([1.0, 2.0, 2.0, 3.0, 5.0]) @ np.swapaxes(turn, -1, -2)
    dependent = [np.arange(1.0, 10).reshape(3, 3), TALL @ A[:, [0, 1, 0]], TALL[:, [0, 1, 1]], FLAT[:, [0, 0, 1, 2]]]
    cases = [(linalg.qr, x, "dependent columns") for x in dependent]
    cases += [(linalg.svd, twice, "repeated value"), (lambda x: linalg.eigh(x)[1:], twice, "repeated value")]
    cases += [(lambda x: linalg.svd(x, full_matrices=False), TALL[:, [0, 1, 1]], "singular value 0")]
    for f, x, words in cases:
        for mode in ("rev", "fwd"):
            with pytest.raises(np.linalg.LinAlgError, match=words):
                wg.jacobian(lambda z, f=f: f(z)[0], mode=mode)(wg.tensor(x * 2.0**power, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_columns_of_very_different_sizes_are_not_dependent(dtype):
    x = wg.tensor(TALL * np.array([1.0, 1e-9, 1e9]), dtype)
    near = wg.grad(lambda z: (linalg.qr(z)[0] ** 3).sum())(wg.tensor(TALL, dtype)).numpy()
    far = wg.grad(lambda z: (linalg.qr(z)[0] ** 3).sum())(x).numpy() * np.array([1.0, 1e-9, 1e9])
    np.testing.assert_allclose(far, near, rtol=1e-3 if dtype == "float32" else 1e-10, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_cofactor_is_as_exact_as_its_own_elements(dtype):
    got = wg.grad(linalg.det)(wg.tensor([[1e4, 0.0], [0.0, 1e-4]], dtype)).numpy()
    np.testing.assert_allclose(got, [[1e-4, 0], [0, 1e4]], rtol=1e-7)
    got = wg.grad(linalg.det)(wg.tensor(np.diag([1e6, 1.0, 1e-6]), dtype)).numpy()
    np.testing.assert_allclose(got, np.diag([1e-6, 1.0, 1e6]), rtol=1e-6)
    got = wg.grad(linalg.det)(wg.tensor(np.diag([1e25, 1e25, 1e-25, 1e-25]), dtype)).numpy()
    np.testing.assert_allclose(np.diag(got), [1e-25, 1e-25, 1e25, 1e25], rtol=1e-5)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(
    "name", ["svd", "svdvals", "eigh", "eigvalsh", "pinv", "lstsq", "inv", "slogdet", "cholesky", "qr", "det"]
)
def test_nan_is_an_error_by_name_or_stays_nan(name, batch):
    x = np.array([[np.nan, 1.0], [1.0, 1.0]])
    x = np.stack([np.eye(2), x]) if batch else x
    rest = (np.ones((2, 1)),) if name == "lstsq" else ()
    if name in ("cholesky", "qr", "det"):
        y = wg._tree.leaves(getattr(linalg, name)(x, *rest))[0].numpy()
        assert np.isnan(y[1] if batch else y).any()
        return
    where = "matrix 1 of the batch" if batch else r"the matrix of shape \(2, 2\)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(np.linalg.LinAlgError, match=rf"\w+: {where}"):
            getattr(linalg, name)(x, *rest)
