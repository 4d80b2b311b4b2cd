"""Every line of the page of derivatives, found through the op table: a new op is tested as soon as it is there.

The reference for an op's value is NumPy's or SciPy's function of the same name, one of ``REFERENCES``, or the op's own
formula evaluated by NumPy; its derivatives are held against difference quotients, in both modes, to second order.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.special

import wengert as wg

mpmath = pytest.importorskip("mpmath")
exact = pytest.importorskip("exact")

TABLE = {op["name"]: op for op in wg._core.op_table}
DIFFERENTIABLE = [name for name, op in TABLE.items() if op["differentiable"]]
PREDICATES = [name for name, op in TABLE.items() if not op["differentiable"]]
SHAPES = {1: [(), (0,), (2, 0, 3), (7,), (3, 5), (2, 3, 4, 5)]}
BROADCASTS = {
    2: [((3, 1), (4,)), ((), (3,)), ((2, 1, 3), (5, 1)), ((2, 3), (2, 1)), ((1,), (0,)), ((4, 1, 0), (1, 3, 1))],
    3: [((3, 1), (4,), ()), ((2, 1, 3), (5, 1), (2, 5, 3)), ((), (), (2,)), ((1,), (0,), ())],
}

# Functions that neither NumPy nor SciPy has under our name. `special` holds the values that theirs get wrong.
REFERENCES = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "atan2": np.arctan2,
    "pow": np.power,
    "round": np.round,
    "sigmoid": scipy.special.expit,
    "log_sigmoid": scipy.special.log_expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "normal_pdf": lambda x: np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi),
    "normal_cdf": scipy.special.ndtr,
    "lgamma": lambda x: np.where(x == -np.inf, np.inf, scipy.special.gammaln(x)),  # C's; SciPy has -inf there
    "polygamma": lambda n, x: polygamma(n, x),
    "sinc": lambda x: np.where(np.isinf(x) | ((x == np.round(x)) & (x != 0)), 0.0, np.sinc(x)),  # exact zeros
    "power_less": lambda a, b, c: np.power(a, b - c),
    "share": lambda a, b: share(a, b),
    "share_slope": lambda a, b: share(a, b) * share(b, a),
    "direction": lambda a, b: direction(a, b),
    "asin_slope": lambda x: 1 / np.sqrt((1 - x) * (1 + x)),
    "asinh_slope": lambda x: 1 / np.hypot(1, x),
    "acosh_slope": lambda x: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)),
    "sinpi": lambda x: np.where(np.isfinite(x) & (x == np.round(x)), 0.0, np.sin(np.pi * (x - 2 * np.round(x / 2)))),
    "cospi": lambda x: np.sin(np.pi * (0.5 - abs(x - 2 * np.round(x / 2)))),
    "gaussian": lambda x: np.exp(-x * x),
    "erfinv_slope": lambda x: np.sqrt(np.pi) / 2 * np.exp(scipy.special.erfinv(x) ** 2),
    "log_ndtr_slope": lambda x: np.sqrt(2 / np.pi) / scipy.special.erfcx(-x / np.sqrt(2)),
    "log_ndtr_slope2": lambda x: exactly("log_ndtr_slope2", x, -1.0, 0.0),
    "log_ndtr_slope3": lambda x: exactly("log_ndtr_slope3", x, 0.0, 0.0),
    "logistic_pdf": lambda x: scipy.special.expit(x) * scipy.special.expit(-x),
    "exp_quotient": lambda a, b: np.exp(a / b),
    "celu_slope": lambda x: np.where(x == -np.inf, -1.0, exactly("celu_slope", x, -1.0, -np.inf)),
    "gelu_tanh_gate": lambda x: scipy.special.expit(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3)),
    "gelu_tanh_gate_slope": lambda x: reference("gelu_tanh_gate")(x) * reference("gelu_tanh_gate")(-x),
    "mish": lambda x: limits(x, x * np.tanh(np.logaddexp(0, x))),
    "gelu": lambda x: limits(x, x * scipy.special.ndtr(x)),
    "gelu_tanh": lambda x: limits(x, 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    "silu": lambda x: limits(x, x * scipy.special.expit(x)),
}


def limits(x, y):
    """y with its limits where x is infinite."""
    return np.where(x == np.inf, np.inf, np.where(x == -np.inf, -0.0, y))


def share(a, b):
    """The logistic function of a - b; equal shares where both are infinity, none where both are -infinity."""
    return np.where((a == b) & np.isinf(a), np.where(a > 0, 0.5, 0.0), scipy.special.expit(a - b))


def direction(a, b):
    """The cosine of the angle of the point (a, b), 0 at the origin."""
    infinite = np.isinf(a) | np.isinf(b)
    a, b = (np.where(infinite & ~np.isnan(x), np.isinf(x) * np.sign(x), x) for x in (a, b))
    return np.where((a == 0) & (b == 0), a, a / np.sqrt(a * a + b * b))


def exactly(name, x, low, high):
    """By the reference of test_whole_range, with limits where x is infinite."""
    value = np.vectorize(lambda v: float(exact.at(name, (v,))[(0,)]) if np.isfinite(v) else np.nan, otypes=[float])
    with mpmath.workdps(60):
        return np.where(x == -np.inf, low, np.where(x == np.inf, high, value(x)))


def polygamma(n, x):
    """mpmath's, with the order rounded, for orders up to 30; at a pole infinite, or NaN where its sides differ."""

    def value(n, x):
        n = round(n) if np.isfinite(n) else -1
        if n == 0 or not 0 <= n <= 30 or np.isnan(x):
            return scipy.special.psi(x) if n == 0 else np.nan
        if np.isinf(x):
            return (-1) ** (n + 1) * 0.0 if x > 0 else np.nan
        if x <= 0 and x == round(x):
            return (np.inf if n % 2 else np.nan) if x else (-1) ** (n + 1) * np.inf
        return float(exact.psi(n, mpmath.mpf(float(x))))

    return np.vectorize(value, otypes=[float])(n, x)


