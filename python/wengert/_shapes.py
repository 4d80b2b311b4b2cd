"""Functions that move elements and leave them as they are: reshaping, joining, cutting, repeating, diagonals."""

from __future__ import annotations

import builtins
import itertools
import operator
from collections.abc import Sequence

import numpy as np

from wengert import _core
from wengert._base import ArrayLike, Axis, Tensor, asarray, countable, normalized, normalized_axes
from wengert._indexing import take

__all__ = [
    "broadcast_arrays",
    "broadcast_to",
    "concat",
    "diag",
    "diagonal",
    "expand_dims",
    "flip",
    "matrix_transpose",
    "meshgrid",
    "moveaxis",
    "permute_dims",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "trace",
    "transpose",
    "tril",
    "triu",
    "unstack",
]


def reshape(x: ArrayLike, shape: int | Sequence[int]) -> Tensor:
    """The same elements, row by row, in another shape; one size may be -1. Copies nothing.

    >>> import wengert as wg
    >>> wg.reshape([1.0, 2.0, 3.0, 4.0], (2, -1))
    Tensor([[1., 2.],
            [3., 4.]])
    """
    return _core.reshape(x, shape)


def permute_dims(x: ArrayLike, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in the given order, by default reversed.

    >>> import wengert as wg
    >>> wg.permute_dims(wg.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return transpose(x, axes)


def transpose(x: ArrayLike, axes: Sequence[int] | None = None) -> Tensor:
    """NumPy's transpose: the axes in the given order, by default reversed.

    >>> import wengert as wg
    >>> wg.transpose([[1.0, 2.0]])
    Tensor([[1.],
            [2.]])
    """
    x = asarray(x)
    return x.T if axes is None else _core.permute(x, axes)


def matrix_transpose(x: ArrayLike) -> Tensor:
    """The last two axes swapped.

    >>> import wengert as wg
    >>> wg.matrix_transpose(wg.zeros((5, 2, 3))).shape
    (5, 3, 2)
    """
    x = asarray(x)
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: needs two axes, got shape {x.shape}")
    return _core.permute(x, [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])


def broadcast_to(x: ArrayLike, shape: int | Sequence[int]) -> Tensor:
    """x repeated along new axes and axes of size 1.

    >>> import wengert as wg
    >>> wg.broadcast_to([1.0, 2.0], (2, 2))
    Tensor([[1., 2.],
            [1., 2.]])
    """
    return _core.broadcast_to(x, shape)


def expand_dims(x: ArrayLike, axis: int | tuple[int, ...] = 0) -> Tensor:
    """With new axes of size 1 at the given places.

    >>> import wengert as wg
    >>> wg.expand_dims([1.0, 2.0], 0).shape
    (1, 2)
    """
    x = asarray(x)
    ndim = x.ndim + len(_core.integers("expand_dims", "axis", axis))
    new = normalized_axes(axis, ndim, "expand_dims")
    sizes = iter(x.shape)
    return _core.reshape(x, [1 if i in new else next(sizes) for i in range(ndim)])


def squeeze(x: ArrayLike, axis: Axis = None) -> Tensor:
    """Without the axes of size 1 (all, or those named).

    >>> import wengert as wg
    >>> wg.squeeze([[1.0, 2.0]]).shape
    (2,)
    """
    x = asarray(x)
    if axis is None:
        gone = {i for i, n in enumerate(x.shape) if n == 1}
    else:
        gone = set(normalized_axes(axis, x.ndim, "squeeze"))
        for i in gone:
            if x.shape[i] != 1:
                raise ValueError(f"squeeze: axis {i} of shape {x.shape} has size {x.shape[i]}, not 1")
    return _core.reshape(x, [n for i, n in enumerate(x.shape) if i not in gone])


def concat(arrays: Sequence[ArrayLike], axis: int | None = 0) -> Tensor:
    """The arrays joined along an existing axis (None: flattened first).

    >>> import wengert as wg
    >>> wg.concat([[1.0], [2.0, 3.0]])
    Tensor([1., 2., 3.])
    """
    items = [asarray(a) for a in arrays]
    return _core.concat([ravel(a) for a in items], 0) if axis is None else _core.concat(items, axis)


def stack(arrays: Sequence[ArrayLike], axis: int = 0) -> Tensor:
    """The arrays, all of one shape, joined along a new axis.

    >>> import wengert as wg
    >>> wg.stack([1.0, 2.0])
    Tensor([1., 2.])
    """
    items = [asarray(a) for a in arrays]
    if not items:
        raise ValueError("stack: needs at least one array")
    for a in items:
        if a.shape != items[0].shape:
            raise ValueError(f"stack: shapes {items[0].shape} and {a.shape} differ")
    return _core.concat([expand_dims(a, axis) for a in items], normalized(axis, items[0].ndim + 1, "stack"))


def along(x: Tensor, axis: int, part: int | slice) -> Tensor:
    """x[part], along an axis counted from the front."""
    return x[(slice(None),) * axis + (part,)]


def ravel(x: ArrayLike) -> Tensor:
    """All elements in one axis, row by row.

    >>> import wengert as wg
    >>> wg.ravel([[1.0], [2.0]])
    Tensor([1., 2.])
    """
    return _core.reshape(x, -1)


def moveaxis(x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """The axes ``source`` put at the places ``destination``; the others keep their order.

    >>> import wengert as wg
    >>> wg.moveaxis(wg.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = asarray(x)
    here = normalized_axes(source, x.ndim, "moveaxis", "source")
    there = normalized_axes(destination, x.ndim, "moveaxis", "destination")
    if len(here) != len(there):
        raise ValueError(f"moveaxis: {source} and {destination} do not pair distinct axes")
    order = [i for i in range(x.ndim) if i not in here]
    for to, axis in sorted(zip(there, here, strict=True)):
        order.insert(to, axis)
    return _core.permute(x, order)


def swapaxes(x: ArrayLike, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged.

    >>> import wengert as wg
    >>> wg.swapaxes(wg.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    x = asarray(x)
    a, b = normalized(axis1, x.ndim, "swapaxes"), normalized(axis2, x.ndim, "swapaxes")
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    return _core.permute(x, order)


def broadcast_arrays(*arrays: ArrayLike) -> tuple[Tensor, ...]:
    """The arrays, each repeated to their common shape.

    >>> import wengert as wg
    >>> [a.shape for a in wg.broadcast_arrays([1.0, 2.0], [[3.0]])]
    [(1, 2), (1, 2)]
    """
    items = [asarray(a) for a in arrays]
    try:
        shape = np.broadcast_shapes(*(a.shape for a in items))
    except ValueError:
        raise ValueError(
            f"broadcast_arrays: shapes {', '.join(str(a.shape) for a in items)} do not broadcast"
        ) from None
    return tuple(_core.broadcast_to(a, shape) for a in items)


def meshgrid(*arrays: ArrayLike, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinates of a grid: one array for each axis ("ij"), with the first two axes exchanged for "xy".

    >>> import wengert as wg
    >>> wg.meshgrid([1.0, 2.0], [3.0])[0]
    Tensor([[1., 2.]])
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    n = len(arrays)
    grid = broadcast_arrays(
        *(_core.reshape(a, [a.size if i == k else 1 for i in range(n)]) for k, a in enumerate(map(asarray, arrays)))
    )
    return tuple(swapaxes(a, 0, 1) for a in grid) if indexing == "xy" and n > 1 else grid


def flip(x: ArrayLike, axis: Axis = None) -> Tensor:
    """The elements in reverse order along ``axis`` (None: along all).

    >>> import wengert as wg
    >>> wg.flip([1.0, 2.0, 3.0])
    Tensor([3., 2., 1.])
    """
    x = asarray(x)
    flipped = normalized_axes(axis, x.ndim, "flip")
    start = [n - 1 if i in flipped and n else 0 for i, n in enumerate(x.shape)]
    return _core.slice(x, start, [-1 if i in flipped else 1 for i in range(x.ndim)], x.shape)


def roll(x: ArrayLike, shift: int | Sequence[int], axis: Axis = None) -> Tensor:
    """The elements moved on by ``shift`` along ``axis``, those beyond the end to the front (None: flattened).

    >>> import wengert as wg
    >>> wg.roll([1.0, 2.0, 3.0], 1)
    Tensor([3., 1., 2.])
    """
    x = asarray(x)
    if axis is None:
        return _core.reshape(roll(ravel(x), sum(_core.integers("roll", "shift", shift)), 0), x.shape)
    y: Tensor = x
    rolled = [normalized(a, y.ndim, "roll") for a in _core.integers("roll", "axis", axis)]
    shifts = _core.integers("roll", "shift", shift)
    if len(shifts) != len(rolled) and 1 not in (len(shifts), len(rolled)):
        raise ValueError(f"roll: {len(shifts)} shifts for {len(rolled)} axes")
    for a, by in np.broadcast(rolled, shifts):
        if y.shape[a] and (k := by % y.shape[a]):
            y = _core.concat([along(y, a, slice(-k, None)), along(y, a, slice(None, -k))], a)
    return y


def tile(x: ArrayLike, repetitions: int | Sequence[int]) -> Tensor:
    """x laid side by side, so many times along each axis.

    >>> import wengert as wg
    >>> wg.tile([1.0, 2.0], 2)
    Tensor([1., 2., 1., 2.])
    """
    x = asarray(x)
    times = _core.integers("tile", "repetitions", repetitions)
    ndim = builtins.max(x.ndim, len(times))
    times = [*[1] * (ndim - len(times)), *times]
    if builtins.min(times, default=0) < 0:
        raise ValueError(f"tile: repetitions must not be negative, got {tuple(times)}")
    sizes = [*[1] * (ndim - x.ndim), *x.shape]
    apart = _core.reshape(x, [d for s in sizes for d in (1, s)])
    tiled = _core.broadcast_to(apart, [d for r, s in zip(times, sizes, strict=True) for d in (r, s)])
    return _core.reshape(tiled, [r * s for r, s in zip(times, sizes, strict=True)])


def repeat(x: ArrayLike, repeats: int | Sequence[int], axis: int | None = None) -> Tensor:
    """Each element repeated in place along ``axis`` (None: of the flattened array); ``repeats`` may differ by element.

    >>> import wengert as wg
    >>> wg.repeat([1.0, 2.0], 2)
    Tensor([1., 1., 2., 2.])
    """
    x = asarray(x)
    if axis is None:
        x, axis = ravel(x), 0
    axis = normalized(axis, x.ndim, "repeat")
    times = np.array(_core.integers("repeat", "repeats", repeats))
    if times.size not in (1, x.shape[axis]) or (times < 0).any():
        raise ValueError(f"repeat: repeats must be one number or {x.shape[axis]}, none negative, got {repeats}")
    countable("repeat", builtins.sum(times.tolist()) * (x.shape[axis] if times.size == 1 else 1))
    return take(x, np.repeat(np.arange(x.shape[axis]), times), axis)


def split(x: ArrayLike, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """x cut along ``axis``: into so many equal parts, or before each of the given indices.

    >>> import wengert as wg
    >>> wg.split([1.0, 2.0, 3.0], [1])
    [Tensor([1.]), Tensor([2., 3.])]
    """
    x = asarray(x)
    axis = normalized(axis, x.ndim, "split")
    n = x.shape[axis]
    cuts = _core.integers("split", "indices_or_sections", indices_or_sections)
    if np.ndim(indices_or_sections) == 0:
        (parts,) = cuts
        if parts <= 0 or n % parts:
            raise ValueError(f"split: axis {axis} of size {n} has no {parts} equal parts")
        cuts = [n // parts * k for k in range(1, parts)]
    cuts = [0, *cuts, n]
    return [along(x, axis, slice(a, b)) for a, b in itertools.pairwise(cuts)]


def unstack(x: ArrayLike, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along ``axis``, which is dropped.

    >>> import wengert as wg
    >>> wg.unstack([[1.0, 2.0], [3.0, 4.0]])
    (Tensor([1., 2.]), Tensor([3., 4.]))
    """
    x = asarray(x)
    axis = normalized(axis, x.ndim, "unstack")
    return tuple(along(x, axis, i) for i in range(x.shape[axis]))


def tril(x: ArrayLike, k: int = 0) -> Tensor:
    """The matrices in the last two axes, 0 above diagonal ``k``.

    >>> import wengert as wg
    >>> wg.tril([[1.0, 2.0], [3.0, 4.0]])
    Tensor([[1., 0.],
            [3., 4.]])
    """
    x = _matrices(x, "tril")
    return _core.where(np.tri(x.shape[-2], x.shape[-1], k, dtype=bool), x, np.zeros((), x.dtype))


def triu(x: ArrayLike, k: int = 0) -> Tensor:
    """The matrices in the last two axes, 0 below diagonal ``k``.

    >>> import wengert as wg
    >>> wg.triu([[1.0, 2.0], [3.0, 4.0]])
    Tensor([[1., 2.],
            [0., 4.]])
    """
    x = _matrices(x, "triu")
    return _core.where(np.tri(x.shape[-2], x.shape[-1], k - 1, dtype=bool), np.zeros((), x.dtype), x)


def diagonal(x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonals of the matrices in two axes, as a new last axis; ``offset`` counts to the right.

    >>> import wengert as wg
    >>> wg.diagonal([[1.0, 2.0], [3.0, 4.0]])
    Tensor([1., 4.])
    """
    x = _matrices(x, "diagonal")
    x, offset = moveaxis(x, (axis1, axis2), (-2, -1)), operator.index(offset)
    n, m = x.shape[-2:]
    count = builtins.max(0, builtins.min(n, m - offset) if offset >= 0 else builtins.min(n + offset, m))
    start = 0 if not count else offset if offset >= 0 else -offset * m
    lead = x.shape[:-2]
    flat = _core.reshape(x, [*lead, n * m])
    return _core.slice(flat, [*[0] * len(lead), start], [*[1] * len(lead), m + 1], [*lead, count])


def diag(x: ArrayLike, k: int = 0) -> Tensor:
    """The matrix with the vector x on diagonal ``k``; of a matrix, that diagonal.

    >>> import wengert as wg
    >>> wg.diag([1.0, 2.0])
    Tensor([[1., 0.],
            [0., 2.]])
    """
    x = asarray(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError(f"diag: needs a vector or a matrix, got shape {x.shape}")
    k = operator.index(k)
    n = x.size + builtins.abs(k)
    if n * n > 2**60:
        raise ValueError(f"diag: a matrix of shape {(n, n)} is too large")
    places = np.arange(x.size) * (n + 1) + (k if k >= 0 else -k * n)
    return _core.reshape(_core.scatter_add(x, places, 0, n * n), [n, n])


def trace(x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of the diagonal of the matrices in two axes.

    >>> import wengert as wg
    >>> wg.trace([[1.0, 2.0], [3.0, 4.0]])
    Tensor(5.)
    """
    return _core.sum(diagonal(x, offset, axis1, axis2), [-1], False)


def _matrices(x: ArrayLike, op: str) -> Tensor:
    y = asarray(x)
    if y.ndim < 2:
        raise ValueError(f"{op}: needs two axes, got shape {y.shape}")
    return y
