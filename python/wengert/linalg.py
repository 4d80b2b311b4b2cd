"""Linear algebra: values from ``numpy.linalg``, derivatives of any order in both modes from rules on tensors.

Matrices stand in the last two axes, batches before them; float32 and float64 are kept. Where a matrix has no inverse,
factor or derivative, LinAlgError says which one of a batch. The identities of the rules are those of M. Giles,
"Collected matrix derivative results for forward and reverse mode algorithmic differentiation", 2008. Factorisations
state one mode's rule; the other is its transpose (see :mod:`wengert._primitive`).
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import LinAlgError

from wengert import _core, _reductions, _shapes
from wengert._primitive import primitive
from wengert._products import cross, matmul, outer, tensordot, vecdot
from wengert._shapes import matrix_transpose
from wengert._tensor import ArrayLike, Axis, Tensor, asarray, axes
from wengert._transforms import jvp

__all__ = [
    "LinAlgError",
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_transpose",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]


class SlogdetResult(NamedTuple):
    """The sign and the logarithm of the size of a determinant."""

    sign: Tensor
    logabsdet: Tensor


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


class LstsqResult(NamedTuple):
    """A least-squares solution, its squared residuals, and the rank and singular values of the matrix."""

    x: Tensor
    residuals: Tensor
    rank: Tensor
    s: Tensor


# --- what the rules share ---------------------------------------------------------------------------------------
_T = matrix_transpose


def _matrices(op: str, x: ArrayLike, square: bool = False) -> Tensor:
    y = asarray(x)
    y = _core.cast(y, "float64") if y.dtype.kind != "f" else y
    if y.ndim < 2 or (square and y.shape[-1] != y.shape[-2]):
        what = "square matrices" if square else "matrices"
        raise LinAlgError(f"{op}: needs {what} in the last two axes, got shape {y.shape}")
    return y


def _which(shape: tuple[int, ...], failed: Any) -> str:
    """The first matrix of a batch that failed."""
    if not shape[:-2]:
        return f"the matrix of shape {shape}"
    at = tuple(int(i) for i in np.argwhere(failed)[0])
    return f"matrix {at if len(at) > 1 else at[0]} of the batch of shape {shape}"


def _each(op: str, why: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A NumPy function of matrices whose LinAlgError names the matrix."""

    def wrap(f: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(f)
        def wrapped(x: Any, *rest: Any, **static: Any) -> Any:
            try:
                return f(x, *rest, **static)
            except LinAlgError:
                failed = np.zeros(x.shape[:-2], dtype=bool)
                for at in np.ndindex(failed.shape):
                    try:
                        f(x[at], *(r[at] for r in rest), **static)
                    except LinAlgError:
                        failed[at] = True
                        break
                raise LinAlgError(f"{op}: {_which(x.shape, failed)} {why}") from None

        return wrapped

    return wrap


def _refuse(op: str, x: Tensor, failed: Any, why: str) -> None:
    if np.any(failed):
        raise LinAlgError(f"{op}: {_which(x.shape, failed)} {why}")


def _values(x: Tensor) -> Any:
    return x.detach().numpy()


def _symmetric(t: Tensor) -> Tensor:
    return (t + _T(t)) * 0.5


def _diagonal(x: Tensor) -> Tensor:
    return _shapes.diagonal(x, 0, -2, -1)


def _times_columns(x: Tensor, d: Tensor) -> Tensor:
    """x diag(d)."""
    return x * _shapes.expand_dims(d, -2)


def _eye(x: Tensor) -> Tensor:
    return asarray(np.eye(x.shape[-1], dtype=x.dtype))


# --- inverse, determinant, solving ------------------------------------------------------------------------------
@primitive
@_each("inv", "is singular")
def _inv(x: Any) -> Any:
    return np.linalg.inv(x)


_inv.defvjp(lambda g, y, x: -(_T(y) @ g @ _T(y)), batched=True)
_inv.defjvp(lambda t, y, x: -(y @ t @ y), batched=True)


def inv(x: ArrayLike) -> Tensor:
    """The inverses of square matrices. LinAlgError names a singular one.

    >>> import wengert as wg
    >>> wg.linalg.inv([[2.0, 0.0], [0.0, 4.0]])
    Tensor([[0.5 , 0.  ],
            [0.  , 0.25]])
    """
    result: Tensor = _inv(_matrices("inv", x, square=True))
    return result


@primitive
def _det(x: Any) -> Any:
    return np.linalg.det(x)


@primitive
def _cofactors(x: Any) -> Any:
    """d det / dx, exact whatever the rank: cof(U S V) = det(U) det(V) U cof(S) V."""
    n = x.shape[-1]
    if n <= 3:  # to the last bit, for small whole numbers
        return _values(_cofactors_by_recurrence(asarray(x)))
    u, s, vh = np.linalg.svd(x)
    others = np.where(np.eye(n, dtype=bool), 1.0, s[..., None, :]).prod(-1).astype(x.dtype)
    return (np.linalg.det(u) * np.linalg.det(vh))[..., None, None] * (u * others[..., None, :]) @ vh


def _cofactors_jvp(t: Tensor, y: Tensor, x: Tensor) -> Tensor:
    s = np.linalg.svd(_values(x), compute_uv=False)
    if s.size and np.all(s[..., -1] > 1e-6 * s[..., 0]):
        xi = _inv(x)
        return _reductions.sum(xi @ t * _eye(x), (-2, -1), True) * y - y @ _T(t) @ _T(xi)
    moved: Tensor = jvp(_cofactors_by_recurrence, (x,), (t,))[1]
    return moved


def _cofactors_by_recurrence(x: Tensor) -> Tensor:
    """The same as a polynomial in the elements (Faddeev & LeVerrier): differentiable also where x is singular."""
    n = x.shape[-1]
    eye = _eye(x)
    m = _core.broadcast_to(eye, x.shape)
    for k in range(1, n):
        xm = x @ m
        m = xm - _reductions.sum(xm * eye, (-2, -1), True) / k * eye
    return _T(m) * (-1.0) ** (n - 1)


_cofactors.defjvp(_cofactors_jvp)
_det.defvjp(lambda g, y, x: g[..., None, None] * _cofactors(x), batched=True)
_det.defjvp(lambda t, y, x: (t * _cofactors(x)).sum((-2, -1)), batched=True)


def det(x: ArrayLike) -> Tensor:
    """The determinants of square matrices. The gradient is the matrix of cofactors, exact also for singular matrices.

    >>> import wengert as wg
    >>> wg.grad(wg.linalg.det)(wg.tensor([[1.0, 2.0], [2.0, 4.0]]))
    Tensor([[ 4., -2.],
            [-2.,  1.]])
    """
    result: Tensor = _det(_matrices("det", x, square=True))
    return result


@primitive
def _slogdet(x: Any) -> Any:
    sign, logabsdet = np.linalg.slogdet(x)
    if not np.all(sign):
        raise LinAlgError(f"slogdet: {_which(x.shape, sign == 0)} is singular")
    return sign.astype(x.dtype), logabsdet.astype(x.dtype)


_slogdet.defvjp(lambda g, y, x: g[1][..., None, None] * _T(_inv(x)), batched=True)
_slogdet.defjvp(lambda t, y, x: (None, (t * _T(_inv(x))).sum((-2, -1))), batched=True)


def slogdet(x: ArrayLike) -> SlogdetResult:
    """Sign and log |det| of square matrices, without overflow. LinAlgError names a singular one.

    >>> import wengert as wg
    >>> wg.linalg.slogdet([[0.0, 1.0], [1.0, 0.0]])
    SlogdetResult(sign=Tensor(-1.), logabsdet=Tensor(0.))
    """
    return SlogdetResult(*_slogdet(_matrices("slogdet", x, square=True)))


@primitive
@_each("solve", "is singular")
def _solve(a: Any, b: Any) -> Any:
    return np.linalg.solve(a, b)


_solve.defvjp(
    lambda g, x, a, b: -(_solve_batched(_T(a), g) @ _T(x)), lambda g, x, a, b: _solve_batched(_T(a), g), batched=True
)
_solve.defjvp(lambda t, x, a, b: -_solve_batched(a, t @ x), lambda t, x, a, b: _solve_batched(a, t), batched=True)


def _solve_batched(a: Tensor, b: Tensor) -> Tensor:
    """solve, with the batch axes of either broadcast."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (_core.broadcast_to(x, [*batch, *x.shape[-2:]]) for x in (a, b))
    result: Tensor = _solve(a, b)
    return result


def solve(a: ArrayLike, b: ArrayLike) -> Tensor:
    """x with ``a @ x == b``, for square matrices a; b is one vector, or matrices. LinAlgError names a singular one.

    >>> import wengert as wg
    >>> wg.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [1.0, 1.0])
    Tensor([0.5 , 0.25])
    """
    a, b = _matrices("solve", a, square=True), asarray(b)
    if b.ndim == 0 or b.shape[-min(2, b.ndim)] != a.shape[-1]:
        raise LinAlgError(f"solve: right-hand sides of shape {b.shape} do not fit matrices of shape {a.shape}")
    if b.ndim == 1:
        return solve(a, _core.reshape(b, [b.size, 1]))[..., 0]
    dtype = np.result_type(a.dtype, b.dtype if b.dtype.kind == "f" else np.float64)
    return _solve_batched(_core.cast(a, dtype), _core.cast(b, dtype))


def solve_triangular(a: ArrayLike, b: ArrayLike, lower: bool = False, unit_diagonal: bool = False) -> Tensor:
    """:func:`wengert.linalg.solve`, reading the upper (or ``lower``) triangle of a alone, its diagonal as ones or not.

    >>> import wengert as wg
    >>> wg.linalg.solve_triangular([[2.0, 9.0], [2.0, 2.0]], [2.0, 4.0], lower=True)
    Tensor([1., 1.])
    """
    a = _matrices("solve_triangular", a, square=True)
    triangle = _shapes.tril(a) if lower else _shapes.triu(a)
    if unit_diagonal:
        triangle = _core.where(np.eye(a.shape[-1], dtype=bool), 1.0, triangle)
    return solve(triangle, b)


@primitive
@_each("pinv", "has singular values that do not converge")
def _pinv(x: Any, rcond: float | None) -> Any:
    return np.linalg.pinv(x, rcond=np.finfo(x.dtype).eps * max(x.shape[-2:]) if rcond is None else rcond)


def _pinv_jvp(t: Tensor, p: Tensor, x: Tensor, rcond: float | None) -> Tensor:
    tt, pt = _T(t), _T(p)
    near = tt - tt @ x @ p
    far = tt - p @ x @ tt
    return p @ pt @ near + far @ pt @ p - p @ t @ p


_pinv.defjvp(_pinv_jvp, None, batched=True)


def pinv(x: ArrayLike, rcond: float | None = None) -> Tensor:
    """The pseudo-inverses (Moore & Penrose), singular values up to ``rcond`` times the largest counting as 0.

    The gradient holds the rank fixed (Golub & Pereyra 1973). By default rcond is eps times the longer side.

    >>> import wengert as wg
    >>> wg.linalg.pinv([[2.0, 0.0], [0.0, 0.0]])
    Tensor([[0.5, 0. ],
            [0. , 0. ]])
    """
    result: Tensor = _pinv(_matrices("pinv", x), rcond)
    return result


def lstsq(a: ArrayLike, b: ArrayLike, rcond: float | None = None) -> LstsqResult:
    """The x of least norm that minimises ``|a @ x - b|``, for a vector or matrices b.

    ``residuals`` are the squared distances for each column of b; ``rank`` is a constant.

    >>> import wengert as wg
    >>> wg.linalg.lstsq([[1.0], [1.0]], [1.0, 3.0]).x
    Tensor([2.])
    """
    a, b = _matrices("lstsq", a), asarray(b)
    if b.ndim == 0 or b.shape[-min(2, b.ndim)] != a.shape[-2]:
        raise LinAlgError(f"lstsq: right-hand sides of shape {b.shape} do not fit matrices of shape {a.shape}")
    x = _core.matmul(pinv(a, rcond), b)
    s = svdvals(a)
    cut = (np.finfo(a.dtype).eps * max(a.shape[-2:]) if rcond is None else rcond) * s.max(-1, keepdims=True)
    residuals = _core.sum(_core.square(b - _core.matmul(a, x)), [-min(2, b.ndim)], False)
    return LstsqResult(x, residuals, _reductions.count_nonzero(s > cut, axis=-1), s)


# --- factorisations ---------------------------------------------------------------------------------------------
@primitive
@_each("cholesky", "is not positive definite")
def _cholesky(x: Any) -> Any:
    return np.linalg.cholesky(x)


def _cholesky_jvp(t: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """L' = L low(L^-1 A' L^-T), where low takes the lower triangle and half of the diagonal."""
    left = _solve_batched(y, _symmetric(t))
    m = _T(_solve_batched(y, _T(left)))
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
    lower: Tensor = _cholesky(_matrices("cholesky", x, square=True))
    return _T(lower) if upper else lower


@primitive
def _qr(x: Any) -> Any:
    return tuple(np.linalg.qr(x))


def _qr_jvp(t: Tensor, y: tuple[Tensor, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """With A' R^-1 = Q' + Q R' R^-1, Q^T Q' is skew and R' R^-1 upper (Walter & Lehmann 2010)."""
    q, r = y
    d = np.abs(np.diagonal(_values(r), 0, -2, -1))
    _refuse("qr", x, d.min(-1, initial=1.0) == 0, "has dependent columns: its factors have no derivative")
    tr = _T(_solve_batched(_T(r), _T(t)))
    qtr = _T(q) @ tr
    low = _shapes.tril(qtr, -1)
    skew = low - _T(low)
    return tr - q @ (qtr - skew), (qtr - skew) @ r


