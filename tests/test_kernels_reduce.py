"""Reductions and the softmax family of every ISA that this CPU runs: values, the same bits, special values."""

import numpy as np
import pytest

from wengert import _core

ISAS = _core.isas()
FMA = [isa for isa in ISAS if isa != "baseline"]
TYPES = [np.float32, np.float64]
LENGTHS = [1, 2, 3, 5, 8, 10, 16, 17, 31, 32, 33, 63, 64, 65, 100, 130, 1000, 2048, 2049, 5000]
INNER = [1, 2, 7, 8, 9, 16, 17, 33, 64, 65, 129]
inf, nan = np.inf, np.nan


def same(arrays):
    return len({a.tobytes() for a in arrays}) <= 1


@pytest.mark.parametrize("dtype", TYPES)
def test_sum(dtype):
    rng = np.random.default_rng(0)
    eps = np.finfo(dtype).eps
    for n in [0, *LENGTHS]:
        for inner in INNER:
            x = rng.standard_normal((2, n, inner)).astype(dtype)
            results = {isa: _core.kernel_reduce(isa, "sum", x, 2, n, inner) for isa in ISAS}
            exact = x.astype(np.longdouble).sum(axis=1)
            for y in results.values():
                assert (np.abs(y - exact) <= 2 * eps * np.abs(x).sum(axis=1)).all(), (n, inner)
            assert same([results[isa] for isa in FMA])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("power", [-1, -0.6, -0.4, 0, 0.45, 0.55, 0.9])
