"""The mathematics of the library's design, item by item, against closed forms written in NumPy.

Everything is float64 and agrees to 1e-12 relative. Jacobians are checked in both modes and in every layout:
(), (n,), (m,), (m, n) and four axes.
"""

from __future__ import annotations

import itertools
import math
import time

import mpmath
import numpy as np
import pytest

import wengert as wg

RTOL = 1e-12
MODES = ("rev", "fwd")


def close(actual, expected):
    actual, expected = np.asarray(actual), np.asarray(expected, dtype=np.float64)
    assert actual.shape == expected.shape
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, expected, rtol=RTOL, atol=RTOL * max(1.0, np.abs(expected).max(initial=0)))


@pytest.fixture
def rng():
    return np.random.default_rng(20)


# --- 1. Jacobian layout ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", MODES)
def test_1_layout_number_to_number(mode):
    close(wg.jacobian(wg.sin, mode=mode)(0.5), np.cos(0.5))


@pytest.mark.parametrize("mode", MODES)
def test_1_layout_vector_to_number_is_a_row(mode, rng):
    x = rng.standard_normal(4)
    close(wg.jacobian(lambda x: wg.sum(x * x * x), mode=mode)(x), 3 * x**2)


@pytest.mark.parametrize("mode", MODES)
def test_1_layout_number_to_vector(mode, rng):
    a = rng.standard_normal(5)
    close(wg.jacobian(lambda t: wg.sin(t * a), mode=mode)(0.3), a * np.cos(0.3 * a))


@pytest.mark.parametrize("mode", MODES)
def test_1_layout_vector_to_vector(mode, rng):
    x = rng.standard_normal(3)
    pairs = [(0, 1), (1, 2), (2, 0), (0, 0)]
    expected = np.zeros((4, 3))
    for i, (p, q) in enumerate(pairs):
        expected[i, p] += x[q]
        expected[i, q] += x[p]
    close(wg.jacobian(lambda x: wg.stack([x[p] * x[q] for p, q in pairs]), mode=mode)(x), expected)


@pytest.mark.parametrize("mode", MODES)
def test_1_layout_matrix_to_matrix_has_four_axes(mode, rng):
    b, c = rng.standard_normal((3, 4)), rng.standard_normal((2, 3))
    jacobian = wg.jacobian(lambda b: c @ b, mode=mode)(b)
    assert jacobian.shape == (2, 4, 3, 4)  # out.shape + in.shape
    close(jacobian, np.einsum("ik,jl->ijkl", c, np.eye(4)))
    # Flattened, it is the mn x pq matrix of vec(dA) = J vec(dB).
    db = rng.standard_normal((3, 4))
    close(jacobian.reshape(8, 12) @ db.ravel(), (c @ db).ravel())


# --- 2. f = A x ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", MODES)
def test_2_matrix_times_vector(mode, rng):
    m, n = 3, 4
    a, x = rng.standard_normal((m, n)), rng.standard_normal(n)
    close(wg.jacobian(lambda x: a @ x, mode=mode)(x), a)
    by_a = wg.jacobian(lambda a: a @ x, mode=mode)(a)
    assert by_a.shape == (m, m, n)
    close(by_a, np.einsum("ik,q->ikq", np.eye(m), x))


# --- 3. K = B'B ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", MODES)
def test_3_gram_matrix(mode, rng):
    m, n = 3, 4
    b = rng.standard_normal((m, n))
    jacobian = wg.jacobian(lambda b: b.T @ b, mode=mode)(b)
    assert jacobian.shape == (n, n, m, n)
    expected = np.zeros((n, n, m, n))
    for p in range(n):
        for q in range(n):
            for i in range(m):
                for j in range(n):
                    expected[p, q, i, j] = b[i, q] * (j == p) + b[i, p] * (j == q)
    close(jacobian, expected)
    close([jacobian.numpy()[p, p, :, p] for p in range(n)], 2 * b.T)


# --- 4. Linear and quadratic identities ------------------------------------------------------------------------
def test_4_inner_product(rng):
    x, a = rng.standard_normal((2, 5))
    close(wg.grad(lambda x: x @ a)(x), a)
    close(wg.grad(lambda x: a @ x)(x), a)


