"""The matrix product of every ISA that this CPU runs: values against float64, the same bits, edges, special values."""

import itertools
import os

import numpy as np
import pytest
from guard import Guarded

from wengert import _core

ISAS = _core.isas()
FMA = [isa for isa in ISAS if isa != "baseline"]  # those that promise the same bits
TYPES = [np.float32, np.float64]
FLAGS = list(itertools.product([False, True], repeat=2))

# (m, k, n): every vector count and edge of a tile, odd sizes, narrow, single rows, several blocks of k.
EDGES = [(m, k, n) for m in (1, 2, 13, 15) for k in (0, 1, 5, 33) for n in (*range(1, 10), 15, 16, 17, 31, 33, 65)]
LARGER = [(33, 65, 17), (100, 300, 50), (70, 700, 130), (29, 1030, 3), (1, 700, 1030), (3, 1100, 40), (50, 2000, 16)]
BLOCKS = [(150, 1300, 260), (40, 512, 1024)]


def stored(x, trans):
    return np.ascontiguousarray(x.T if trans else x)


def product(isa, a, b, trans_a=False, trans_b=False, **options):
    return _core.kernel_matmul(isa, stored(a, trans_a), stored(b, trans_b), trans_a, trans_b, **options)


def operands(rng, m, k, n, dtype):
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


def assert_product(c, a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    bound = (np.abs(a) @ np.abs(b)) * np.finfo(c.dtype).eps * max(4, 2 * a.shape[1] ** 0.5)
    assert (np.abs(c - a @ b) <= bound).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shapes", [EDGES, LARGER, BLOCKS], ids=["edges", "larger", "blocks"])
def test_values_and_bits(shapes, dtype):
    """Right in every ISA; the same bits in every ISA with an fma, for every way to store the operands."""
    rng = np.random.default_rng(0)
    for m, k, n in shapes:
        a, b = operands(rng, m, k, n, dtype)
        bits = set()
        for isa in ISAS:
            results = [product(isa, a, b, *flags) for flags in FLAGS]
            assert_product(results[0], a, b)
            if isa in FMA:
                bits.update(c.tobytes() for c in results)
            else:
                assert_product(results[3], a, b)
        assert len(bits) <= 1, (m, k, n)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", TYPES)
def test_rows_do_not_depend_on_their_number(isa, dtype):
    rng = np.random.default_rng(1)
    for _ in range(200):
        m, k, n = (int(rng.integers(1, top)) for top in (40, 150, 80))
        a, b = operands(rng, m, k, n, dtype)
        flags = FLAGS[rng.integers(4)]
        full = product(isa, a, b, *flags)
        for rows in {1, 2, m // 2 + 1, m}:
            if rows <= m:
                assert product(isa, a[:rows], b, *flags).tobytes() == full[:rows].tobytes(), (m, k, n, rows)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", TYPES)
def test_bias(isa, dtype):
    """AB + bias, the bits of two separate operations."""
    rng = np.random.default_rng(2)
    for m, k, n in [
        (5, 7, 1),
        (5, 7, 3),
        (1, 20, 40),
        (20, 33, 50),
        (17, 0, 9),
        (3, 1100, 40),
        (1, 1100, 20),
        (30, 1300, 5),
    ]:
        for flags in FLAGS:
            a, b = operands(rng, m, k, n, dtype)
            bias = rng.standard_normal(n).astype(dtype)
            plain = product(isa, a, b, *flags)
            assert product(isa, a, b, *flags, bias=bias).tobytes() == (plain + bias).tobytes(), (m, k, n, flags)


@pytest.mark.parametrize("isa", ISAS)
def test_nothing_to_add(isa):
    bias = np.arange(5, dtype=np.float32)
    out = np.full((3, 5), np.nan, np.float32)
    _core.kernel_matmul(isa, np.empty((3, 0), np.float32), np.empty((0, 5), np.float32), out=out, bias=bias)
    assert (out == bias).all()
    for m, n in [(0, 5), (3, 0)]:
        _core.kernel_matmul(isa, np.empty((m, 4), np.float32), np.empty((4, n), np.float32))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", [1, 3, 8, 40])
def test_special_values(isa, dtype, n):
    """NaN, infinities and denormals reach exactly the elements that they should."""
    k = 20
    for m, flags in itertools.product([1, 3, 16], FLAGS):
        a, b = np.ones((m, k), dtype), np.ones((k, n), dtype)
        a[m - 1, 3] = np.nan
        b[k - 1, n - 1] = np.inf
        with np.errstate(invalid="ignore"):
            want = np.where(np.isnan(a @ b), np.nan, a @ b)
        np.testing.assert_array_equal(product(isa, a, b, *flags), want)
    tiny = np.finfo(dtype).smallest_subnormal
    a, b = np.zeros((3, k), dtype), np.ones((k, n), dtype)
    a[1, :] = tiny
    assert (product(isa, a, b)[1] == k * tiny).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", TYPES)
def test_rows_farther_apart_than_long(isa, dtype):
    rng = np.random.default_rng(3)
    for m, k, n in [(5, 9, 3), (1, 30, 40), (20, 30, 40), (40, 64, 1024)]:
        a, b, c = (rng.standard_normal((r, w + 3)).astype(dtype) for r, w in [(m, k), (k, n), (m, n)])
        before = c.copy()
        _core.kernel_matmul(isa, a[:, 1 : k + 1], b[:, 2 : n + 2], out=c[:, 1 : n + 1])
        assert c[:, 1 : n + 1].tobytes() == product(isa, a[:, 1 : k + 1], b[:, 2 : n + 2]).tobytes()
        assert (c[:, 0] == before[:, 0]).all() and (c[:, n + 1 :] == before[:, n + 1 :]).all()


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("at_end", [True, False])
def test_never_outside_of_the_operands(isa, dtype, at_end):
    """A read or a write one byte too far ends the process."""
    rng = np.random.default_rng(4)
    guard = Guarded()
    for m, k, n in [(1, 5, 7), (3, 7, 1), (5, 19, 3), (17, 9, 21), (2, 33, 70), (1, 35, 67), (130, 300, 530)]:
        for ta, tb in FLAGS:
            a0, b0 = operands(rng, m, k, n, dtype)
            a, b = guard.copy(stored(a0, ta), at_end), guard.copy(stored(b0, tb), at_end)
            c, bias = guard.array((m, n), dtype, at_end), guard.array((n,), dtype, at_end)
            bias[...] = 0
            _core.kernel_matmul(isa, a, b, ta, tb, out=c, bias=bias)
            assert_product(c, a0, b0)
    guard.release()