def test_norm_at_any_scale(dtype, power):
    """From denormal numbers to where the norm itself would leave the range, some elements far below the others."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    scale = 2.0 ** np.round(power * (info.maxexp if power > 0 else info.maxexp + 10))
    for n in [0, *LENGTHS[:15]]:
        for inner in [1, 2, 9, 65]:
            x = (rng.standard_normal((2, n, inner)) * scale).astype(dtype)
            x[:, ::3] *= dtype(2.0**-30)
            results = {isa: _core.kernel_reduce(isa, "norm", x, 2, n, inner) for isa in ISAS}
            exact = np.sqrt((x.astype(np.longdouble) ** 2).sum(axis=1))
            for y in results.values():
                assert (np.abs(y - exact) <= 4 * info.eps * exact + 2 * info.smallest_subnormal).all(), (n, inner)
            assert same([results[isa] for isa in FMA])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("inner", [1, 3])
def test_norm_of_special_values(isa, dtype, inner):
    for values, want in [((0, -0.0), 0), ((inf, 1), inf), ((-inf, inf), inf), ((nan, 1), nan), ((inf, nan), nan)]:
        x = np.repeat(np.array(values, dtype)[None, :, None], inner, 2)
        np.testing.assert_array_equal(_core.kernel_reduce(isa, "norm", x, 1, 2, inner), np.full((1, inner), want))


@pytest.mark.parametrize("isa", ISAS)
def test_long_float_sums_are_good_to_half_an_ulp(isa):
    x = np.random.default_rng(1).random((100_000, 64), np.float32)
    for y, axis in [
        (_core.kernel_reduce(isa, "sum", x, 1, 100_000, 64)[0], 0),
        (_core.kernel_reduce(isa, "sum", x, 1, x.size, 1)[0, 0], None),
    ]:
        exact = x.sum(axis=axis, dtype=np.float64)
        assert (np.abs(y - exact) <= 1e-7 * exact).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n, inner", [(3, 1), (70, 1), (5000, 1), (3, 5), (200, 33)])
def test_sum_of_special_values(isa, dtype, n, inner):
    def total(**at):
        x = np.ones((1, n, inner), dtype)
        for place, value in at.items():
            x[0, {"first": 0, "last": n - 1}[place], 0] = value
        return _core.kernel_reduce(isa, "sum", x, 1, n, inner)[0]

    assert total(first=inf)[0] == inf
    assert total(last=-inf)[0] == -inf
    assert np.isnan(total(first=inf, last=-inf)[0])
    assert np.isnan(total(last=nan)[0])
    if inner > 1:
        assert (total(first=nan, last=inf)[1:] == n).all()
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.full((1, n, inner), tiny, dtype)
    assert (_core.kernel_reduce(isa, "sum", x, 1, n, inner) == n * tiny).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name, reference", [("max", np.max), ("min", np.min)])
def test_extrema(dtype, name, reference):
    """Exact, NaN if any element is."""
    rng = np.random.default_rng(2)
    for n in LENGTHS:
        for inner in INNER:
            x = rng.standard_normal((3, n, inner)).astype(dtype)
            x[rng.random(x.shape) < 0.05] = -inf
            poisoned = x.copy()
            poisoned[1, n // 2, inner // 2] = nan
            for isa in ISAS:
                y = _core.kernel_reduce(isa, name, x, 3, n, inner)
                assert y.tobytes() == reference(x, axis=1).tobytes(), (isa, n, inner)
                y = _core.kernel_reduce(isa, name, poisoned, 3, n, inner)
                np.testing.assert_array_equal(y, reference(poisoned, axis=1))


def references(x, g, labels, g_row):
    """Of every row kernel in extended precision: (arrays, value, scale of the error)."""
    n = x.shape[1]
    wide = x.astype(np.longdouble)
    largest = wide.max(axis=1, keepdims=True)
    e = np.exp(wide - largest)
    total = e.sum(axis=1, keepdims=True)
    softmax, log_softmax = e / total, wide - largest - np.log(total)
    p, log_p = softmax.astype(x.dtype), log_softmax.astype(x.dtype)
    wg, wp = g.astype(np.longdouble), p.astype(np.longdouble)
    hot = np.arange(n) == labels[:, None]
    size = np.abs(log_softmax).max()
    d = wide - wide.mean(axis=1, keepdims=True)
    inverse = 1 / np.sqrt((d * d).mean(axis=1, keepdims=True) + 1e-5)
    y, size_y = d * inverse, inverse * np.abs(x).max()
    slope = inverse * (wg - wg.mean(axis=1, keepdims=True) - y * (wg * y).mean(axis=1, keepdims=True))
    return {
        "layer_norm": ([x], y, size_y),
        "layer_norm_pullback": ([x, g], slope, inverse * np.abs(g).max() * (1 + size_y) * (1 + np.abs(y).max())),
        "logsumexp": ([x], (largest + np.log(total))[:, 0], np.abs(wide).max()),
        "softmax": ([x], softmax, softmax * size),
        "log_softmax": ([x], log_softmax, size),
        "softmax_pullback": ([p, g], wp * (wg - (wp * wg).sum(axis=1, keepdims=True)), p * np.abs(g).max() * 4),
        "log_softmax_pullback": (
            [log_p, g],
            wg - np.exp(log_p.astype(np.longdouble)) * wg.sum(axis=1, keepdims=True),
            np.abs(g) + p * np.abs(g).sum(axis=1, keepdims=True),
        ),
        "cross_entropy": ([x, labels], -log_softmax[np.arange(len(x)), labels], size),
        "cross_entropy_pullback": ([x, labels, g_row], g_row[:, None] * (softmax - hot), np.abs(g_row)[:, None]),
    }


@pytest.mark.parametrize("dtype", TYPES)
def test_rows(dtype):
    rng = np.random.default_rng(3)
    eps = np.finfo(dtype).eps
    for n in LENGTHS:
        for rows in (1, 5, 17):
            x = (rng.standard_normal((rows, n)) * 5).astype(dtype)
            g = rng.standard_normal((rows, n)).astype(dtype)
            labels, g_row = rng.integers(0, n, rows), rng.standard_normal(rows).astype(dtype)
            for name, (arrays, exact, scale) in references(x, g, labels, g_row).items():
                results = {isa: _core.kernel_rows(isa, name, arrays) for isa in ISAS}
                for isa, y in results.items():
                    assert (np.abs(y - exact) <= 16 * eps * (np.abs(exact) + scale)).all(), (name, isa, rows, n)
                    # A row is the same whichever rows stand beside it.
                    alone = _core.kernel_rows(isa, name, [np.ascontiguousarray(a[-1:]) for a in arrays])
                    assert alone.tobytes() == y[-1:].tobytes(), (name, isa, rows, n)
                assert same([results[isa] for isa in FMA]), (name, rows, n)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", [4, 100])
def test_rows_of_special_values(isa, dtype, n):
    def run(name, row, label=0, g=1.0):
        x = np.array([[*row, *[row[-1]] * (n - len(row))]], dtype)
        extra = {"cross_entropy": [np.array([label])]}
        extra["cross_entropy_pullback"] = [np.array([label]), np.array([g], dtype)]
        return _core.kernel_rows(isa, name, [x, *extra.get(name, [])])[0]

    assert run("logsumexp", [-inf]) == -inf
    assert run("logsumexp", [1, inf, 1]) == inf
    assert np.isnan(run("logsumexp", [1, nan, 1]))
    assert np.isnan(run("logsumexp", [nan, 1]))
    for row in ([-inf], [1, inf, 1], [1, nan, 1]):
        assert np.isnan(run("softmax", row)).all()
    assert run("softmax", [1000, 1000, -inf]).tolist() == [0.5, 0.5] + [0.0] * (n - 2)
    assert run("softmax", [-1000, -1000, -inf])[:2].tolist() == [0.5, 0.5]
    got = run("log_softmax", [0, 0, -inf])
    assert np.allclose(got[:2], -np.log(2)) and (got[2:] == -inf).all()
    # Minus infinity on a class that is not the label, and on the label.
    assert np.isfinite(run("cross_entropy", [1, -inf, 2], 0))
    assert run("cross_entropy", [1, -inf, 2], 1) == inf
    for label in (0, 1):
        assert np.isfinite(run("cross_entropy_pullback", [1, -inf, 2], label)).all()
    assert (run("cross_entropy_pullback", [nan, 1, 2], 1, g=0.0) == 0).all()


@pytest.mark.parametrize("isa", ISAS)
def test_no_rows_and_no_columns(isa):
    x = np.empty((0, 5), np.float32)
    assert _core.kernel_rows(isa, "softmax", [x]).shape == (0, 5)
    assert _core.kernel_rows(isa, "logsumexp", [np.empty((2, 0), np.float32)]).tolist() == [-inf, -inf]
    assert _core.kernel_reduce(isa, "sum", np.empty((2, 0, 3), np.float32), 2, 0, 3).tolist() == [[0] * 3] * 2