def test_4_bilinear_form(rng):
    a, b, x = rng.standard_normal(3), rng.standard_normal(4), rng.standard_normal((3, 4))
    close(wg.grad(lambda x: a @ x @ b)(x), np.outer(a, b))


def test_4_quadratic_form(rng):
    x, b = rng.standard_normal(4), rng.standard_normal((4, 4))
    close(wg.grad(lambda x: x @ b @ x)(x), x @ (b + b.T))
    close(wg.hessian(lambda x: x @ b @ x)(x), b + b.T)
    close(wg.grad(lambda b: x @ b @ x)(b), np.outer(x, x))


def test_4_weighted_least_squares(rng):
    x, s, a, w = (
        rng.standard_normal(5),
        rng.standard_normal(3),
        rng.standard_normal((5, 3)),
        rng.standard_normal((5, 5)),
    )
    w = w + w.T

    def loss(s):
        r = x - a @ s
        return r @ w @ r

    close(wg.grad(loss)(s), -2 * (x - a @ s) @ w @ a)
    close(wg.hessian(loss)(s), 2 * a.T @ w @ a)


@pytest.mark.parametrize("mode", MODES)
def test_4_transpose_and_trace(mode, rng):
    x, a = rng.standard_normal((3, 4)), rng.standard_normal((4, 3))
    close(wg.jacobian(lambda x: x.T, mode=mode)(x), np.einsum("jk,il->ijkl", np.eye(3), np.eye(4)))
    close(wg.jacobian(lambda x: wg.sum(x * wg.eye(3, 4)), mode=mode)(x), np.eye(3, 4))
    # tr(AX) = sum_ij A_ij X_ji
    close(wg.jacobian(lambda x: wg.sum(a @ x * np.eye(4)), mode=mode)(x), a.T)


# --- 5. The worked example -------------------------------------------------------------------------------------
def worked_example(x):
    a = x * x
    b = wg.exp(a)
    c = a + b
    d = wg.sqrt(c)
    e = wg.cos(c)
    return a, b, c, d, e, d + e


def worked_adjoints(x):
    """By hand, with df/dc a sum over the two consumers of c."""
    a = x**2
    b = np.exp(a)
    c = a + b
    dc = 1 / (2 * np.sqrt(c)) - np.sin(c)
    db = dc
    da = dc + db * b
    return {"c": dc, "b": db, "a": da, "x": da * 2 * x}


@pytest.mark.parametrize("x", [0.3, -0.7, 1.2])
def test_5_worked_example_from_the_leaf(x):
    leaf = wg.tensor(x, requires_grad=True)
    *_, f = worked_example(leaf)
    close(f, np.sqrt(x**2 + np.exp(x**2)) + np.cos(x**2 + np.exp(x**2)))
    f.backward()
    close(leaf.grad, worked_adjoints(x)["x"])


@pytest.mark.parametrize("x", [0.3, -0.7, 1.2])
def test_5_worked_example_every_intermediate(x):
    expected = worked_adjoints(x)
    a, b, c = (float(t) for t in worked_example(wg.tensor(x))[:3])
    close(wg.grad(lambda c: wg.sqrt(c) + wg.cos(c))(c), expected["c"])
    close(wg.grad(lambda b: wg.sqrt(a + b) + wg.cos(a + b))(b), expected["b"])
    close(wg.grad(lambda a: wg.sqrt(a + wg.exp(a)) + wg.cos(a + wg.exp(a)))(a), expected["a"])
    for transform in (wg.grad, lambda f: wg.jacobian(f, mode="fwd")):
        close(transform(lambda x: worked_example(x)[-1])(x), expected["x"])


# --- 6. Losses -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", MODES)
def test_6_two_losses_of_one_number(mode):
    x, target = 1.7, 0.4
    losses = wg.jacobian(lambda x: wg.stack([0.5 * (x - target) ** 2, x**2]), mode=mode)
    close(losses(x), [x - target, 2 * x])