_qr.defjvp(_qr_jvp, batched=True)


def qr(x: ArrayLike, mode: str = "reduced") -> Any:
    """Q with orthonormal columns and an upper triangle R, ``x == Q @ R`` (mode "r": R alone).

    The gradient of dependent columns is a LinAlgError naming the matrix.

    >>> import wengert as wg
    >>> abs(wg.linalg.qr([[0.0, 2.0], [1.0, 0.0]]).R).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    if mode not in ("reduced", "r"):
        raise ValueError(f"qr: mode must be 'reduced' or 'r', got {mode!r}")
    x = _matrices("qr", x)
    n, m = x.shape[-2:]
    q, r = _qr(x[..., :n] if n < m else x)
    if n < m:  # the first columns fix Q, the others follow
        r = _core.concat([r, _T(q) @ x[..., n:]], -1)
    return r if mode == "r" else QRResult(q, r)


def _inverse_gaps(op: str, x: Tensor, values: Tensor) -> Tensor:
    """1/(values_j - values_i), 0 on the diagonal; LinAlgError where two are equal."""
    gaps = _shapes.expand_dims(values, -2) - _shapes.expand_dims(values, -1)
    eye = np.eye(values.shape[-1], dtype=bool)
    plain = np.abs(_values(gaps)) + np.where(eye, np.inf, 0)
    _refuse(op, x, plain.min((-2, -1), initial=np.inf) == 0, "has a repeated value: its vectors have no derivative")
    return _core.where(eye, 0.0, 1.0 / _core.where(eye, 1.0, gaps))


@primitive
@_each("eigh", "did not converge")
def _eigh(x: Any, lower: bool) -> Any:
    return tuple(np.linalg.eigh(x, "L" if lower else "U"))


def _eigh_vjp(g: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor], x: Tensor, lower: bool) -> Tensor:
    w, v = y
    middle = _times_columns(_eye(v), g[0])
    if np.any(_values(g[1])):  # values alone have a derivative also where they repeat
        middle = middle + _inverse_gaps("eigh", x, w) * (_T(v) @ g[1])
    return _symmetric(v @ middle @ _T(v))


def _eigh_jvp(t: Tensor, y: tuple[Tensor, Tensor], x: Tensor, lower: bool) -> tuple[Tensor, Tensor]:
    w, v = y
    m = _T(v) @ _symmetric(t) @ v
    return _diagonal(m), v @ (_inverse_gaps("eigh", x, w) * m)


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
    return EighResult(*_eigh(_matrices("eigh", x, square=True), UPLO.upper() == "L"))


@primitive
@_each("eigvalsh", "did not converge")
def _eigvalsh(x: Any, lower: bool) -> Any:
    return np.linalg.eigvalsh(x, "L" if lower else "U")


def _eigvalsh_vjp(g: Tensor, w: Tensor, x: Tensor, lower: bool) -> Tensor:
    v = _eigh(x, lower)[1]
    return _times_columns(v, g) @ _T(v)


def _eigvalsh_jvp(t: Tensor, w: Tensor, x: Tensor, lower: bool) -> Tensor:
    v = _eigh(x, lower)[1]
    return _diagonal(_T(v) @ _symmetric(t) @ v)


_eigvalsh.defvjp(_eigvalsh_vjp, None, batched=True)
_eigvalsh.defjvp(_eigvalsh_jvp, None, batched=True)


def eigvalsh(x: ArrayLike, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, ascending; see :func:`wengert.linalg.eigh`.

    >>> import wengert as wg
    >>> wg.linalg.eigvalsh([[2.0, 0.0], [0.0, 1.0]])
    Tensor([1., 2.])
    """
    result: Tensor = _eigvalsh(_matrices("eigvalsh", x, square=True), UPLO.upper() == "L")
    return result


