"""Elementwise kernels, straight from the kernel table of every instruction set: ulps, special values, tails, bits."""

import csv
import pathlib

import numpy as np
import pytest

from wengert import _core

special = pytest.importorskip("scipy.special")
mpmath = pytest.importorskip("mpmath")

ISAS = _core.isas()
FMA = [isa for isa in ISAS if isa != "baseline"]
DTYPES = [np.float32, np.float64]
TINY = {np.float32: 1e-45, np.float64: 5e-324}

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def run(isa, name, *arrays):
    return _core.kernel_map(isa, name, list(arrays))


def ulps(got, want):
    """The error of `got` in units in the last place of the type of `got`; `want` is of a wider type."""
    info = np.finfo(got.dtype)
    want = np.asarray(want)
    exponent = np.maximum(np.frexp(want)[1] - 1, info.minexp)
    unit = np.ldexp(want.dtype.type(1), exponent - info.nmant)
    error = np.abs(got.astype(want.dtype) - want) / unit
    # beyond the largest number: infinity is right where rounding leads to it
    largest = np.ldexp(want.dtype.type(2) - want.dtype.type(info.eps) / 2, info.maxexp - 1)
    edge = np.isinf(got) & (np.abs(want) >= largest)
    same = (got == want) | (np.isnan(got) & np.isnan(want)) | (edge & (np.sign(got) == np.sign(want)))
    return np.where(same, 0, error)


def _sigmoid(x):
    return np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x)))


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


# name: (where samples are dense, limit in float32, limit in float64, reference on the next wider type)
NUMPY = {
    "exp": ((-110, 95), 1.5, 2, np.exp),
    "exp2": ((-155, 130), 1.5, 2, np.exp2),
    "expm1": ((-20, 20), 1.5, 2, np.expm1),
    "log": ((0, 4), 1.5, 2, np.log),
    "log2": ((0, 4), 1.5, 2, np.log2),
    "log10": ((0, 4), 1.5, 2, np.log10),
    "log1p": ((-1, 4), 1.5, 2, np.log1p),
    "sin": ((-20, 20), 1.5, 2, np.sin),
    "cos": ((-20, 20), 1.5, 2, np.cos),
    "tan": ((-20, 20), 1.5, 2, np.tan),
    "asin": ((-1, 1), 1.5, 2, np.arcsin),
    "acos": ((-1, 1), 1.5, 2, np.arccos),
    "atan": ((-5, 5), 1.5, 2, np.arctan),
    "sinh": ((-10, 10), 1.5, 2, np.sinh),
    "cosh": ((-10, 10), 1.5, 2, np.cosh),
    "tanh": ((-10, 10), 1.5, 2, np.tanh),
    "asinh": ((-5, 5), 1.5, 2, np.arcsinh),
    "acosh": ((1, 5), 1.5, 2, np.arccosh),
    "atanh": ((-1, 1), 1.5, 2, np.arctanh),
    "cbrt": ((-9, 9), 1.5, 2, np.cbrt),
    "sqrt": ((0, 4), 0.5, 0.5, np.sqrt),
    "rsqrt": ((0, 4), 1.5, 2, lambda x: 1 / np.sqrt(x)),
    "reciprocal": ((-4, 4), 0.5, 0.5, lambda x: 1 / x),
    "sigmoid": ((-104, 20), 1.5, 2, _sigmoid),
    "softplus": ((-104, 20), 1.5, 2, _softplus),
    "log_sigmoid": ((-20, 104), 1.5, 2, lambda x: -_softplus(-x)),
    "silu": ((-105, 20), 4, 4, lambda x: np.where(x < -20000, -0.0, x * _sigmoid(x))),
}
# The same for float32 alone: SciPy goes no further than double.
SCIPY = {
    "erf": ((-5, 5), 1.5, special.erf),
    "erfc": ((-5, 10), 1.5, special.erfc),
    "erfinv": ((-1, 1), 1.5, special.erfinv),
    "normal_cdf": ((-14, 8), 4, special.ndtr),
    "normal_pdf": ((-14, 14), 1.5, lambda x: np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)),
    "gelu": ((-14, 8), 4, lambda x: np.where(x < -1000, -0.0, x * special.ndtr(x))),
}


def samples(dtype, low, high, n=100_000):
    """Uniform over the range, and over all bit patterns."""
    rng = np.random.default_rng(7)
    dense = (low + (high - low) * rng.random(n)).astype(dtype)
    pattern = rng.integers(0, 256, size=n * dtype().itemsize, dtype=np.uint8).view(dtype)
    return np.concatenate([dense, pattern])