def test_6_mean_squared_error_with_l2_regulariser(rng):
    inputs, y, w, decay = rng.standard_normal((6, 3)), rng.standard_normal(6), rng.standard_normal(3), 0.1

    def loss(w):
        return wg.mean((inputs @ w - y) ** 2) + decay * wg.sum(w**2)

    close(wg.grad(loss)(w), 2 / 6 * inputs.T @ (inputs @ w - y) + 2 * decay * w)
    close(wg.hessian(loss)(w), 2 / 6 * inputs.T @ inputs + 2 * decay * np.eye(3))


# --- 7. ReLU ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", MODES)
def test_7_relu_at_its_kink(mode):
    x = np.array([-2.0, -0.0, 0.0, 3.0])
    close(wg.relu(x), [0, 0, 0, 3])
    close(wg.jacobian(wg.relu, mode=mode)(x), np.diag([0.0, 0, 0, 1]))


# --- 8. Taylor -------------------------------------------------------------------------------------------------
def test_8_first_order_taylor():
    def f(x):
        return (x - 2) ** 2 + 3

    value, slope = wg.value_and_grad(f)(1.0)
    close(value, 4)
    close(slope, -2)
    error = f(1.1) - (value.item() + slope.item() * 0.1)
    np.testing.assert_allclose(error, 0.01, rtol=1e-12)


@pytest.mark.parametrize("transform", [wg.grad, lambda f: lambda x: wg.jvp(f, (x,), (1.0,))[1]], ids=["rev", "fwd"])
def test_8_taylor_of_any_order_by_repeated_differentiation(transform):
    x0, h, f, series = 0.4, 0.3, wg.exp, 0.0
    for k in range(11):
        coefficient = f(x0).item()
        np.testing.assert_allclose(coefficient, math.exp(x0), rtol=RTOL)
        series += coefficient * h**k / math.factorial(k)
        f = transform(f)
    np.testing.assert_allclose(series, math.exp(x0 + h), rtol=RTOL)


def test_8_taylor_of_a_polynomial_is_the_polynomial():
    f = polynomial = lambda x: 2 + x * (3 + x * (-1 + x * 0.5))
    series = 0.0
    for k in range(6):
        series += float(f(1.0)) * 2.5**k / math.factorial(k)
        f = wg.grad(f)
    np.testing.assert_allclose(series, polynomial(3.5), rtol=RTOL)


def forward(f):
    return lambda x: wg.jvp(f, (x,), (1.0,))[1]


PROGRAMS = {
    "x x x": (lambda x: x * x * x, lambda x: x**3),
    "x**3 sin x": (lambda x: x**3 * wg.sin(x), lambda x: x**3 * mpmath.sin(x)),
    "tanh": (wg.tanh, mpmath.tanh),
    "exp sin": (lambda x: wg.exp(x) * wg.sin(x), lambda x: mpmath.exp(x) * mpmath.sin(x)),
    "pow": (lambda x: (x + 1.5) ** 2.3, lambda x: (x + 1.5) ** mpmath.mpf(2.3)),
    "quotient": (lambda x: x * x / (1 + x * x), lambda x: x * x / (1 + x * x)),
    "composed": (
        lambda x: wg.log(1 + wg.sigmoid(wg.cos(x) * x)),
        lambda x: mpmath.log(1 + 1 / (1 + mpmath.exp(-mpmath.cos(x) * x))),
    ),
}


@pytest.mark.parametrize("x", [0.0, 0.7])
@pytest.mark.parametrize("name", PROGRAMS)
def test_8_any_order_in_any_mixture_of_modes(name, x):
    f, reference = PROGRAMS[name]
    with mpmath.workdps(40):
        third, fifth = (float(mpmath.diff(reference, mpmath.mpf(x), k)) for k in (3, 5))
    for modes in itertools.product((wg.grad, forward), repeat=3):
        g = f
        for mode in modes:
            g = mode(g)
        np.testing.assert_allclose(float(g(x)), third, rtol=1e-10, atol=1e-10)
    for mode in (wg.grad, forward):
        g = f
        for _ in range(5):
            g = mode(g)
        np.testing.assert_allclose(float(g(x)), fifth, rtol=1e-8, atol=1e-8)


# --- 9. Multi-layer perceptron ---------------------------------------------------------------------------------
SIGMA = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
}


def mlp(theta, x, sigma):
    f = x
    for i, (a, b) in enumerate(theta):
        f = a @ f + b
        if i < len(theta) - 1:
            f = getattr(wg, sigma)(f)
    return f