def reference(name):
    """The op's value as a NumPy function."""
    if name in REFERENCES:
        return REFERENCES[name]
    for module in (np, scipy.special):
        if hasattr(module, name):
            return getattr(module, name)
    formula = TABLE[name]["formula"]
    assert f"{name}(" not in formula, f"{name} has no reference: add one to REFERENCES"
    code = compile(formula, name, "eval")
    functions = {f: reference(f) for f in code.co_names if f in TABLE or hasattr(np, f)}
    letters = "x" if TABLE[name]["arity"] == 1 else "abc"
    return lambda *operands: eval(code, functions, dict(zip(letters, operands, strict=False)))


def function(name):
    return getattr(wg._core, name)


def sample(name, shapes, dtype=np.float64, seed=0):
    """Operands within the op's domain."""
    rng = np.random.default_rng(seed)
    return [
        rng.uniform(lo, hi, shape).astype(dtype) for (lo, hi), shape in zip(TABLE[name]["domain"], shapes, strict=True)
    ]


def wide_sample(name, n=2000, seed=1):
    """Operands over many magnitudes, in the domain of the function rather than of the tests."""
    rng = np.random.default_rng(seed)
    arity = TABLE[name]["arity"]
    return [rng.choice([-1.0, 1.0], n) * 2.0 ** rng.uniform(-30, 9, n) for _ in range(arity)]


def expected(name, operands):
    with np.errstate(all="ignore"):
        return np.asarray(reference(name)(*(np.asarray(x, dtype=np.float64) for x in operands)))


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_value_and_dtype(name, dtype):
    arity = TABLE[name]["arity"]
    for shape in SHAPES[1]:
        operands = sample(name, [shape] * arity, dtype)
        y = function(name)(*operands)
        assert y.shape == shape
        assert y.dtype == (dtype if TABLE[name]["differentiable"] else np.bool_)
        tolerance = {"rtol": 1e-13, "atol": 1e-15} if dtype == np.float64 else {"rtol": 1e-6, "atol": 1e-7}
        np.testing.assert_allclose(y.numpy(), expected(name, operands), **tolerance)