@primitive
@_each("svd", "did not converge")
def _svd(x: Any, full_matrices: bool) -> Any:
    return tuple(np.linalg.svd(x, full_matrices=full_matrices))


def _svd_jvp(t: Tensor, y: tuple[Tensor, Tensor, Tensor], x: Tensor, full: bool) -> tuple[Tensor, Tensor, Tensor]:
    """U' = U (F o (M S + S M^T)) + (I - U U^T) A' V / S, M = U^T A' V, F the inverse gaps of S^2 (Townsend 2016)."""
    u, s, vh = y
    n, m = x.shape[-2:]
    if full and n != m:
        raise LinAlgError("svd: full_matrices=True adds vectors that have no derivative; pass full_matrices=False")
    if n != m:
        _refuse(
            "svd", x, _values(s).min(-1, initial=1.0) == 0, "has a singular value 0: its vectors have no derivative"
        )
    v = _T(vh)
    middle = _T(u) @ t @ v
    f = _inverse_gaps("svd", x, s * s)
    by_s = _times_columns(middle, s)
    to_s = _T(_times_columns(_T(middle), s))
    du = u @ (f * (by_s + _T(by_s)))
    dv = v @ (f * (to_s + _T(to_s)))
    if n > m:
        rest = t @ v - u @ middle
        du = du + _times_columns(rest, 1.0 / s)
    if m > n:
        rest = _T(t) @ u - v @ _T(middle)
        dv = dv + _times_columns(rest, 1.0 / s)
    return du, _diagonal(middle), _T(dv)


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
    return SVDResult(*_svd(_matrices("svd", x), full_matrices))