def mlp_by_hand(theta, x, y, sigma):
    """L and all dL/dtheta_i, each from the one after it: backpropagation as in the textbook."""
    s, ds = SIGMA[sigma]
    inputs, before = [x], []
    for i, (a, b) in enumerate(theta):
        z = a @ inputs[-1] + b
        before.append(z)
        inputs.append(s(z) if i < len(theta) - 1 else z)
    delta = -2 * (y - inputs[-1])
    grads = []
    for i in reversed(range(len(theta))):
        grads.append((np.outer(delta, inputs[i]), delta))
        if i:
            delta = (theta[i][0].T @ delta) * ds(before[i - 1])
    return np.sum((y - inputs[-1]) ** 2), grads[::-1]


@pytest.mark.parametrize("sigma", SIGMA)
def test_9_mlp_gradients_are_backpropagation(sigma, rng):
    sizes = [3, 5, 4, 2]
    theta = [(rng.standard_normal((m, n)), rng.standard_normal(m)) for n, m in itertools.pairwise(sizes)]
    x, y = rng.standard_normal(3), rng.standard_normal(2)
    value, grads = wg.value_and_grad(lambda theta: wg.sum((y - mlp(theta, x, sigma)) ** 2))(theta)
    expected_value, expected = mlp_by_hand(theta, x, y, sigma)
    close(value, expected_value)
    for (a, b), (ea, eb) in zip(grads, expected, strict=True):
        close(a, ea)
        close(b, eb)


def test_9_gradient_descent_follows_the_hand_written_one(rng):
    sizes = [2, 4, 1]
    theta = [(rng.standard_normal((m, n)), rng.standard_normal(m)) for n, m in itertools.pairwise(sizes)]
    by_hand = [(a.copy(), b.copy()) for a, b in theta]
    leaves = [tuple(wg.tensor(p, requires_grad=True) for p in layer) for layer in theta]
    x, y, rate, losses = rng.standard_normal(2), rng.standard_normal(1), 0.02, []
    for _ in range(50):
        loss = wg.sum((y - mlp(leaves, x, "tanh")) ** 2)
        loss.backward()
        losses.append(loss.item())
        for p in (p for layer in leaves for p in layer):
            p.assign(p.detach() - rate * p.grad)
            p.grad = None
        _, grads = mlp_by_hand(by_hand, x, y, "tanh")
        by_hand = [(a - rate * da, b - rate * db) for (a, b), (da, db) in zip(by_hand, grads, strict=True)]
    for layer, expected in zip(leaves, by_hand, strict=True):
        for p, e in zip(layer, expected, strict=True):
            np.testing.assert_allclose(p.numpy(), e, rtol=1e-9, atol=1e-12)
    assert losses[-1] < 1e-2 * losses[0]


# --- 10. Cheap-gradient principle ------------------------------------------------------------------------------
def best_times(*programs, repeats=15):
    """Processor seconds of each, which a busy machine disturbs least, measured in turns."""
    times = [[] for _ in programs]
    for _ in range(repeats):
        for program, spent in zip(programs, times, strict=True):
            start = time.process_time()
            program()
            spent.append(time.process_time() - start)
    return [min(spent) for spent in times]


def test_10_a_gradient_costs_a_small_multiple_of_the_value(rng):
    # Large enough for arithmetic to dominate. The bound is generous, because machines are shared; the ratios themselves
    # are in docs/cheap-gradient.md.
    weights = [wg.tensor(rng.standard_normal((256, 256)) / 16) for _ in range(4)]
    x = wg.tensor(rng.standard_normal((256, 256)))

    def network(weights):
        h = x
        for w in weights:
            h = wg.tanh(h @ w)
        return wg.sum(h * h)

    def elementwise(weights):
        c = weights[0] * weights[1]
        return wg.sum(wg.exp(-c * c) * wg.cos(c) + wg.sqrt(1 + c * c))

    for program in (network, elementwise):
        both = wg.value_and_grad(program)
        value_time, both_time = best_times(lambda p=program: p(weights), lambda both=both: both(weights))
        assert both_time < 8 * value_time, f"{program.__name__}: {both_time / value_time:.1f} times the value"
