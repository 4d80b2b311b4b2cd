"""Derivatives of high order against mpmath, Taylor expansions, linear maps from one run, flat Jacobians."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import wengert as wg
from wengert import _core


def nth(f, n, mode="rev"):
    for _ in range(n):
        f = wg.grad(f) if mode == "rev" else forward(f)
    return f


def forward(f):
    return lambda x: wg.jvp(f, (x,), (1.0,))[1]


# name: (in tensors, in mpmath, where)
FUNCTIONS = {
    "tanh": (wg.tanh, mpmath.tanh, (-1.3, 0.0, 0.4)),
    "exp sin": (lambda x: wg.exp(x) * wg.sin(x), lambda x: mpmath.exp(x) * mpmath.sin(x), (-1.0, 0.0, 2.0)),
    "pow": (lambda x: x**2.5, lambda x: x ** mpmath.mpf(2.5), (0.5, 1.0, 3.0)),
    "whole pow": (lambda x: x**7, lambda x: x**7, (-1.5, 0.0, 2.0)),
    "power tower": (lambda x: x**x, lambda x: x**x, (0.5, 1.0, 2.0)),
    "composed": (
        lambda x: wg.log1p(wg.exp(wg.sin(x * x)) / (1.0 + x * x)),
        lambda x: mpmath.log1p(mpmath.exp(mpmath.sin(x * x)) / (1 + x * x)),
        (-0.7, 0.0, 1.1),
    ),
    "worked example": (
        lambda x: wg.sqrt(x * x + wg.exp(x * x)) + wg.cos(x * x + wg.exp(x * x)),
        lambda x: mpmath.sqrt(x * x + mpmath.exp(x * x)) + mpmath.cos(x * x + mpmath.exp(x * x)),
        (-0.5, 0.0, 0.8),
    ),
    "products at zero": (lambda x: x * x * x * x * x + wg.sin(x) * x, lambda x: x**5 + mpmath.sin(x) * x, (0.0, 0.3)),
    "xlogy": (lambda x: wg.xlogy(x, 1.0 + x), lambda x: x * mpmath.log(1 + x), (0.0, 0.5)),
    "sinc": (wg.sinc, mpmath.sincpi, (-1.4, 0.0, 0.1, 0.35)),
    "lgamma": (wg.lgamma, mpmath.loggamma, (0.4, 1.0, 2.0, 5.0)),
    "matrix": (
        lambda x: wg.linalg.det(wg.linalg.inv(wg.stack([wg.stack([1.0 + x, x * x]), wg.stack([x, 2.0 - x])]))),
        lambda x: 1 / ((1 + x) * (2 - x) - x**3),
        (0.0, 0.3),
    ),
}


@pytest.mark.parametrize("mode", ["rev", "fwd"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_fifth_derivative(name, mode):
    f, reference, points = FUNCTIONS[name]
    with mpmath.workdps(60):
        for x in points:
            want = float(mpmath.taylor(reference, mpmath.mpf(x), 5)[5] * 120)
            got = nth(f, 5, mode)(x).item()
            assert got == pytest.approx(want, rel=1e-8, abs=1e-8), x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_taylor(name):
    f, reference, points = FUNCTIONS[name]
    with mpmath.workdps(60):
        for x in points:
            want = [float(c) for c in mpmath.taylor(reference, mpmath.mpf(x), 5)]
            got = [c.item() for c in wg.taylor(f, x, 5)]
            assert got == pytest.approx(want, rel=1e-9, abs=1e-9), x


def test_taylor_along_a_direction_of_nested_arguments():
    p, v = {"a": np.array([1.0, 2.0]), "b": 0.5}, {"a": np.array([0.3, -1.0]), "b": 2.0}

    def f(p):
        return {"y": (p["a"] * p["b"]).sum() ** 2, "z": wg.sin(p["a"])}

    coefficients = wg.taylor(f, p, 8, v)
    h = 0.125
    moved = {k: p[k] + h * v[k] for k in p}
    for key, want in f(moved).items():
        got = sum(c[key].numpy() * h**k for k, c in enumerate(coefficients))
        np.testing.assert_allclose(got, np.asarray(want), rtol=1e-9)
    assert wg.taylor(f, p, 0)[0]["z"].shape == (2,)


def test_taylor_is_differentiable():
    third = wg.grad(lambda x: wg.taylor(wg.sin, x, 3)[3])(0.2)
    assert third.item() == pytest.approx(math.sin(0.2) / 6, rel=1e-14)


def test_taylor_refuses():
    with pytest.raises(ValueError, match="taylor: order must be between 0 and 170"):
        wg.taylor(wg.sin, 0.0, -1)
    with pytest.raises(ValueError, match="taylor: 2 directions for 1 arrays"):
        wg.taylor(wg.sin, 0.0, 1, [1.0, 1.0])
    with pytest.raises(ValueError, match=r"taylor: the direction has shape \(2,\), expected \(\)"):
        wg.taylor(wg.sin, 0.0, 1, np.ones(2))


def test_linearize_runs_once_and_is_the_jacobian():
    runs = []

    def f(x, p):
        runs.append(1)
        return {"y": wg.sin(x) * p["w"], "s": (x * p["w"]).sum()}

    x, p = np.array([0.3, -1.0]), {"w": np.array([2.0, 5.0])}
    out, push = wg.linearize(f, x, p)
    assert out["s"].item() == pytest.approx(-4.4)
    for tx, tw in (([1.0, 0.0], [0.0, 0.0]), ([0.5, 2.0], [1.0, -1.0])):
        tx, tw = np.array(tx), np.array(tw)
        got = push(tx, {"w": tw})
        np.testing.assert_allclose(got["y"].numpy(), np.cos(x) * p["w"] * tx + np.sin(x) * tw, rtol=1e-14)
        assert got["s"].item() == pytest.approx((p["w"] * tx + x * tw).sum())
    assert len(runs) == 1
    with pytest.raises(ValueError, match="linearize: 1 tangents for 2 arguments"):
        push(x)
    inner = wg.grad(lambda x: wg.linearize(wg.sin, x)[1](1.0))(0.4)
    assert inner.item() == pytest.approx(-math.sin(0.4))


@pytest.mark.parametrize("mode", ["rev", "fwd"])
def test_flat_jacobians(mode):
    b = np.random.default_rng(0).standard_normal((3, 2))
    full = wg.jacobian(lambda b: b.T @ b, mode=mode)(b).numpy()
    flat = wg.jacobian(lambda b: b.T @ b, mode=mode, flatten=True)(b).numpy()
    assert full.shape == (2, 2, 3, 2) and flat.shape == (4, 6)
    assert np.array_equal(flat, full.reshape(4, 6))
    assert wg.jacobian(lambda b: (b * b).sum(), mode=mode, flatten=True)(b).shape == (1, 6)


def test_jacobian_with_aux():
    jacobian, aux = wg.jacobian(lambda x: (x * x, {"sum": x.sum()}), has_aux=True)(np.array([1.0, 2.0]))
    assert jacobian.tolist() == [[2, 0], [0, 4]]
    assert aux["sum"].item() == 3 and not aux["sum"].requires_grad


def test_hessian_of_several_arguments():
    def f(x, p):
        return (x * x).sum() * p["c"] + (x * p["d"]).sum()

    x, p = np.array([1.0, 2.0]), {"c": np.array(3.0), "d": np.array([5.0, 7.0])}
    h = wg.hessian(f, argnums=(0, 1))(x, p)
    assert h[0][0].tolist() == [[6, 0], [0, 6]]
    assert h[0][1]["c"].tolist() == [2, 4] and h[1]["c"][0].tolist() == [2, 4]
    assert h[0][1]["d"].tolist() == [[1, 0], [0, 1]]
    assert h[1]["d"][1]["d"].tolist() == [[0, 0], [0, 0]]
    assert wg.hessian(lambda b: (b * b).sum(), flatten=True)(np.ones((2, 3))).tolist() == (2 * np.eye(6)).tolist()


# --- Jacobians whose first step is linear or elementwise start from unit arrays, which the rules know ---------------

A, B = np.arange(6.0).reshape(2, 3) - 2, np.arange(12.0).reshape(3, 4) - 5
STEPS = {
    "left": (lambda x: _core.matmul(x, B), A),
    "left turned": (lambda x: _core.matmul(x, B, True), A.T),
    "left by turned": (lambda x: _core.matmul(x, B.T, False, True), A),
    "left turned by turned": (lambda x: _core.matmul(x, B.T, True, True), A.T),
    "right": (lambda x: _core.matmul(A, x), B),
    "right turned": (lambda x: _core.matmul(A, x, False, True), B.T),
    "right by turned": (lambda x: _core.matmul(A.T, x, True), B),
    "right turned by turned": (lambda x: _core.matmul(A.T, x, True, True), B.T),
    "both": (lambda x: x.T @ x, B),
    "vector": (lambda x: A @ x, B[:, 0]),
    "row": (lambda x: x @ A, A[:, 0]),
    "plus": (lambda x: x @ B + 1.0, A),
    "elementwise": (lambda x: x * x * 0.5, A),
    "elementwise with a row": (lambda x: x * A[0], A),
    "from a row": (lambda x: x * A, A[0]),
    "nothing": (lambda x: x, A),
}


@pytest.mark.parametrize("mode", ["rev", "fwd"])
@pytest.mark.parametrize("name", STEPS)
def test_jacobians_start_from_unit_arrays(name, mode):
    f, x = STEPS[name]
    y, pull = wg.vjp(f, wg.tensor(x))
    units = np.eye(y.size).reshape(y.size, *y.shape)
    want = np.stack([pull(wg.tensor(u))[0].numpy() for u in units]).reshape(*y.shape, *x.shape)
    assert np.array_equal(wg.jacobian(f, mode=mode)(wg.tensor(x)).numpy(), want)
    compiled = wg.compile(wg.jacobian(f, mode=mode))
    for _ in range(2):
        assert np.array_equal(compiled(x).numpy(), want)
    wg.check_grads(wg.jacobian(f, mode=mode), (wg.tensor(x),), order=1)


@pytest.mark.parametrize("mode", ["rev", "fwd"])
def test_zeros_of_a_jacobian_are_zero_beside_infinities(mode):
    right = np.array([[1.0, np.inf], [np.nan, 2.0]])
    jacobian = wg.jacobian(lambda x: x @ right, mode=mode)(wg.tensor(np.ones((2, 2)))).numpy()
    assert np.array_equal(jacobian[0, :, 0], right.T, equal_nan=True)
    assert not jacobian[0, :, 1].any() and not jacobian[1, :, 0].any()
    assert np.array_equal(wg.jacobian(wg.sqrt, mode=mode)(wg.tensor([0.0, 4.0])).numpy(), [[np.inf, 0], [0, 0.25]])


def test_a_jacobian_may_be_written_to():
    for mode in ("rev", "fwd"):
        jacobian = wg.jacobian(lambda x: x, mode=mode)(wg.tensor([1.0, 2.0]))
        jacobian.assign(np.full((2, 2), 5.0))
        assert np.array_equal(wg.jacobian(lambda x: x, mode=mode)(wg.tensor([1.0, 2.0])).numpy(), np.eye(2))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("new_axis", [0, 1, 2, 3])
def test_diagonals_and_their_derivatives(axis, new_axis):
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    y = _core.embed_diagonal(x, axis, new_axis)
    at = axis + (axis >= new_axis)
    assert np.array_equal(np.moveaxis(np.diagonal(y.numpy(), axis1=at, axis2=new_axis), -1, axis), x)
    assert np.count_nonzero(y.numpy()) == x.size
    assert np.array_equal(_core.take_diagonal(y, at, new_axis).numpy(), x)
    wg.check_grads(lambda x: _core.embed_diagonal(x * x, axis, new_axis), (x,), order=2)
    wg.check_grads(lambda y: _core.take_diagonal(y * y, at, new_axis), (y.numpy(),), order=2)
    with pytest.raises(ValueError, match="not two axes of one size"):
        _core.take_diagonal(x, 0, 1)
