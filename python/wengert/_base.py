"""What every function stands on: making tensors, and the axes that arguments name.

``Tensor`` is the engine's class here; the class that users meet, :class:`wengert.Tensor`, derives from it and has these
functions as its methods (:mod:`wengert._tensor`). So nothing here imports anything but the engine.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wengert import _core

if TYPE_CHECKING:
    from wengert._tensor import Tensor as Tensor
else:
    Tensor = _core.TensorBase

ArrayLike = Any  # a Tensor, or whatever numpy.asarray takes
Axis = int | Sequence[int] | None


def tensor(data: ArrayLike, dtype: npt.DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of ``data``: a number, nested lists, a NumPy array or another tensor.

    Whatever becomes a NumPy array is taken as one: pandas and polars tables, arrays of other libraries on the CPU,
    buffers. float32 and float64 arrays keep their dtype, Python floats become float64, whole numbers int64.
    Raises TypeError for data that are not real numbers or would lose something (complex numbers, float16, masked
    entries, whole numbers beyond int64, recorded tensors in lists), and for integers that should require gradients.

    >>> import wengert as wg
    >>> wg.tensor([[1, 2], [3, 4]], dtype="float32")
    Tensor([[1., 2.],
            [3., 4.]], dtype=float32)
    """
    return _core.tensor(data, dtype, requires_grad)


def asarray(data: ArrayLike, dtype: npt.DTypeLike | None = None) -> Tensor:
    """``data``, as for :func:`wengert.tensor`, without a copy where it is an array of a supported dtype and dense.

    If such an array is changed between an operation and its backward, the backward raises RuntimeError.

    >>> import numpy as np, wengert as wg
    >>> wg.asarray(np.arange(3.0))
    Tensor([0., 1., 2.])
    """
    return _core.asarray(data, dtype)


def stop_gradient(x: ArrayLike) -> Tensor:
    """The same values as a constant: nothing flows back through them.

    >>> import wengert as wg
    >>> wg.grad(lambda x: x * wg.stop_gradient(x))(3.0)
    Tensor(3.)
    """
    return asarray(x).detach()


def values(x: ArrayLike) -> npt.NDArray[Any]:
    """x as a NumPy array, for what has no derivative. In a compiled function it says what would be frozen."""
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)


def is_whole(x: Tensor) -> bool:
    """Whether x holds integers or booleans, which are constants."""
    return x.dtype.kind != "f"


def axes(axis: Axis, op: str) -> list[int] | None:
    """An axis argument as a list, or None for all."""
    return None if axis is None else _core.integers(op, "axis", axis)


def normalized(axis: int, ndim: int, op: str) -> int:
    """A non-negative axis; IndexError if there is none such."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise IndexError(f"{op}: axis {axis} is out of range for {ndim} dimensions")
    return axis % ndim


def normalized_axes(axis: Axis, ndim: int, op: str, what: str = "axis") -> list[int]:
    """The axes that an argument names, from the front, in its order; None names all. ValueError if one comes twice."""
    if axis is None:
        return list(range(ndim))
    named = [normalized(a, ndim, op) for a in _core.integers(op, what, axis)]
    if len(set(named)) != len(named):
        raise ValueError(f"{op}: axes {axis} name one twice")
    return named


def countable(op: str, n: float) -> None:
    """NumPy's own counts wrap around, to nothing or to less than nothing."""
    if n >= 2.0**60:
        raise ValueError(f"{op}: {n:.3g} elements are too many")
