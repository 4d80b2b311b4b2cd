"""Factorisations: Cholesky, QR, eigenvalues of symmetric matrices, singular values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import LinAlgError

from wengert import _core, _shapes
from wengert._primitive import by_value, primitive
from wengert._tensor import ArrayLike, Tensor
from wengert.linalg.matrices import (
    T,
    as_matrices,
    diagonal,
    each,
    eye_like,
    refuse,
    rounding,
    symmetric,
    times_columns,
    values,
)
from wengert.linalg.solving import solve_batched


class QRResult(NamedTuple):
    """Orthonormal columns and an upper triangle."""

    Q: Tensor
    R: Tensor


class EighResult(NamedTuple):
    """Eigenvalues in ascending order, eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class SVDResult(NamedTuple):
    """Left singular vectors as columns, singular values in descending order, right singular vectors as rows."""

    U: Tensor
    S: Tensor
    Vh: Tensor


@primitive
@each("cholesky", "is not positive definite")
def _cholesky(x: Any) -> Any:
    return np.linalg.cholesky(x)


def _cholesky_jvp(t: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """L' = L low(L^-1 A' L^-T), where low takes the lower triangle and half of the diagonal."""
    left = solve_batched(y, symmetric(t))
    m = T(solve_batched(y, T(left)))
    half = np.tril(np.ones(y.shape[-2:]), -1) + 0.5 * np.eye(y.shape[-1])
    return y @ (m * half.astype(y.dtype))


_cholesky.defjvp(_cholesky_jvp, batched=True)


def cholesky(x: ArrayLike, upper: bool = False) -> Tensor:
    """The lower triangle L with ``x == L @ L.T`` (``upper``: its transpose) of positive definite matrices.

    Only the lower triangle of x is read; the gradient is symmetric. LinAlgError names a matrix that has none.

    >>> import wengert as wg
    >>> wg.linalg.cholesky([[4.0, 2.0], [2.0, 2.0]])
    Tensor([[2., 0.],
            [1., 1.]])
    """
    lower: Tensor = _cholesky(as_matrices("cholesky", x, square=True))
    return T(lower) if upper else lower


@primitive
def _qr(x: Any) -> Any:
    return tuple(np.linalg.qr(x))


@by_value
def _qr_jvp(t: Tensor, y: tuple[Tensor, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """With A' R^-1 = Q' + Q R' R^-1, Q^T Q' is skew and R' R^-1 upper (Walter & Lehmann 2010)."""
    q, r = y
    new, whole = np.abs(np.diagonal(values(r), 0, -2, -1)), values(_core.norm(r, [-2], False))
    refuse("qr", x, np.any(new <= rounding(x) * whole, -1), "has dependent columns: its factors have no derivative")
    tr = T(solve_batched(T(r), T(t)))
    qtr = T(q) @ tr
    low = _shapes.tril(qtr, -1)
    skew = low - T(low)
    return tr - q @ (qtr - skew), (qtr - skew) @ r


_qr.defjvp(_qr_jvp, batched=True)


def qr(x: ArrayLike, mode: str = "reduced") -> Any:
    """Q with orthonormal columns and an upper triangle R, ``x == Q @ R`` (mode "r": R alone).

    The gradient of columns that depend on each other, but for rounding, is a LinAlgError naming the matrix.

    >>> import wengert as wg
    >>> abs(wg.linalg.qr([[0.0, 2.0], [1.0, 0.0]]).R).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    if mode not in ("reduced", "r"):
        raise ValueError(f"qr: mode must be 'reduced' or 'r', got {mode!r}")
    x = as_matrices("qr", x)
    n, m = x.shape[-2:]
    q, r = _qr(x[..., :n] if n < m else x)
    if n < m:  # the first columns fix Q, the others follow
        r = _core.concat([r, T(q) @ x[..., n:]], -1)
    return r if mode == "r" else QRResult(q, r)


@by_value
def _gaps(op: str, x: Tensor, spectrum: Tensor, g: Tensor | None = None) -> Tensor:
    """spectrum_j - spectrum_i to divide by, inf where they are equal but for rounding; LinAlgError if these count.

    They do not count if the cotangents g of their vectors, with more axes in front perhaps, are all 0.
    """
    gaps = _shapes.expand_dims(spectrum, -2) - _shapes.expand_dims(spectrum, -1)
    eye = np.eye(spectrum.shape[-1], dtype=bool)
    same = rounding(x) * np.abs(values(spectrum)).max(-1, initial=0.0)
    equal = np.abs(values(gaps)) <= same[..., None, None]
    repeated = (equal & ~eye).any((-2, -1))
    if g is not None:
        repeated = repeated & (values(g) != 0).any((*range(g.ndim - x.ndim), -2, -1))
    refuse(op, x, repeated, "has a repeated value: its vectors have no derivative")
    return _core.where(equal, np.inf, gaps)


def _refuse_nan(x: Any) -> None:
    if not np.all(np.isfinite(x)):  # LAPACK's eigenvalues of such a matrix may be any numbers
        raise LinAlgError


@primitive
@each("eigh", "did not converge")
def _eigh(x: Any, lower: bool) -> Any:
    _refuse_nan(x)
    return tuple(np.linalg.eigh(x, "L" if lower else "U"))


def _eigh_vjp(g: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor], x: Tensor, lower: bool) -> Tensor:
    w, v = y  # values alone have a derivative also where they repeat
    middle = times_columns(eye_like(v), g[0]) + T(v) @ g[1] / _gaps("eigh", x, w, g[1])
    return symmetric(v @ middle @ T(v))


def _eigh_jvp(t: Tensor, y: tuple[Tensor, Tensor], x: Tensor, lower: bool) -> tuple[Tensor, Tensor]:
    w, v = y
    m = T(v) @ symmetric(t) @ v
    return diagonal(m), v @ (m / _gaps("eigh", x, w))


_eigh.defvjp(_eigh_vjp, None, batched=True)
_eigh.defjvp(_eigh_jvp, None, batched=True)


def eigh(x: ArrayLike, UPLO: str = "L") -> EighResult:
    """Eigenvalues (ascending) and eigenvectors (columns) of symmetric matrices, of which one triangle is read.

    The gradient is symmetric. That of the vectors of a repeated eigenvalue is a LinAlgError naming the matrix; if only
    the values are differentiated, repeated ones are welcome in reverse mode, and in both by
    :func:`wengert.linalg.eigvalsh`.

    >>> import wengert as wg
    >>> wg.linalg.eigh([[2.0, 0.0], [0.0, 1.0]]).eigenvalues
    Tensor([1., 2.])
    """
    return EighResult(*_eigh(as_matrices("eigh", x, square=True), UPLO.upper() == "L"))


@primitive
@each("eigvalsh", "did not converge")
def _eigvalsh(x: Any, lower: bool) -> Any:
    _refuse_nan(x)
    return np.linalg.eigvalsh(x, "L" if lower else "U")


def _eigvalsh_vjp(g: Tensor, w: Tensor, x: Tensor, lower: bool) -> Tensor:
    v = _eigh(x, lower)[1]
    return times_columns(v, g) @ T(v)


def _eigvalsh_jvp(t: Tensor, w: Tensor, x: Tensor, lower: bool) -> Tensor:
    v = _eigh(x, lower)[1]
    return diagonal(T(v) @ symmetric(t) @ v)


_eigvalsh.defvjp(_eigvalsh_vjp, None, batched=True)
_eigvalsh.defjvp(_eigvalsh_jvp, None, batched=True)


def eigvalsh(x: ArrayLike, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, ascending; see :func:`wengert.linalg.eigh`.

    >>> import wengert as wg
    >>> wg.linalg.eigvalsh([[2.0, 0.0], [0.0, 1.0]])
    Tensor([1., 2.])
    """
    result: Tensor = _eigvalsh(as_matrices("eigvalsh", x, square=True), UPLO.upper() == "L")
    return result


@primitive
@each("svd", "did not converge")
def _svd(x: Any, full_matrices: bool) -> Any:
    return tuple(np.linalg.svd(x, full_matrices=full_matrices))


@by_value
def _svd_jvp(t: Tensor, y: tuple[Tensor, Tensor, Tensor], x: Tensor, full: bool) -> tuple[Tensor, Tensor, Tensor]:
    """U' = U (F o (M S + S M^T)) + (I - U U^T) A' V / S, M = U^T A' V, F the inverse gaps of S^2 (Townsend 2016)."""
    u, s, vh = y
    n, m = x.shape[-2:]
    if full and n != m:
        raise LinAlgError("svd: full_matrices=True adds vectors that have no derivative; pass full_matrices=False")
    most = values(s).max(-1, initial=0.0, keepdims=True)
    if n != m:
        lost = np.any(values(s) <= rounding(x) * most, -1)
        refuse("svd", x, lost, "has a singular value 0: its vectors have no derivative")
    v = T(vh)
    middle = T(u) @ t @ v
    # 1/(s_j^2 - s_i^2) by its factors, in units of the largest: squares of s leave the range long before s does.
    relative = s / np.where(most > 0, most, 1).astype(s.dtype)
    sums = _shapes.expand_dims(relative, -2) + _shapes.expand_dims(relative, -1)
    gaps, sums = _gaps("svd", x, s), _core.where(sums == 0.0, 1.0, sums)
    by_s = times_columns(middle, relative)
    to_s = T(times_columns(T(middle), relative))
    du = u @ ((by_s + T(by_s)) / sums / gaps)
    dv = v @ ((to_s + T(to_s)) / sums / gaps)
    if n > m:
        rest = t @ v - u @ middle
        du = du + times_columns(rest, 1.0 / s)
    if m > n:
        rest = T(t) @ u - v @ T(middle)
        dv = dv + times_columns(rest, 1.0 / s)
    return du, diagonal(middle), T(dv)


_svd.defjvp(_svd_jvp, None, batched=True)


def svd(x: ArrayLike, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular values (descending) and vectors, ``x == (U * S) @ Vh`` with ``full_matrices=False``.

    The gradient at repeated singular values, or at 0 of an oblong matrix, is a LinAlgError naming the matrix, and so
    is that of the vectors which ``full_matrices`` adds to an oblong one. Values alone: :func:`wengert.linalg.svdvals`.

    >>> import wengert as wg
    >>> wg.linalg.svd([[0.0, 2.0], [1.0, 0.0]]).S
    Tensor([2., 1.])
    """
    if not compute_uv:
        return svdvals(x)
    return SVDResult(*_svd(as_matrices("svd", x), full_matrices))


@primitive
@each("svdvals", "did not converge")
def _svdvals(x: Any) -> Any:
    return np.linalg.svd(x, compute_uv=False)


def _svdvals_vjp(g: Tensor, s: Tensor, x: Tensor) -> Tensor:
    u, _, vh = svd(x, False)
    return _core.matmul(times_columns(u, g), vh)


def _svdvals_jvp(t: Tensor, s: Tensor, x: Tensor) -> Tensor:
    u, _, vh = _svd(x, False)
    return diagonal(T(u) @ t @ T(vh))


_svdvals.defvjp(_svdvals_vjp, batched=True)
_svdvals.defjvp(_svdvals_jvp, batched=True)


def svdvals(x: ArrayLike) -> Tensor:
    """The singular values, descending; the gradient is U diag(g) Vh, also where they repeat.

    >>> import wengert as wg
    >>> wg.linalg.svdvals([[0.0, 2.0], [1.0, 0.0]])
    Tensor([2., 1.])
    """
    result: Tensor = _svdvals(as_matrices("svdvals", x))
    return result
