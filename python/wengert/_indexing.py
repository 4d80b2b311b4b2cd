"""Indexing: ``x[key]`` with NumPy's rules, gathers by positions, sorting, and updates of copies.

Basic indexing is a slice; integer and boolean arrays are positions to gather.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import _core
from wengert._base import Tensor, asarray, normalized
from wengert._primitive import primitive

__all__ = ["argsort", "at_add", "at_set", "sort", "take", "take_along_axis", "top_k"]


def getitem(x: Tensor, key: Any) -> Tensor:
    """x[key] for keys with arrays; IndexError names the axis and its size. What an index repeats adds up gradients.

    The engine has dealt with keys of integers, slices, None and ... before.
    """
    if isinstance(key, Tensor) and key.dtype.kind == "i" and x.ndim:
        return _along_first_axis(x, key)  # stays a tensor, so that a compiled function can replay it
    parts = tuple(_plain(p) for p in (key if isinstance(key, tuple) else (key,)))
    if not any(isinstance(p, np.ndarray) for p in parts):
        return x[parts]
    if len(parts) == 1 and parts[0].dtype.kind in "iu" and x.ndim:
        return _along_first_axis(x, parts[0])
    return _by_position(x, parts)


def _plain(part: Any) -> Any:
    """An index as NumPy has it: slices, numbers, None, ... or an array of int64 or bool."""
    if isinstance(part, (slice, type(None), type(Ellipsis))):
        return part
    found = _core.decisive_numpy(part, "an index") if isinstance(part, Tensor) else np.asarray(part)
    if found.dtype.kind not in "iub":
        if found.size == 0 and not isinstance(part, (Tensor, np.ndarray)):
            return found.astype(np.int64)
        raise IndexError(f"indices must be integers, booleans or slices, got an array of dtype {found.dtype}")
    return int(found) if found.ndim == 0 and found.dtype.kind in "iu" else found


def _in_range(index: Any, axis: int, size: int) -> Any:
    index = index.astype(np.int64, copy=False)
    if index.size and not (-size <= index.min() and index.max() < size):
        bad = index[(index < -size) | (index >= size)].flat[0]
        raise IndexError(f"index {bad} is out of range for axis {axis} of size {size}")
    return np.where(index < 0, index + size, index)


def _along_first_axis(x: Tensor, index: Any) -> Tensor:
    index = asarray(index)
    return _core.reshape(_core.gather(x, _core.reshape(index, -1), 0), [*index.shape, *x.shape[1:]])


def _by_position(x: Tensor, parts: tuple[Any, ...]) -> Tensor:
    """Any mixture: NumPy indexes the positions, and they are gathered."""
    try:
        positions = np.arange(x.size).reshape(x.shape)[parts]
    except IndexError as error:
        raise IndexError(f"shape {x.shape}: {error}") from None
    return _core.reshape(_core.gather(_core.reshape(x, -1), asarray(positions.ravel()), 0), list(positions.shape))


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The entries that integer ``indices`` name along ``axis`` (None: of the flattened array).

    >>> import wengert as wg
    >>> wg.take([1.0, 2.0, 3.0], [2, 0])
    Tensor([3., 1.])
    """
    x = asarray(x)
    if axis is None:
        x, axis = _core.reshape(x, -1), 0
    axis = normalized(axis, x.ndim, "take")
    index = asarray(indices if isinstance(indices, Tensor) else _plain(indices))
    return _core.reshape(
        _core.gather(x, _core.reshape(index, -1), axis), [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]
    )


def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Tensor:
    """The entries that ``indices``, of x's shape but for ``axis``, name along it (None: of the flattened array).

    >>> import wengert as wg
    >>> wg.take_along_axis([[1.0, 2.0], [3.0, 4.0]], [[1], [0]], axis=1)
    Tensor([[2.],
            [3.]])
    """
    x = asarray(x)
    if axis is None:
        x, axis = _core.reshape(x, -1), 0
    axis = normalized(axis, x.ndim, "take_along_axis")
    positions = _positions_along(asarray(indices), shape=x.shape, axis=axis)
    return _core.reshape(_core.gather(_core.reshape(x, -1), _core.reshape(positions, -1), 0), positions.shape)


@primitive
def _positions_along(indices: Any, shape: tuple[int, ...], axis: int) -> Any:
    if indices.dtype.kind not in "iu":
        raise IndexError(f"take_along_axis: indices must be integers, got {indices.dtype}")
    return np.take_along_axis(np.arange(math.prod(shape)).reshape(shape), _in_range(indices, axis, shape[axis]), axis)