@primitive
@_each("svdvals", "did not converge")
def _svdvals(x: Any) -> Any:
    return np.linalg.svd(x, compute_uv=False)


def _svdvals_vjp(g: Tensor, s: Tensor, x: Tensor) -> Tensor:
    u, _, vh = svd(x, False)
    return _core.matmul(_times_columns(u, g), vh)


def _svdvals_jvp(t: Tensor, s: Tensor, x: Tensor) -> Tensor:
    u, _, vh = _svd(x, False)
    return _diagonal(_T(u) @ t @ _T(vh))


_svdvals.defvjp(_svdvals_vjp, batched=True)
_svdvals.defjvp(_svdvals_jvp, batched=True)


def svdvals(x: ArrayLike) -> Tensor:
    """The singular values, descending; the gradient is U diag(g) Vh, also where they repeat.

    >>> import wengert as wg
    >>> wg.linalg.svdvals([[0.0, 2.0], [1.0, 0.0]])
    Tensor([2., 1.])
    """
    result: Tensor = _svdvals(_matrices("svdvals", x))
    return result


# --- powers, norms, products ------------------------------------------------------------------------------------
def matrix_power(x: ArrayLike, n: int) -> Tensor:
    """The product of n equal square matrices, by repeated squaring; of inverses for a negative n.

    >>> import wengert as wg
    >>> wg.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 5)
    Tensor([[1., 5.],
            [0., 1.]])
    """
    n, whole = operator.index(n), asarray(x)
    x = _matrices("matrix_power", x, square=True)
    if n >= 0 and whole.dtype.kind != "f":  # whole numbers stay what they are
        x = whole
    if n < 0:
        x, n = inv(x), -n
    result = None
    while n:
        if n & 1:
            result = x if result is None else result @ x
        n >>= 1
        if n:
            x = x @ x
    return _core.broadcast_to(_eye(x), x.shape) if result is None else result


