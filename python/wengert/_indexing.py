"""``x[key]``: basic indexing as slices, integer-array and boolean indexing as gathers, with NumPy's rules."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from wengert import _core
from wengert._tensor import Tensor, asarray

_BASIC = (int, np.integer, slice, type(None), type(Ellipsis))


def getitem(x: Tensor, key: Any) -> Tensor:
    """x[key]; IndexError names the axis and its size. Repeated indices add up their gradients, in index order."""
    parts = key if isinstance(key, tuple) else (key,)
    parts = tuple(_plain(p) for p in parts)
    if all(isinstance(p, _BASIC) and not isinstance(p, bool) for p in parts):
        return _basic(x, parts)
    array = parts[0]
    if len(parts) == 1 and array.dtype.kind in "iu" and x.ndim:
        return _along_first_axis(x, array)
    return _by_position(x, parts)


def _plain(part: Any) -> Any:
    """An index as NumPy has it: slices, numbers, None, ... or an array of int64 or bool."""
    if isinstance(part, _BASIC) and not isinstance(part, bool):
        return part
    values = part.detach().numpy() if isinstance(part, Tensor) else np.asarray(part)
    if values.dtype.kind not in "iub":
        if values.size == 0 and not isinstance(part, (Tensor, np.ndarray)):
            return values.astype(np.int64)
        raise IndexError(f"indices must be integers, booleans or slices, got an array of dtype {values.dtype}")
    return int(values) if values.ndim == 0 and values.dtype.kind in "iu" else values


def _basic(x: Tensor, parts: tuple[Any, ...]) -> Tensor:
    named = sum(p is not None and p is not Ellipsis for p in parts)
    if named > x.ndim:
        raise IndexError(f"too many indices: shape {x.shape} was indexed with {named}")
    if sum(p is Ellipsis for p in parts) > 1:
        raise IndexError("an index may hold one ellipsis (...)")
    where = next((i for i, p in enumerate(parts) if p is Ellipsis), len(parts))
    filled = (*parts[:where], *[slice(None)] * (x.ndim - named), *parts[where + 1 :])
    start, step, sliced, shape = [], [], [], []
    axis = 0
    for p in filled:
        if p is None:
            shape.append(1)
            continue
        size = x.shape[axis]
        if isinstance(p, slice):
            first, stop, by = p.indices(size)
            count = len(range(first, stop, by))
            shape.append(count)
        else:
            first, by, count = operator.index(p), 1, 1
            if not -size <= first < size:
                raise IndexError(f"index {first} is out of range for axis {axis} of size {size}")
            first %= size
        start.append(first)
        step.append(by)
        sliced.append(count)
        axis += 1
    if tuple(sliced) != x.shape or any(s != 1 for s in step):
        x = _core.slice(x, start, step, sliced)
    return _core.reshape(x, shape)


def _in_range(index: Any, axis: int, size: int) -> Any:
    index = index.astype(np.int64, copy=False)
    if index.size and not (-size <= index.min() and index.max() < size):
        bad = index[(index < -size) | (index >= size)].flat[0]
        raise IndexError(f"index {bad} is out of range for axis {axis} of size {size}")
    return np.where(index < 0, index + size, index)


def _along_first_axis(x: Tensor, index: Any) -> Tensor:
    index = _in_range(index, 0, x.shape[0])
    return _core.reshape(_core.gather(x, asarray(index.ravel()), 0), [*index.shape, *x.shape[1:]])


def _by_position(x: Tensor, parts: tuple[Any, ...]) -> Tensor:
    """Any mixture: NumPy indexes the positions, and they are gathered."""
    try:
        positions = np.arange(x.size).reshape(x.shape)[parts]
    except IndexError as error:
        raise IndexError(f"shape {x.shape}: {error}") from None
    return _core.reshape(_core.gather(x.flatten(), asarray(positions.ravel()), 0), list(positions.shape))


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The entries that integer ``indices`` name along ``axis`` (None: of the flattened array).

    >>> import wengert as wg
    >>> wg.take([1.0, 2.0, 3.0], [2, 0])
    Tensor([3., 1.])
    """
    x = asarray(x)
    if axis is None:
        x, axis = x.flatten(), 0
    if not -x.ndim <= axis < x.ndim:
        raise IndexError(f"take: axis {axis} is out of range for {x.ndim} dimensions")
    axis %= x.ndim
    index = np.asarray(_plain(indices))
    flat = asarray(_in_range(index, axis, x.shape[axis]).ravel())
    return _core.reshape(_core.gather(x, flat, axis), [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])
