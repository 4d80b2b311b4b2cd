"""wg.linalg: values against NumPy, the identities of matrix calculus, both modes to second order, failures by name."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import linalg

rng = np.random.default_rng(4)


def well(n, *batch, dtype=np.float64):
    """Matrices far from singular."""
    return (rng.standard_normal((*batch, n, n)) + 3 * np.eye(n)).astype(dtype)


def spd(x):
    return x @ wg.matrix_transpose(x) + 2.0 * np.eye(x.shape[-1])


def sym(x):
    """Symmetric, with eigenvalues apart."""
    return (x + wg.matrix_transpose(x)) * 0.5 + np.diag(4.0 * np.arange(x.shape[-1]))


A, B, W = well(3), rng.standard_normal((3, 2)), rng.standard_normal((4, 3))
BATCH = well(3, 2)

# name: (function of tensors, arguments)
CASES = {
    "inv": (linalg.inv, (A,)),
    "inv batch": (linalg.inv, (BATCH,)),
    "det": (linalg.det, (A,)),
    "det batch": (linalg.det, (BATCH,)),
    "slogdet": (lambda x: linalg.slogdet(x).logabsdet, (BATCH,)),
    "solve": (linalg.solve, (A, B)),
    "solve vector": (linalg.solve, (A, B[:, 0])),
    "solve broadcast": (linalg.solve, (BATCH, B)),
    "solve batch vector": (linalg.solve, (BATCH, B[:, 0])),
    "solve_triangular": (lambda a, b: linalg.solve_triangular(a, b, lower=True), (A, B)),
    "solve_triangular unit": (lambda a, b: linalg.solve_triangular(a, b, unit_diagonal=True), (A, B)),
    "lstsq tall": (lambda a, b: linalg.lstsq(a, b)[:2], (W, rng.standard_normal(4))),
    "lstsq wide": (lambda a, b: linalg.lstsq(a, b).x, (W.T, B)),
    "cholesky": (lambda x: linalg.cholesky(spd(x)), (A,)),
    "cholesky upper batch": (lambda x: linalg.cholesky(spd(x), upper=True), (BATCH,)),
    "qr square": (linalg.qr, (A,)),
    "qr tall batch": (linalg.qr, (rng.standard_normal((2, 4, 3)),)),
    "qr wide": (linalg.qr, (W.T,)),
    "eigh": (lambda x: linalg.eigh(sym(x)), (A,)),
    "eigh batch": (lambda x: linalg.eigh(sym(x), UPLO="U"), (BATCH,)),
    "eigvalsh": (lambda x: linalg.eigvalsh(sym(x)), (BATCH,)),
    "svd square": (linalg.svd, (A,)),
    "svd tall batch": (lambda x: linalg.svd(x, full_matrices=False), (rng.standard_normal((2, 4, 3)),)),
    "svd wide": (lambda x: linalg.svd(x, full_matrices=False), (W.T,)),
    "svdvals": (linalg.svdvals, (W,)),
    "pinv tall": (linalg.pinv, (W,)),
    "pinv wide batch": (linalg.pinv, (rng.standard_normal((2, 2, 3)),)),
    "matrix_power 5": (lambda x: linalg.matrix_power(x, 5), (A / 3,)),
    "matrix_power -2": (lambda x: linalg.matrix_power(x, -2), (BATCH,)),
    "matrix_norm nuc": (lambda x: linalg.matrix_norm(x, ord="nuc"), (BATCH,)),
    "matrix_norm 2": (lambda x: linalg.matrix_norm(x, ord=2, keepdims=True), (W,)),
    "matrix_norm 1": (lambda x: linalg.matrix_norm(x, ord=1), (W,)),
    "matrix_norm -inf": (lambda x: linalg.matrix_norm(x, ord=-np.inf), (W,)),
    "vector_norm 3": (lambda x: linalg.vector_norm(x, axis=0, ord=3), (W,)),
    "vector_norm": (lambda x: linalg.vector_norm(x, axis=(-1, 0)), (BATCH,)),
    "norm": (linalg.norm, (W,)),
    "trace": (linalg.trace, (BATCH,)),
    "cross": (linalg.cross, (W, W[::-1].copy())),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_both_modes_to_second_order(name):
    f, args = CASES[name]
    wg.check_grads(f, args, order=2, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["inv", "det", "solve", "cholesky", "qr square", "eigh", "svd square", "pinv tall"])
def test_third_derivative(name):
    f, args = CASES[name]
    wg.check_grads(f, args, order=3, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_jacobians_of_both_modes_agree(name):
    """Many cotangents at once, and many tangents: the rules serve batches as they serve one."""
    f, args = CASES[name]
    one = f if not isinstance(f(*args), tuple) else lambda *a: f(*a)[0]
    reverse, forward = (np.asarray(wg.jacobian(one, mode=mode)(*args)) for mode in ("rev", "fwd"))
    assert reverse.shape == (*np.shape(one(*args)), *np.shape(args[0]))
    np.testing.assert_allclose(reverse, forward, rtol=1e-10, atol=1e-11)


VALUES = {
    "inv": (np.linalg.inv, (BATCH,)),
    "det": (np.linalg.det, (BATCH,)),
    "slogdet": (np.linalg.slogdet, (BATCH,)),
    "solve": (np.linalg.solve, (A, B)),
    "cholesky": (np.linalg.cholesky, (spd(wg.tensor(BATCH)).numpy(),)),
    "qr": (np.linalg.qr, (BATCH,)),
    "eigh": (np.linalg.eigh, (sym(wg.tensor(BATCH)).numpy(),)),
    "eigvalsh": (np.linalg.eigvalsh, (sym(wg.tensor(BATCH)).numpy(),)),
    "svd": (np.linalg.svd, (BATCH,)),
    "pinv": (np.linalg.pinv, (W,)),
    "norm": (np.linalg.norm, (W,)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", VALUES)
def test_values_are_numpys_in_the_same_dtype(name, dtype):
    reference, args = VALUES[name]
    args = tuple(a.astype(dtype) for a in args)
    mine, theirs = getattr(linalg, name)(*args), reference(*args)
    pairs = zip(mine, theirs, strict=True) if isinstance(theirs, tuple) else [(mine, theirs)]
    for got, want in pairs:
        assert got.dtype == dtype
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-4 if dtype == np.float32 else 1e-12, atol=1e-6)
    gradient = wg.grad(lambda x: sum(wg.sum(t) for t in wg._tree.leaves(getattr(linalg, name)(x, *args[1:]))))(args[0])
    assert gradient.dtype == dtype


@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norm_takes_what_numpys_takes(order):
    np.testing.assert_allclose(linalg.norm(W, ord=order).numpy(), np.linalg.norm(W, ord=order), rtol=1e-13)
    x = rng.standard_normal((2, 3, 4))
    for axis in ((0, 2), (2, 1), (-1, 0)):
        got = linalg.norm(x, ord=order, axis=axis, keepdims=True).numpy()
        np.testing.assert_allclose(got, np.linalg.norm(x, ord=order, axis=axis, keepdims=True), rtol=1e-13)
    if not isinstance(order, str):
        got = linalg.norm(x, ord=order, axis=1).numpy()
        np.testing.assert_allclose(got, np.linalg.norm(x, ord=order, axis=1), rtol=1e-13)


def test_lstsq_is_numpys():
    b = rng.standard_normal((4, 2))
    mine, theirs = linalg.lstsq(W, b), np.linalg.lstsq(W, b)
    for got, want in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-10)
    assert mine.rank.item() == 3


# --- the identities, to 1e-10 -----------------------------------------------------------------------------------
def close(got, want):
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-10, atol=1e-12)


def test_identity_of_the_determinant():
    x = well(4)
    close(wg.grad(linalg.det)(x), np.linalg.det(x) * np.linalg.inv(x).T)
    t = rng.standard_normal((4, 4))
    close(wg.jvp(linalg.det, (x,), (t,))[1], np.linalg.det(x) * np.trace(np.linalg.inv(x) @ t))


def test_identity_of_the_log_determinant():
    close(wg.grad(lambda x: linalg.slogdet(x)[1])(A), np.linalg.inv(A).T)


def test_identity_of_the_inverse():
    t, i = rng.standard_normal((3, 3)), np.linalg.inv(A)
    close(wg.jvp(linalg.inv, (A,), (t,))[1], -i @ t @ i)
    close(wg.jacobian(linalg.inv)(A), -np.einsum("ik,lj->ijkl", i, i))


def test_identity_of_a_quadratic_form_of_the_inverse():
    a, b, i = B[:, 0], B[:, 1], np.linalg.inv(A)
    close(wg.grad(lambda x: a @ linalg.inv(x) @ b)(A), -i.T @ np.outer(a, b) @ i.T)
    close(wg.grad(lambda x: wg.sum(a * linalg.solve(x, b)))(A), -i.T @ np.outer(a, b) @ i.T)


def test_identity_of_the_trace():
    close(wg.grad(linalg.trace)(A), np.eye(3))


def test_identity_of_eigenvalues():
    s = sym(wg.tensor(A)).numpy()
    v = np.linalg.eigh(s)[1]
    close(wg.grad(lambda x: linalg.eigh(x)[0][0])(s), np.outer(v[:, 0], v[:, 0]))


# --- where mathematics leaves a choice --------------------------------------------------------------------------
def cofactors(x):
    n = len(x)
    minors = [[np.linalg.det(np.delete(np.delete(x, i, 0), j, 1)) for j in range(n)] for i in range(n)]
    return np.array(minors) * (-1.0) ** np.add.outer(range(n), range(n))


@pytest.mark.parametrize(("n", "lost"), [(n, lost) for n in (1, 2, 3, 5) for lost in (0, 1, 2) if lost <= n])
def test_gradient_of_det_is_the_cofactors_at_any_rank(n, lost):
    u, v = rng.standard_normal((n, n - lost)), rng.standard_normal((n - lost, n))
    x = u @ v
    want = cofactors(x) if n > 1 else np.ones((1, 1))
    np.testing.assert_allclose(wg.grad(linalg.det)(x).numpy(), want, atol=1e-11 * max(1.0, np.abs(want).max()))
    wg.check_grads(linalg.det, (x,), order=3, rtol=1e-4, atol=1e-4)


def test_slogdet_of_a_singular_matrix_names_it():
    with pytest.raises(np.linalg.LinAlgError, match=r"slogdet: matrix 1 of the batch of shape \(3, 2, 2\) is singular"):
        linalg.slogdet(np.stack([np.eye(2), np.ones((2, 2)), np.eye(2)]))


@pytest.mark.parametrize(
    ("name", "bad", "why"),
    [("inv", np.ones((2, 2)), "is singular"), ("cholesky", -np.eye(2), "is not positive definite")],
)
def test_failures_name_the_matrix(name, bad, why):
    f = getattr(linalg, name)
    with pytest.raises(np.linalg.LinAlgError, match=rf"{name}: the matrix of shape \(2, 2\) {why}"):
        f(bad)
    batch = np.tile(np.eye(2), (2, 3, 1, 1))
    batch[1, 2] = bad
    with pytest.raises(np.linalg.LinAlgError, match=rf"{name}: matrix \(1, 2\) of the batch .* {why}"):
        f(batch)
    with pytest.raises(np.linalg.LinAlgError, match="matrix 1 of the batch"):
        linalg.solve(np.stack([np.eye(2), np.ones((2, 2))]), np.eye(2))


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "solve", "cholesky", "eigh", "eigvalsh", "matrix_power"])
def test_square_matrices_are_asked_for(name):
    rest = {"solve": (np.ones(2),), "matrix_power": (2,)}.get(name, ())
    with pytest.raises(np.linalg.LinAlgError, match=rf"{name}: needs square matrices .* got shape \(2, 3\)"):
        getattr(linalg, name)(np.ones((2, 3)), *rest)


def test_solve_refuses_right_hand_sides_that_do_not_fit():
    with pytest.raises(np.linalg.LinAlgError, match=r"solve: right-hand sides of shape \(4,\)"):
        linalg.solve(A, np.ones(4))


def test_cholesky_reads_the_lower_triangle_and_its_gradient_is_symmetric():
    x = spd(wg.tensor(A)).numpy()
    spoilt = x + np.triu(np.full((3, 3), 7.0), 1)
    assert np.array_equal(linalg.cholesky(spoilt).numpy(), linalg.cholesky(x).numpy())
    g = wg.grad(lambda x: (linalg.cholesky(x) * np.arange(9.0).reshape(3, 3)).sum())(spoilt).numpy()
    assert np.array_equal(g, g.T)
    assert np.abs(g).max() > 0.1


@pytest.mark.parametrize("mode", ["rev", "fwd"])
def test_vectors_at_repeated_values_have_no_gradient(mode):
    twice = np.stack([np.diag([1.0, 2.0]), np.eye(2)])
    assert linalg.eigh(twice)[0].tolist() == [[1, 2], [1, 1]]
    assert linalg.svd(twice)[1].tolist() == [[2, 1], [1, 1]]
    with pytest.raises(np.linalg.LinAlgError, match=r"eigh: matrix 1 .* repeated value"):
        wg.jacobian(lambda x: linalg.eigh(x)[1], mode=mode)(twice)
    with pytest.raises(np.linalg.LinAlgError, match=r"svd: matrix 1 .* repeated value"):
        wg.jacobian(lambda x: linalg.svd(x)[0], mode=mode)(twice)
    weights = np.array([[1.0, 1.0], [2.0, 2.0]])
    for values in (linalg.eigvalsh, linalg.svdvals):
        g = wg.jacobian(lambda x, f=values: (f(x) * weights).sum(), mode=mode)(twice).numpy()
        np.testing.assert_allclose(g, np.stack([np.eye(2), 2 * np.eye(2)]), atol=1e-15)
    np.testing.assert_allclose(wg.grad(lambda x: linalg.eigh(x)[0].sum())(twice).numpy(), [np.eye(2)] * 2, atol=1e-15)


def test_factors_of_dependent_columns_have_no_gradient():
    with pytest.raises(np.linalg.LinAlgError, match=r"qr: the matrix .* dependent columns"):
        wg.grad(lambda x: linalg.qr(x)[0].sum())(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(np.linalg.LinAlgError, match=r"svd: .*singular value 0"):
        wg.grad(lambda x: linalg.svd(x, False)[0].sum())(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(np.linalg.LinAlgError, match="full_matrices=False"):
        wg.grad(lambda x: linalg.svd(x)[0].sum())(W)


def test_norms_at_zero_and_ties():
    zero = np.zeros(3)
    for order in (1, 2, 3, np.inf):
        got = wg.grad(lambda x, p=order: linalg.vector_norm(x, ord=p))(zero).tolist()
        assert got == [0, 0, 0], order
    assert wg.grad(lambda x: linalg.vector_norm(x, ord=np.inf))(np.array([2.0, -2.0, 1.0])).tolist() == [0.5, -0.5, 0]
    assert wg.grad(linalg.matrix_norm)(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]
    assert np.array_equal(wg.hessian(linalg.vector_norm)(zero).numpy(), np.zeros((3, 3)))


def test_numpys_own_functions_reach_these():
    x = wg.tensor(A, requires_grad=True)
    np.linalg.inv(x).sum().backward()
    close(x.grad, wg.grad(lambda x: linalg.inv(x).sum())(A))
    assert isinstance(np.linalg.solve(x, B), wg.Tensor)
    assert isinstance(np.linalg.norm(x), wg.Tensor)


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 0)])
def test_empty_batches_and_empty_matrices(shape):
    x = np.zeros(shape)
    for f in (linalg.inv, linalg.det, linalg.cholesky, linalg.eigvalsh, linalg.svdvals):
        y, pullback = wg.vjp(f, x)
        assert pullback(wg.ones_like(y))[0].shape == shape


# --- rules that look at values, in replays ----------------------------------------------------------------------
la = wg.linalg
SPREAD, EQUAL = np.diag([1.0, 2.0, 3.0]), np.eye(3)
LOOKING = {
    "eigh": (lambda x: la.eigh(x)[1].sum(), EQUAL, "eigh: the matrix of shape .* has a repeated value"),
    "svd": (lambda x: la.svd(x)[0].sum(), EQUAL, "svd: the matrix of shape .* has a repeated value"),
    "qr": (lambda x: la.qr(x)[1].sum(), np.zeros((3, 3)), "qr: the matrix of shape .* has dependent columns"),
}


@pytest.mark.parametrize("name", LOOKING)
def test_a_replay_refuses_the_matrices_that_have_no_derivative(name):
    f, bad, message = LOOKING[name]
    compiled = wg.compile(wg.grad(f))
    rng = np.random.default_rng(0)
    for _ in range(2):
        x = SPREAD + 0.1 * rng.standard_normal((3, 3))
        np.testing.assert_allclose(compiled(x).numpy(), wg.grad(f)(x).numpy(), rtol=1e-12, atol=1e-12)
        with pytest.raises(np.linalg.LinAlgError, match=message):
            compiled(bad)
    assert len(compiled.stats()) == 1


@pytest.mark.parametrize("n", [2, 3, 5])
def test_replays_of_the_derivatives_of_det_take_singular_and_regular_matrices(n):
    x = np.random.default_rng(0).standard_normal((n, n))
    singular = x.copy()
    singular[:, -1] = singular[:, 0]
    for derivative in (wg.grad(la.det), wg.hessian(la.det), wg.grad(lambda x: (wg.grad(la.det)(x) ** 2).sum())):
        compiled = wg.compile(derivative)
        for at in (x, singular, x + 1.0):
            np.testing.assert_allclose(compiled(at).numpy(), derivative(at).numpy(), rtol=1e-9, atol=1e-12)


def test_eigenvectors_by_a_cotangent_that_is_zero():
    pull = wg.vjp(la.eigh, SPREAD)[1]
    jacobian = wg.jacobian(lambda g: pull((np.zeros(3), g))[0])(np.zeros((3, 3))).numpy()
    for k, unit in enumerate(np.eye(9).reshape(9, 3, 3)):
        want = pull((np.zeros(3), unit))[0].numpy()
        np.testing.assert_allclose(jacobian.reshape(9, 9)[:, k].reshape(3, 3), want, rtol=1e-12, atol=1e-12)
    repeated = wg.vjp(la.eigh, EQUAL)[1]
    np.testing.assert_allclose(repeated((np.ones(3), np.zeros((3, 3))))[0].numpy(), np.eye(3), atol=1e-12)
