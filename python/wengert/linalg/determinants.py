"""Determinants and their logarithms."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import LinAlgError

from wengert import _core, _reductions, _shapes
from wengert._primitive import by_value, primitive
from wengert._products import cross
from wengert._tensor import ArrayLike, Tensor
from wengert._transforms import jvp
from wengert.linalg.matrices import T, as_matrices, eye_like, values, which
from wengert.linalg.solving import inv


class SlogdetResult(NamedTuple):
    """The sign and the logarithm of the size of a determinant."""

    sign: Tensor
    logabsdet: Tensor


@primitive
def _det(x: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(x).any((-2, -1)), np.nan, np.linalg.det(x)).astype(x.dtype)


@primitive
def _cofactors(x: Any) -> Any:
    """d det / dx, exact whatever the rank: cof(U S V) = det(U) det(V) U cof(S) V."""
    n = x.shape[-1]
    u, s, vh = np.linalg.svd(x)
    fraction, exponent = np.frexp(np.where(np.eye(n, dtype=bool), 1.0, s[..., None, :].astype(np.float64)))
    with np.errstate(over="ignore", under="ignore"):  # only the result may leave the range, no product on the way
        others = np.ldexp(fraction.prod(-1), exponent.sum(-1)).astype(x.dtype)
    return (np.linalg.det(u) * np.linalg.det(vh))[..., None, None] * (u * others[..., None, :]) @ vh


@by_value
def _cofactors_jvp(t: Tensor, y: Tensor, x: Tensor) -> Tensor:
    s = np.linalg.svd(values(x), compute_uv=False)
    if s.size and np.all(s[..., -1] > 1e-6 * s[..., 0]):
        xi = inv(x)
        return _reductions.sum(xi @ t * eye_like(x), (-2, -1), True) * y - y @ T(t) @ T(xi)
    moved: Tensor = jvp(_cofactors_by_recurrence, (x,), (t,))[1]
    return moved


def _cofactors_by_recurrence(x: Tensor) -> Tensor:
    """The same as a polynomial in the elements (Faddeev & LeVerrier): differentiable also where x is singular."""
    n = x.shape[-1]
    eye = eye_like(x)
    m = _core.broadcast_to(eye, x.shape)
    for k in range(1, n):
        xm = x @ m
        m = xm - _reductions.sum(xm * eye, (-2, -1), True) / k * eye
    return T(m) * (-1.0) ** (n - 1)


_cofactors.defjvp(_cofactors_jvp)


def _gradient(x: Tensor) -> Tensor:
    """The cofactors; of small matrices by their definition, each as exact as its own elements allow."""
    n = x.shape[-1]
    if n == 2:
        return _shapes.flip(x, (-2, -1)) * np.array([[1, -1], [-1, 1]], x.dtype)
    if n == 3:
        return cross(_shapes.roll(x, -1, -2), _shapes.roll(x, -2, -2))
    result: Tensor = _cofactors(x) if n > 3 else _core.full(x.shape, 1.0, x.dtype)
    return result


_det.defvjp(lambda g, y, x: g[..., None, None] * _gradient(x), batched=True)
_det.defjvp(lambda t, y, x: (t * _gradient(x)).sum((-2, -1)), batched=True)


def det(x: ArrayLike) -> Tensor:
    """The determinants of square matrices. The gradient is the matrix of cofactors, exact also for singular matrices.

    >>> import wengert as wg
    >>> wg.grad(wg.linalg.det)(wg.tensor([[1.0, 2.0], [2.0, 4.0]]))
    Tensor([[ 4., -2.],
            [-2.,  1.]])
    """
    result: Tensor = _det(as_matrices("det", x, square=True))
    return result


@primitive
def _slogdet(x: Any) -> Any:
    sign, logabsdet = np.linalg.slogdet(x)
    if not np.all(sign):
        raise LinAlgError(f"slogdet: {which(x.shape, sign == 0)} is singular")
    return sign.astype(x.dtype), logabsdet.astype(x.dtype)


_slogdet.defvjp(lambda g, y, x: g[1][..., None, None] * T(inv(x)), batched=True)
_slogdet.defjvp(lambda t, y, x: (None, (t * T(inv(x))).sum((-2, -1))), batched=True)


def slogdet(x: ArrayLike) -> SlogdetResult:
    """Sign and log |det| of square matrices, without overflow. LinAlgError names a singular one.

    >>> import wengert as wg
    >>> wg.linalg.slogdet([[0.0, 1.0], [1.0, 0.0]])
    SlogdetResult(sign=Tensor(-1.), logabsdet=Tensor(0.))
    """
    return SlogdetResult(*_slogdet(as_matrices("slogdet", x, square=True)))