def vector_norm(x: ArrayLike, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """(sum |x|^ord)^(1/ord) over ``axis``.

    For ``ord`` inf or -inf the largest or smallest |x|, for 0 the count of x != 0. The
    gradient at 0 is 0, and ties of the largest share it.

    >>> import wengert as wg
    >>> wg.grad(wg.linalg.vector_norm)(wg.tensor([3.0, 4.0]))
    Tensor([0.6, 0.8])
    """
    x = asarray(x)
    x = _core.cast(x, "float64") if x.dtype.kind != "f" else x
    if ord == 2:
        return _reductions._root(_core.sum(_core.square(x), axes(axis), keepdims))
    if ord == 0:
        return _core.sum(_core.cast(x != 0, x.dtype), axes(axis), keepdims)
    size = _core.abs(x)
    if ord == 1:
        return _core.sum(size, axes(axis), keepdims)
    if math.isinf(ord):
        return (_core.max if ord > 0 else _core.min)(size, axes(axis), keepdims)
    total = _core.sum(_core.pow(size, float(ord)), axes(axis), keepdims)
    at_zero = total == 0.0
    return _core.where(at_zero, 0.0, _core.pow(_core.where(at_zero, 1.0, total), 1.0 / ord))


def matrix_norm(x: ArrayLike, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """Norms of matrices: "fro", "nuc", 2 and -2 (singular values), 1 and -1 (columns), inf and -inf (rows).

    >>> import wengert as wg
    >>> wg.linalg.matrix_norm([[3.0, 4.0], [0.0, 0.0]])
    Tensor(5.)
    """
    x = _matrices("matrix_norm", x)
    if ord == "fro":
        return vector_norm(x, (-2, -1), keepdims)
    if ord in ("nuc", 2, -2):
        s = svdvals(x)
        y = s.sum(-1) if ord == "nuc" else s[..., 0] if ord == 2 else s[..., -1]
    elif isinstance(ord, (int, float)) and abs(ord) in (1, np.inf):
        sums = _core.abs(x).sum(-1 if math.isinf(ord) else -2)
        y = sums.max(-1) if ord > 0 else sums.min(-1)
    else:
        raise ValueError(f"matrix_norm: ord must be 'fro', 'nuc', 2, -2, 1, -1, inf or -inf, got {ord!r}")
    return _shapes.expand_dims(y, (-2, -1)) if keepdims else y


def norm(x: ArrayLike, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """NumPy's norm: of vectors along one axis, of matrices in two, of all elements by default.

    >>> import wengert as wg
    >>> wg.linalg.norm([3.0, 4.0])
    Tensor(5.)
    """
    x = asarray(x)
    if axis is None and (ord is None or x.ndim not in (1, 2)):
        if ord is not None:
            raise ValueError(f"norm: with ord, name the axis or the two axes of an array of shape {x.shape}")
        return vector_norm(x, None, keepdims)
    pair = list(range(x.ndim)) if axis is None else axes(axis) or []
    if len(pair) == 1:
        if isinstance(ord, str):
            raise ValueError(f"norm: ord {ord!r} is a norm of matrices, and one axis was named")
        return vector_norm(x, pair[0], keepdims, 2 if ord is None else ord)
    if len(pair) != 2:
        raise ValueError(f"norm: axis must name one or two axes, got {axis}")
    y = matrix_norm(_shapes.moveaxis(x, pair, (-2, -1)), False, "fro" if ord is None else ord)
    return _shapes.expand_dims(y, tuple(sorted(a % x.ndim for a in pair))) if keepdims else y


def diagonal(x: ArrayLike, offset: int = 0) -> Tensor:
    """The diagonals of the matrices in the last two axes.

    >>> import wengert as wg
    >>> wg.linalg.diagonal(wg.ones((5, 2, 3))).shape
    (5, 2)
    """
    return _shapes.diagonal(x, offset, -2, -1)


def trace(x: ArrayLike, offset: int = 0) -> Tensor:
    """The traces of the matrices in the last two axes.

    >>> import wengert as wg
    >>> wg.linalg.trace([[1.0, 2.0], [3.0, 4.0]])
    Tensor(5.)
    """
    return _shapes.trace(x, offset, -2, -1)