@pytest.mark.parametrize("name", TABLE)
def test_value_over_all_magnitudes(name):
    operands = wide_sample(name)
    want = expected(name, operands).astype(np.float64)
    # Rounding in x is magnified by the function; sums of terms that cancel are judged by the terms.
    scale = 1e-12 * np.maximum(1e-3, np.minimum(1.0, np.max(np.abs(operands), axis=0)))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_less(
            np.abs(np.asarray(function(name)(*operands)).astype(np.float64) - want)[np.isfinite(want)],
            (1e-12 * np.abs(want) + scale)[np.isfinite(want)],
        )


SPECIALS = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nan_infinity_and_signed_zero(name, dtype):
    points = list(itertools.product(SPECIALS, repeat=TABLE[name]["arity"]))
    operands = [np.array(column, dtype=dtype) for column in zip(*points, strict=True)]
    got, want = function(name)(*operands).numpy(), expected(name, operands)
    for point, g, w in zip(points, got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-6, err_msg=f"{name}{point}")


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_and_second_derivative(name):
    operands = sample(name, [(5,)] * TABLE[name]["arity"])
    wg.check_grads(function(name), operands, order=2)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_both_modes_give_the_same_numbers(name):
    operands = sample(name, [(9,)] * TABLE[name]["arity"])
    for k, x in enumerate(operands):
        f = lambda x, k=k: function(name)(*(x if i == k else operands[i] for i in range(len(operands))))  # noqa: E731
        (reverse,) = wg.vjp(f, x)[1](np.ones(9))
        np.testing.assert_array_equal(reverse, wg.jvp(f, (x,), (np.ones(9),))[1])


@pytest.mark.parametrize("name", [n for n in DIFFERENTIABLE if TABLE[n]["arity"] > 1])
def test_broadcasting(name):
    f = function(name)
    for shapes in BROADCASTS[TABLE[name]["arity"]]:
        operands = sample(name, shapes)
        out = np.broadcast_shapes(*shapes)
        y, pullback = wg.vjp(f, *operands)
        assert y.shape == out
        np.testing.assert_allclose(y.numpy(), expected(name, operands), rtol=1e-13)
        assert [g.shape for g in pullback(np.ones(out))] == list(shapes)
        tangents = [np.ones(s) for s in shapes]
        assert wg.jvp(f, operands, tangents)[1].shape == out
        if 0 not in out:
            wg.check_grads(f, operands, order=2)
            jacobians = [
                wg.jacobian(f, argnums=tuple(range(len(shapes))), mode=mode)(*operands) for mode in ("fwd", "rev")
            ]
            for forward, reverse, s in zip(*jacobians, shapes, strict=True):
                assert forward.shape == out + s
                np.testing.assert_allclose(forward, reverse, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("name", [n for n in TABLE if TABLE[n]["arity"] > 1])
def test_shapes_that_do_not_broadcast_are_refused(name):
    shapes = [(2, 3), (2, 4), (1,)][: TABLE[name]["arity"]]
    with pytest.raises(ValueError, match=rf"{name}: shapes \(2, 3\) and \(2, 4\).* do not broadcast"):
        function(name)(*(np.ones(s) for s in shapes))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_empty_and_zero_dimensional_gradients(name):
    f = function(name)
    for shape in [(), (0,), (2, 0)]:
        operands = sample(name, [shape] * TABLE[name]["arity"])
        argnums = tuple(range(len(operands)))
        for gradient in wg.grad(lambda *args: wg.sum(f(*args)), argnums=argnums)(*operands):
            assert gradient.shape == shape


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_float32_gradients_stay_float32(name):
    operands = [wg.tensor(x) for x in sample(name, [(4,)] * TABLE[name]["arity"], np.float32)]
    argnums = tuple(range(len(operands)))
    f = lambda *args: wg.sum(function(name)(*args))  # noqa: E731
    narrow = wg.grad(f, argnums=argnums)(*operands)
    wide = wg.grad(f, argnums=argnums)(*(x.astype("float64") for x in operands))
    for g32, g64 in zip(narrow, wide, strict=True):
        assert g32.dtype == np.float32
        np.testing.assert_allclose(g32, g64, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in DIFFERENTIABLE if TABLE[n]["arity"] > 1])
