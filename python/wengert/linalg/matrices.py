"""What all modules of linear algebra share: matrices in the last two axes, and errors that name one of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from wengert import _core, _shapes
from wengert._shapes import matrix_transpose
from wengert._tensor import ArrayLike, Tensor, asarray

T = matrix_transpose


def as_matrices(op: str, x: ArrayLike, square: bool = False) -> Tensor:
    y = asarray(x)
    y = _core.cast(y, "float64") if y.dtype.kind != "f" else y
    if y.ndim < 2 or (square and y.shape[-1] != y.shape[-2]):
        what = "square matrices" if square else "matrices"
        raise LinAlgError(f"{op}: needs {what} in the last two axes, got shape {y.shape}")
    return y


def which(shape: tuple[int, ...], failed: Any) -> str:
    """The first matrix of a batch that failed."""
    if not shape[:-2]:
        return f"the matrix of shape {shape}"
    at = tuple(int(i) for i in np.argwhere(failed)[0])
    return f"matrix {at if len(at) > 1 else at[0]} of the batch of shape {shape}"


def each(op: str, why: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
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
                        f(x[at], *(r[at] if isinstance(r, np.ndarray) else r for r in rest), **static)
                    except LinAlgError:
                        failed[at] = True
                        break
                raise LinAlgError(f"{op}: {which(x.shape, failed)} {why}") from None

        return wrapped

    return wrap


def refuse(op: str, x: Tensor, failed: Any, why: str) -> None:
    if np.any(failed):
        raise LinAlgError(f"{op}: {which(x.shape, failed)} {why}")


def rounding(x: Tensor) -> float:
    """What of a factor of x, relative to its largest, is no more than the rounding of the factorisation."""
    return float(4 * np.sqrt(max(x.shape[-2:])) * np.finfo(x.dtype).eps)


def values(x: Tensor) -> Any:
    return x.detach().numpy()


def symmetric(t: Tensor) -> Tensor:
    return (t + T(t)) * 0.5


def times_columns(x: Tensor, d: Tensor) -> Tensor:
    """x diag(d)."""
    return x * _shapes.expand_dims(d, -2)


def eye_like(x: Tensor) -> Tensor:
    return asarray(np.eye(x.shape[-1], dtype=x.dtype))


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