def argsort(x: Any, axis: int | None = -1, descending: bool = False, stable: bool = True, kind: Any = None) -> Tensor:
    """The positions that would sort x along ``axis`` (None: the flattened array), equal elements in their order.

    An int64 constant. Sorting is always stable, whatever ``stable`` and NumPy's ``kind`` say.

    >>> import wengert as wg
    >>> wg.argsort([3.0, 1.0, 2.0])
    Tensor([1, 2, 0])
    """
    x = asarray(x)
    if axis is None:
        x, axis = _core.reshape(x, -1), 0
    descending = _core.flag("argsort", "descending", descending)
    order: Tensor = _argsort(x, axis=normalized(axis, x.ndim, "argsort"), descending=descending)
    return order


@primitive
def _argsort(x: Any, axis: int, descending: bool) -> Any:
    if not descending:
        return np.argsort(x, axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)


def sort(x: Any, axis: int | None = -1, descending: bool = False, stable: bool = True, kind: Any = None) -> Tensor:
    """x in ascending order along ``axis`` (None: of the flattened array); NaN come last. See :func:`wengert.argsort`.

    >>> import wengert as wg
    >>> wg.sort([3.0, 1.0, 2.0], descending=True)
    Tensor([3., 2., 1.])
    """
    x = asarray(x)
    descending = _core.flag("sort", "descending", descending)
    return take_along_axis(x, argsort(x, axis, descending), axis)


def top_k(x: Any, k: int, axis: int = -1) -> tuple[Tensor, Tensor]:
    """The k largest elements along ``axis``, in descending order, and their positions.

    >>> import wengert as wg
    >>> wg.top_k([3.0, 1.0, 2.0], 2)
    (Tensor([3., 2.]), Tensor([0, 2]))
    """
    x = asarray(x)
    (k,), axis = _core.integers("top_k", "k", k), normalized(axis, x.ndim, "top_k")
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"top_k: k = {k} does not fit axis {axis} of shape {x.shape}")
    order = argsort(x, axis, descending=True)
    first = order[tuple(slice(k) if i == axis else slice(None) for i in range(x.ndim))]
    return take_along_axis(x, first, axis), first


def at_set(x: Any, key: Any, value: Any) -> Tensor:
    """x with ``x[key] = value`` done to a copy; where ``key`` names an element again, the last value stays.

    >>> import wengert as wg
    >>> wg.at_set([1.0, 2.0, 3.0], slice(1, None), 0.0)
    Tensor([1., 0., 0.])
    """
    at, places, value = _update("at_set", x, key, value)
    source = np.full(at.size, -1)
    source[places] = np.arange(places.size)  # NumPy, too, lets the last one win
    if not places.size:
        return at
    values = _core.gather(value, np.maximum(source, 0), 0)
    return _core.where(source.reshape(at.shape) >= 0, _core.reshape(values, at.shape), at)


def at_add(x: Any, key: Any, value: Any) -> Tensor:
    """x with ``value`` added at ``key``; where ``key`` names an element again, all its values are added.

    >>> import wengert as wg
    >>> wg.at_add([1.0, 2.0, 3.0], [0, 0], [10.0, 100.0])
    Tensor([111.,   2.,   3.])
    """
    at, places, value = _update("at_add", x, key, value)
    return at + _core.reshape(_core.scatter_add(value, places, 0, at.size), at.shape)


def _update(op: str, x: Any, key: Any, value: Any) -> tuple[Tensor, Any, Tensor]:
    """x, the flat positions that the key names, and a value for each."""
    x, value = asarray(x), asarray(value)
    if x.dtype.kind != "f":
        raise TypeError(f"{op}: needs a float array, got {x.dtype}; make a constant with NumPy")
    parts = tuple(_plain(p) for p in (key if isinstance(key, tuple) else (key,)))
    try:
        places = np.arange(x.size).reshape(x.shape)[parts]
    except IndexError as error:
        raise IndexError(f"{op}: shape {x.shape}: {error}") from None
    try:
        value = _core.broadcast_to(_core.cast(value, x.dtype), list(places.shape))
    except ValueError:
        raise ValueError(f"{op}: a value of shape {value.shape} does not fit x[key] of shape {places.shape}") from None
    return x, places.ravel(), _core.reshape(value, -1)