def specials(dtype):
    info = np.finfo(dtype)
    x = [0, 1, 0.5, 2, 3, 10, 88.7, 89, 104, 710, 746, 1000, 1e10, info.max, info.tiny, info.tiny / 2, TINY[dtype]]
    x += [np.inf, np.nan, np.nextafter(dtype(1), dtype(0)), np.nextafter(dtype(1), dtype(2)), 1e5, 3e5, 1e7]
    edges = 2.0 ** np.arange(-6, 8)  # and their neighbours: where implementations change from piece to piece
    edges = [(1 + k * info.eps / 2) * edges for k in range(-4, 5)]
    x = np.concatenate([np.array(x, dtype), np.array(edges, dtype).ravel()])
    return np.concatenate([x, -x])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NUMPY)
def test_against_longdouble(name, dtype):
    (low, high), limit32, limit64, f = NUMPY[name]
    if dtype is np.float64 and np.finfo(np.longdouble).nmant < 63:
        pytest.skip("no wider type here")
    x = np.concatenate([samples(dtype, low, high), specials(dtype)])
    want = f(x.astype(np.longdouble if dtype is np.float64 else np.float64))
    for isa in ISAS:
        limit = (limit32 if dtype is np.float32 else limit64) + 0.001 + (isa == "baseline")
        error = ulps(run(isa, name, x), want)
        worst = np.argmax(error)
        assert error[worst] <= limit, (isa, x[worst], error[worst])
        assert not np.isnan(error).any()


@pytest.mark.parametrize("name", SCIPY)
def test_against_double(name):
    (low, high), limit, f = SCIPY[name]
    x = np.concatenate([samples(np.float32, low, high), specials(np.float32)])
    want = f(x.astype(np.float64))
    for isa in ISAS:
        error = ulps(run(isa, name, x), want)
        worst = np.argmax(error)
        assert error[worst] <= limit + 0.01 + (isa == "baseline"), (isa, x[worst], error[worst])


@pytest.mark.parametrize("name", ["sigmoid_d0", "silu_d0", "gelu_d0", "gelu_tanh_d0", "gelu_tanh", "normal_cdf"])
def test_float_against_the_same_in_double(name):
    """Densely, where the float kernels are formulas of their own; those in double are held against mpmath below."""
    x = np.concatenate([samples(np.float32, -20, 20, 400_000), samples(np.float32, -110, 2, 50_000)])
    x = np.concatenate([x[np.isfinite(x)], specials(np.float32)])
    for isa in ISAS:
        if name.endswith("_d0"):
            wide = x.astype(np.float64)
            want = run(isa, name, wide, run(isa, name[:-3], wide), np.ones_like(wide))
            got = run(isa, name, x, run(isa, name[:-3], x), np.ones_like(x))
        else:
            got, want = run(isa, name, x), run(isa, name, x.astype(np.float64))
        error = ulps(got, want)
        worst = np.argmax(error)
        assert error[worst] <= 4 + 2 * (isa == "baseline"), (isa, x[worst], error[worst])


def _slopes():
    def cdf(x):
        return mpmath.erfc(-x / mpmath.sqrt(2)) / 2

    def pdf(x):
        return mpmath.npdf(x)

    def sigmoid(x):
        return 1 / (1 + mpmath.exp(-x))

    def inner(x):
        return mpmath.sqrt(8 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)

    return {
        "erf": (mpmath.erf, (-5.5, 5.5), 2),
        "erfc": (mpmath.erfc, (-5, 26), 2),
        "erfinv": (mpmath.erfinv, (-0.999, 0.999), 2),
        "normal_cdf": (cdf, (-37, 8), 3),
        "normal_pdf": (pdf, (-37, 37), 2),
        "gelu": (lambda x: x * cdf(x), (-37, 8), 4),
        "silu": (lambda x: x * sigmoid(x), (-700, 30), 4),
        "gelu_tanh": (lambda x: x * sigmoid(inner(x)), (-9, 6), 4),
        "gelu_tanh_d0": (
            lambda x: sigmoid(inner(x)) * (1 + x * mpmath.diff(inner, x) * sigmoid(-inner(x))),
            (-9, 6),
            4,
        ),
        "erf_d0": (lambda x: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x), (-9, 9), 4),
        "gelu_d0": (lambda x: cdf(x) + x * pdf(x), (-12, 8), 4),
        "silu_d0": (lambda x: sigmoid(x) * (1 + x * sigmoid(-x)), (-80, 30), 4),
        "sigmoid_d0": (lambda x: sigmoid(x) * sigmoid(-x), (-80, 80), 4),
        "softplus_d0": (sigmoid, (-80, 30), 4),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", _slopes())