def test_python_numbers_take_the_dtype_of_their_partner(name):
    operands = sample(name, [(3,)] * TABLE[name]["arity"], np.float32)
    for k in range(len(operands)):
        for number in (float(operands[k][0]), 1):
            mixed = [number if i == k else x for i, x in enumerate(operands)]
            assert function(name)(*mixed).dtype == np.float32
    wide = [operands[0], *(np.float64(x[0]) for x in operands[1:])]
    assert function(name)(*wide).dtype == np.float64  # a NumPy scalar has a dtype of its own


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_whole_numbers_and_masks_are_constants(name):
    arity = TABLE[name]["arity"]
    ones = np.ones(3, dtype=np.int64)
    with np.errstate(divide="ignore"):  # NumPy computes on whole numbers, and warns of atanh(1)
        y = function(name)(*[ones] * arity)
    assert not y.requires_grad
    np.testing.assert_allclose(np.asarray(y, dtype=np.float64), expected(name, [ones] * arity), rtol=1e-13, atol=1e-15)
    x = sample(name, [(3,)] * arity)
    for k in range(1, arity):
        f = lambda t, k=k: wg.sum(function(name)(t, *(ones if i == k else x[i] for i in range(1, arity))))  # noqa: E731
        assert wg.grad(f)(x[0]).shape == (3,)
    narrow = [x[0].astype(np.float32), *[np.array([True, False, True])] * (arity - 1)]
    values_are = np.bool_ if name == "where" else np.float32  # a condition decides about no dtype
    assert function(name)(*narrow).dtype == values_are


@pytest.mark.parametrize("name", PREDICATES)
def test_predicates_are_bool_constants(name):
    a, b = (wg.tensor(x, requires_grad=True) for x in sample(name, [(6,), (6,)]))
    y = function(name)(a, b)
    assert y.dtype == np.bool_
    assert not y.requires_grad
    assert wg.grad(lambda a: wg.sum(wg.where(function(name)(a, b), a, 0.0)))(a).shape == (6,)


@pytest.mark.parametrize("name", TABLE)
def test_wrong_arguments_are_refused_by_name(name):
    arity = TABLE[name]["arity"]
    with pytest.raises(TypeError, match=rf"{name}\(\) takes {arity} arguments, got {arity + 1}"):
        function(name)(*[1.0] * (arity + 1))
    with pytest.raises(TypeError, match=rf"{name}: operand 0 is a .*object"):
        function(name)(object(), *[1.0] * (arity - 1))


@pytest.mark.parametrize("name", TABLE)
def test_large_arrays_and_every_tail_length(name):
    # Full registers, the tail, the fused rows of a broadcast, and the split over threads agree with short arrays.
    operands = sample(name, [(70_001,)] * TABLE[name]["arity"])
    whole = function(name)(*operands).numpy()
    for n in (1, 2, 3, 7, 8, 9, 15, 31, 33):
        np.testing.assert_array_equal(function(name)(*(x[:n] for x in operands)).numpy(), whole[:n])
    np.testing.assert_array_equal(function(name)(*(x[-35:] for x in operands)).numpy(), whole[-35:])


def test_there_is_a_function_for_every_line_of_the_page():
    for name, op in TABLE.items():
        assert callable(getattr(wg, name)), name
        assert op["doc"] in function(name).__doc__
        assert len(op["pullbacks"]) in (0, op["arity"])