def test_against_mpmath(name, dtype):
    """Tails, roots of derivatives and all: few points, but an exact reference."""
    f, (low, high), limit = _slopes()[name]
    if name == "gelu_d0" and dtype is np.float64:
        low = -36
    rng = np.random.default_rng(3)
    x = np.concatenate([low + (high - low) * rng.random(150), rng.normal(size=100), [-1.27846, -0.75179, -1.05]])
    x = x[(x > low) & (x < high)].astype(dtype)
    if name == "gelu_tanh_d0" and dtype is np.float64:
        x = x[abs(x + 0.75) > 0.25]  # at its root terms cancel: test_whole_range.py
    if name.endswith("_d0"):
        y = run(ISAS[-1], name[:-3], x)
        got = {isa: run(isa, name, x, y, np.ones_like(x)) for isa in ISAS}
    else:
        got = {isa: run(isa, name, x) for isa in ISAS}
    with mpmath.workdps(50):
        for i, v in enumerate(x):
            want = f(mpmath.mpf(float(v)))
            unit = np.spacing(np.abs(dtype(float(want))))
            for isa in ISAS:
                error = abs(float((mpmath.mpf(float(got[isa][i])) - want) / mpmath.mpf(float(unit))))
                assert error <= limit + 0.001 + 2 * (isa == "baseline"), (isa, v, error)


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_operands(dtype):
    rng = np.random.default_rng(5)
    n = 50_000
    wide = np.longdouble if dtype is np.float64 else np.float64
    a, b = (rng.normal(size=(2, n)) * 10.0 ** rng.integers(-3, 4, size=(2, n))).astype(dtype)
    edge = specials(dtype)
    a = np.concatenate([a, np.repeat(edge, len(edge))])
    b = np.concatenate([b, np.tile(edge, len(edge))])
    cases = {"pow": np.power, "atan2": np.arctan2, "hypot": np.hypot, "add": np.add, "divide": np.divide}
    for name, f in cases.items():
        x = np.abs(a) if name == "pow" else a
        want = f(x.astype(wide), b.astype(wide))
        for isa in ISAS:
            error = ulps(run(isa, name, x, b), want)
            worst = np.argmax(error)
            assert error[worst] <= 2, (isa, name, x[worst], b[worst], error[worst])
            assert not np.isnan(error).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_power_of_negative_and_special_operands(dtype):
    edge = np.concatenate([specials(dtype), np.array([-3, -2, -1, 2.5, -2.5, 5, 0.3], dtype)])
    a, b = np.repeat(edge, len(edge)), np.tile(edge, len(edge))
    want = np.power(a.astype(np.float64), b.astype(np.float64))
    if dtype is np.float64:
        want = want.astype(np.longdouble)
    for isa in ISAS:
        got = run(isa, "pow", a, b)
        assert ulps(got, want).max() <= 2.5
        zero = (want == 0) & (got == 0)
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_remainder_is_pythons(dtype):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 20_000)).astype(dtype) * dtype(100)
    a = np.concatenate([a, np.array([5, -5, 0, -0.0, 1, -1, 1e30, -1e30, np.inf, 1, np.nan], dtype)])
    b = np.concatenate([b, np.array([3, 3, 3, 3, np.inf, np.inf, 7, 7, 2, 0, 1], dtype)])
    for isa in ISAS:
        got = run(isa, "remainder", a, b)
        for x, y, r in zip(a.tolist(), b.tolist(), got, strict=True):
            if not np.isfinite(x) or y == 0 or np.isnan(y):
                assert np.isnan(r)
            else:
                assert r == dtype(x % y), (isa, x, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values(dtype):
    """C99 Annex F, signs of zeros included."""
    inf, nan = np.inf, np.nan
    table = {
        "exp": [(0.0, 1), (-0.0, 1), (inf, inf), (-inf, 0.0), (nan, nan), (1e4, inf), (-1e4, 0.0)],
        "expm1": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -1), (nan, nan)],
        "log": [(0.0, -inf), (-0.0, -inf), (1, 0.0), (inf, inf), (-1, nan), (-inf, nan), (nan, nan)],
        "log2": [(0.0, -inf), (8, 3), (1, 0.0), (inf, inf), (-1, nan)],
        "log10": [(0.0, -inf), (1000, 3), (1, 0.0), (inf, inf), (-1, nan)],
        "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1, -inf), (-2, nan), (inf, inf), (-inf, nan), (nan, nan)],
        "sin": [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan), (nan, nan)],
        "cos": [(0.0, 1), (-0.0, 1), (inf, nan), (nan, nan)],
        "tan": [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (nan, nan)],
        "asin": [(0.0, 0.0), (-0.0, -0.0), (2, nan), (-2, nan), (nan, nan)],
        "acos": [(1, 0.0), (2, nan), (-2, nan), (nan, nan)],
        "atan": [(0.0, 0.0), (-0.0, -0.0), (nan, nan)],
        "sinh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (nan, nan)],
        "cosh": [(0.0, 1), (inf, inf), (-inf, inf), (nan, nan)],
        "tanh": [(0.0, 0.0), (-0.0, -0.0), (inf, 1), (-inf, -1), (800, 1), (-800, -1), (nan, nan)],
        "asinh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (nan, nan)],
        "acosh": [(1, 0.0), (0.5, nan), (-inf, nan), (inf, inf), (nan, nan)],
        "atanh": [(0.0, 0.0), (-0.0, -0.0), (1, inf), (-1, -inf), (2, nan), (nan, nan)],
        "cbrt": [(0.0, 0.0), (-0.0, -0.0), (-8, -2), (inf, inf), (-inf, -inf), (nan, nan)],
        "erf": [(0.0, 0.0), (-0.0, -0.0), (inf, 1), (-inf, -1), (nan, nan)],
        "erfc": [(inf, 0.0), (-inf, 2), (0.0, 1), (nan, nan)],
        "erfinv": [(0.0, 0.0), (1, inf), (-1, -inf), (2, nan), (nan, nan)],
        "sigmoid": [(0.0, 0.5), (inf, 1), (-inf, 0.0), (800, 1), (-800, 0.0), (nan, nan)],
        "softplus": [(inf, inf), (-inf, 0.0), (800, 800), (-800, 0.0), (nan, nan)],
        "gelu": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -0.0), (-800, -0.0), (nan, nan)],
        "silu": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -0.0), (-800, -0.0), (nan, nan)],
        "normal_cdf": [(inf, 1), (-inf, 0.0), (nan, nan)],
        "normal_pdf": [(inf, 0.0), (-inf, 0.0), (nan, nan)],
        "relu": [(0.0, 0.0), (-1, 0.0), (inf, inf), (-inf, 0.0), (nan, nan)],
        "round": [(0.5, 0.0), (1.5, 2), (-0.5, -0.0), (2.5, 2), (inf, inf), (nan, nan)],
        "floor": [(-0.0, -0.0), (-0.5, -1), (inf, inf), (nan, nan)],
        "ceil": [(-0.0, -0.0), (-0.5, -0.0), (inf, inf), (nan, nan)],
        "trunc": [(-0.7, -0.0), (1.9, 1), (nan, nan)],
    }
    for name, pairs in table.items():
        x, want = (np.array(v, dtype) for v in zip(*pairs, strict=True))
        for isa in ISAS:
            got = run(isa, name, x)
            np.testing.assert_array_equal(got, want, err_msg=f"{name} {isa}")
            number = ~np.isnan(want)
            np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want[number]), err_msg=f"{name} {isa}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormals_are_exact(dtype):
    x = (np.arange(1, 200) * TINY[dtype]).astype(dtype)
    x = np.concatenate([x, -x])
    for isa in ISAS:
        for name in ["sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "expm1", "log1p"]:
            np.testing.assert_array_equal(run(isa, name, x), x, err_msg=f"{name} {isa}")
        np.testing.assert_array_equal(run(isa, "multiply", x, np.full_like(x, 2)), x + x)
        np.testing.assert_array_equal(run(isa, "log2", np.exp2(dtype(-130)) * np.ones(1, dtype)), [-130])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["add", "tanh", "sin", "pow", "log", "gelu_d0"])
def test_every_length_offset_and_step(name, dtype):
    """Tails give the bits of full vectors, broadcast scalars those of full arrays, and nothing else is touched."""
    rng = np.random.default_rng(2)
    arity = {"add": 2, "pow": 2, "gelu_d0": 3}.get(name, 1)
    full = [rng.random(200).astype(dtype) + dtype(0.1) for _ in range(arity)]
    for isa in ISAS:
        whole = run(isa, name, *full)
        for n in range(1, 4 * 64 // dtype().itemsize + 2):
            for offset in (0, 1, 3):
                part = [x[offset : offset + n] for x in full]
                out = np.full(n + 2, 7, dtype)
                got = _core.kernel_map(isa, name, part, out[1:-1])
                np.testing.assert_array_equal(got, whole[offset : offset + n])
                assert out[0] == out[-1] == 7
        if arity > 1:
            scalar = run(isa, name, full[0], full[1][:1], *full[2:])
            np.testing.assert_array_equal(scalar, run(isa, name, full[0], np.full_like(full[0], full[1][0]), *full[2:]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_larger_than_the_caches(dtype):
    n = (1 << 24) // dtype().itemsize + 77
    x = np.arange(n, dtype=dtype) - n // 2
    out = np.full(n + 5, 7, dtype)
    for isa in ISAS:
        for offset in (0, 1, 3):
            part = out[offset : offset + n]
            np.testing.assert_array_equal(_core.kernel_map(isa, "add", [x, x[:1]], part), x + x[0])
            np.testing.assert_array_equal(_core.kernel_map(isa, "relu", [x], part), np.maximum(x, 0))
        assert (out[n + 3 :] == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_cotangent_gives_zero(dtype):
    x = np.array([0, 1, -1, np.inf, -np.inf, np.nan, 1e-40], dtype)
    g = np.zeros_like(x)
    for isa in ISAS:
        for name in ["sqrt", "log", "reciprocal", "gelu", "silu", "tanh", "acos", "exp"]:
            y = run(isa, name, x)
            np.testing.assert_array_equal(run(isa, name + "_d0", x, y, g), g, err_msg=f"{name} {isa}")


@pytest.mark.skipif(len(FMA) < 2, reason="one instruction set with fma here")
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_on_every_isa(dtype):
    pulled = ["gelu_d0", "gelu_tanh_d0", "silu_d0", "erf_d0", "sigmoid_d0", "tanh_d0"]
    names = [*NUMPY, *SCIPY, "gelu_tanh", *pulled]
    for name in names:
        x = np.concatenate([samples(dtype, -10, 10, 20_000), specials(dtype)])
        operands = [x]
        if name.endswith("_d0"):
            operands = [x, run(FMA[0], name[:-3], x), np.ones_like(x)]
        first = run(FMA[0], name, *operands)
        for isa in FMA[1:]:
            np.testing.assert_array_equal(run(isa, name, *operands), first, err_msg=f"{name} {isa}")
    a, b = samples(dtype, -10, 10, 20_000), samples(dtype, -10, 10, 20_000)[::-1].copy()
    for name in ["pow", "atan2", "hypot", "remainder", "logaddexp", "pow_d0", "pow_d1"]:
        operands = [a, b]
        if "_d" in name:
            operands += [run(FMA[0], "pow", a, b), np.ones_like(a)]
        first = run(FMA[0], name, *operands)
        for isa in FMA[1:]:
            np.testing.assert_array_equal(run(isa, name, *operands), first, err_msg=f"{name} {isa}")


def _validation_files():
    folder = pathlib.Path(np.__file__).parent / "_core" / "tests" / "data"
    return sorted(folder.glob("umath-validation-set-*.csv"))


OURS = {f"arc{name}": f"a{name}" for name in ("cos", "cosh", "sin", "sinh", "tan", "tanh")}


@pytest.mark.skipif(not _validation_files(), reason="NumPy without its test data")
@pytest.mark.parametrize("path", _validation_files(), ids=lambda p: p.stem.rpartition("-")[2])
def test_numpys_own_accuracy_data(path):
    name = path.stem.rpartition("-")[2]
    name = OURS.get(name, name)
    rows = {"np.float32": [], "np.float64": []}
    with path.open() as f:
        for row in csv.reader(line for line in f if not line.startswith(("#", "dtype"))):
            rows[row[0]].append(row[1:])
    for dtype, bits in ((np.float32, np.uint32), (np.float64, np.uint64)):
        data = rows["np." + dtype.__name__]
        if not data:
            continue
        x = np.array([int(r[0], 16) for r in data], bits).view(dtype)
        want = np.array([int(r[1], 16) for r in data], bits).view(dtype)
        limit = np.array([int(r[2]) for r in data])
        for isa in ISAS:
            got = run(isa, name, x)
            both_nan = np.isnan(got) & np.isnan(want)
            # distance in steps from float to float
            ours, theirs = (v.view(bits).astype(object) for v in (got, want))
            half = int(np.iinfo(bits).max >> 1)
            apart = abs(
                np.where(ours > half, half + 1 - ours, ours) - np.where(theirs > half, half + 1 - theirs, theirs)
            )
            wrong = ~both_nan & (apart > limit)
            assert not wrong.any(), (isa, x[wrong][:3], got[wrong][:3], want[wrong][:3])
