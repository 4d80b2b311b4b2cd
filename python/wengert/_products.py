"""Products of arrays: matrix products, and einsum, which lays every product out as one."""

from __future__ import annotations

import itertools
import math
from typing import Any

from wengert import _core
from wengert._base import ArrayLike, Tensor, asarray, normalized, normalized_axes
from wengert._shapes import diagonal, moveaxis, roll

__all__ = [
    "cross",
    "dot",
    "einsum",
    "inner",
    "kron",
    "matmul",
    "outer",
    "tensordot",
    "vecdot",
]


def matmul(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The matrix product, as NumPy's: vectors count as rows on the left and columns on the right, batches broadcast.

    Raises ValueError naming both shapes if the inner sizes differ.

    >>> import wengert as wg
    >>> wg.matmul([[1.0, 2.0]], [[3.0], [4.0]])
    Tensor([[11.]])
    """
    return _core.matmul(a, b)


def dot(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The sums of products over the last axis of a and the last but one of b, for all others of both, as NumPy's.

    So it is the product of matrices or vectors, and of a number with anything the scaled array. For batches of
    matrices, use :func:`wengert.matmul`.

    >>> import wengert as wg
    >>> wg.dot([1.0, 2.0], [3.0, 4.0])
    Tensor(11.)
    """
    a, b = asarray(a), asarray(b)
    if a.ndim == 0 or b.ndim == 0:
        return _core.multiply(a, b)
    return _core.matmul(a, b) if b.ndim == 1 or a.ndim == b.ndim == 2 else tensordot(a, b, (-1, -2))


def outer(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Every element of a times every element of b, as a matrix.

    >>> import wengert as wg
    >>> wg.outer([1.0, 2.0], [3.0, 4.0])
    Tensor([[3., 4.],
            [6., 8.]])
    """
    a, b = asarray(a), asarray(b)
    return _core.reshape(a, [a.size, 1]) * _core.reshape(b, [1, b.size])


def inner(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The sum of products over the last axes of both.

    >>> import wengert as wg
    >>> wg.inner([1.0, 2.0], [3.0, 4.0])
    Tensor(11.)
    """
    a, b = asarray(a), asarray(b)
    return a * b if a.ndim == 0 or b.ndim == 0 else tensordot(a, b, (-1, -1))


def vecdot(a: ArrayLike, b: ArrayLike, axis: int = -1) -> Tensor:
    """The sum of products along one axis, after broadcasting.

    >>> import wengert as wg
    >>> wg.vecdot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.])
    """
    a, b = asarray(a), asarray(b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"vecdot: needs vectors, got shapes {a.shape} and {b.shape}")
    if a.shape[normalized(axis, a.ndim, "vecdot")] != b.shape[normalized(axis, b.ndim, "vecdot")]:
        raise ValueError(f"vecdot: shapes {a.shape} and {b.shape} differ along axis {axis}")
    a, b = (moveaxis(x, axis, -1) for x in (a, b))
    return _sum(a * b, [-1])


def tensordot(a: ArrayLike, b: ArrayLike, axes: int | tuple[Any, Any] = 2) -> Tensor:
    """The sum of products over pairs of axes: the last of a with the first of b, so many, or those of two lists.

    >>> import wengert as wg
    >>> wg.tensordot(wg.ones((2, 3)), wg.ones((3, 2)), axes=1)
    Tensor([[3., 3.],
            [3., 3.]])
    """
    a, b = asarray(a), asarray(b)
    if isinstance(axes, (tuple, list)):
        first, second = axes
    else:
        (n,) = _core.integers("tensordot", "axes", axes)
        if not 0 <= n <= min(a.ndim, b.ndim):
            raise ValueError(f"tensordot: {n} axes to sum over of shapes {a.shape} and {b.shape}")
        first, second = range(-n, 0), range(n)
    of_a = normalized_axes(first, a.ndim, "tensordot", "axes")
    of_b = normalized_axes(second, b.ndim, "tensordot", "axes")
    if [a.shape[k] for k in of_a] != [b.shape[k] for k in of_b]:
        raise ValueError(f"tensordot: shapes {a.shape} and {b.shape} differ along axes {of_a} and {of_b}")
    labels_a: list[Label] = list(range(a.ndim))
    labels_b: list[Label] = [of_a[of_b.index(k)] if k in of_b else a.ndim + k for k in range(b.ndim)]
    kept = {label for label in [*labels_a, *labels_b] if (label in labels_a) != (label in labels_b)}
    return _contract((labels_a, a), (labels_b, b), kept)[1]


def cross(a: ArrayLike, b: ArrayLike, axis: int = -1) -> Tensor:
    """The vector products of vectors of three elements along ``axis``.

    >>> import wengert as wg
    >>> wg.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    Tensor([0., 0., 1.])
    """
    a, b = asarray(a), asarray(b)
    if not all(x.ndim and x.shape[normalized(axis, x.ndim, "cross")] == 3 for x in (a, b)):
        raise ValueError(f"cross: needs vectors of 3 elements along axis {axis}, got shapes {a.shape} and {b.shape}")
    a1, b1 = roll(a, -1, axis), roll(b, -1, axis)
    return roll(a * b1 - a1 * b, -1, axis)


def kron(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The Kronecker product: b scaled by each element of a, in the place of that element.

    >>> import wengert as wg
    >>> wg.kron([1.0, 10.0], [1.0, 2.0])
    Tensor([ 1.,  2., 10., 20.])
    """
    a, b = asarray(a), asarray(b)
    ndim = max(a.ndim, b.ndim)
    of_a, of_b = ([*[1] * (ndim - t.ndim), *t.shape] for t in (a, b))
    apart_a = _core.reshape(a, [d for s in of_a for d in (s, 1)])
    apart_b = _core.reshape(b, [d for s in of_b for d in (1, s)])
    return _core.reshape(apart_a * apart_b, [s * t for s, t in zip(of_a, of_b, strict=True)])


Label = str | int  # an axis of einsum: a letter, or what an ellipsis stands for, counted from the last
Term = tuple[list[Label], Tensor]


def einsum(subscripts: str, *operands: ArrayLike, optimize: Any = None) -> Tensor:
    """Einstein's summation: axes that share a letter run together, and letters left out of the result are summed.

    ``"ij,jk->ik"`` is the matrix product; without ``->`` the result has the letters that occur once, in order.
    ``...`` stands for axes that broadcast. Operands are contracted two at a time, the smallest result first, whatever
    NumPy's ``optimize`` says.
    Raises ValueError for subscripts that do not fit the operands.

    >>> import wengert as wg
    >>> wg.einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0])
    Tensor([21., 43.])
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts must be a string such as 'ij,jk->ik', got {type(subscripts).__name__}")
    terms, result = _parse(subscripts, [asarray(x) for x in operands])
    terms = [_diagonals(subscripts, *term) for term in terms]
    sizes: dict[Label, int] = {}
    for labels, x in terms:
        for label, n in zip(labels, x.shape, strict=True):
            if sizes.setdefault(label, n) == 1:
                sizes[label] = n
            elif n not in (1, sizes[label]):
                raise ValueError(f"einsum {subscripts!r}: axis {label!r} has sizes {sizes[label]} and {n}")
    while len(terms) > 1:

        def needed(i: int, j: int) -> set[Label]:
            others = [labels for k, (labels, _) in enumerate(terms) if k not in (i, j)]  # noqa: B023
            return set(result).union(*others)

        def size(pair: tuple[int, int]) -> int:
            labels = {*terms[pair[0]][0], *terms[pair[1]][0]} & needed(*pair)  # noqa: B023
            return math.prod(sizes[label] for label in labels)

        i, j = min(itertools.combinations(range(len(terms)), 2), key=size)
        product = _contract(terms[i], terms[j], needed(i, j))
        terms = [*(t for k, t in enumerate(terms) if k not in (i, j)), product]
    labels, x = _summed(*terms[0], set(result))
    x = _core.permute(x, [labels.index(label) for label in result])
    return _core.broadcast_to(x, [sizes[label] for label in result])


def _parse(subscripts: str, operands: list[Tensor]) -> tuple[list[Term], list[Label]]:
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(operands):
        raise ValueError(f"einsum {subscripts!r} has {len(inputs)} terms for {len(operands)} operands")

    def labels(term: str, rest: int) -> list[Label]:
        before, dots, after = term.partition("...")
        if not (before + after).isalpha() and before + after:
            raise ValueError(f"einsum {subscripts!r}: {term!r} must consist of letters and at most one '...'")
        return [*before, *(range(-rest, 0) if dots else ()), *after]

    terms: list[Term] = []
    widest = 0
    for term, x in zip(inputs, operands, strict=True):
        rest = x.ndim - len(term.replace("...", ""))
        if rest < 0 or (rest and "..." not in term):
            raise ValueError(f"einsum {subscripts!r}: {term!r} does not fit an operand of shape {x.shape}")
        terms.append((labels(term, rest), x))
        widest = max(widest, rest)
    if arrow:
        result = labels(right, widest)
    else:
        letters = [label for names, _ in terms for label in names if isinstance(label, str)]
        result = [*range(-widest, 0), *sorted(label for label in set(letters) if letters.count(label) == 1)]
    known = {label for names, _ in terms for label in names}
    if len(set(result)) != len(result) or not known.issuperset(result):
        raise ValueError(f"einsum {subscripts!r}: the result names an axis twice, or one that no operand has")
    return terms, result


def _diagonals(subscripts: str, labels: list[Label], x: Tensor) -> Term:
    """An axis for each label: repeated ones run along the diagonal."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            if x.shape[i] != x.shape[j]:
                raise ValueError(f"einsum {subscripts!r}: axes {label!r} of one operand differ: shape {x.shape}")
            x = diagonal(x, 0, i, j)
            labels = [*labels[:i], *labels[i + 1 : j], *labels[j + 1 :], label]
    return labels, x


def _summed(labels: list[Label], x: Tensor, kept: set[Label]) -> Term:
    gone = [i for i, label in enumerate(labels) if label not in kept]
    return [label for label in labels if label in kept], _sum(x, gone) if gone else x


def _sum(x: Tensor, axes: list[int]) -> Tensor:
    """The sum, of booleans whether any is true."""
    return _core.cast(_core.sum(x, axes, False), x.dtype)


def _contract(left: Term, right: Term, kept: set[Label]) -> Term:
    """The product of two terms, summed over the labels that nobody keeps: one matrix product, in batches."""
    (la, a), (lb, b) = left, right
    size_a, size_b = dict(zip(la, a.shape, strict=True)), dict(zip(lb, b.shape, strict=True))
    both = {label for label in la if label in lb}
    for label in both:  # an axis of size 1 against a longer one says nothing
        if size_a[label] != size_b[label]:
            if size_a[label] == 1:
                la, a = _summed(la, a, {*la} - {label})
            else:
                lb, b = _summed(lb, b, {*lb} - {label})
    both = {label for label in la if label in lb}
    la, a = _summed(la, a, kept | both)
    lb, b = _summed(lb, b, kept | both)
    batch = [label for label in la if label in both and label in kept]
    inner = [label for label in la if label in both and label not in kept]
    rows, columns = [label for label in la if label not in both], [label for label in lb if label not in both]

    def laid_out(x: Tensor, labels: list[Label], *blocks: list[Label]) -> Tensor:
        size = dict(zip(labels, x.shape, strict=True))
        x = _core.permute(x, [labels.index(label) for block in (batch, *blocks) for label in block])
        return _core.reshape(x, [*(size[k] for k in batch), *(math.prod(size[k] for k in block) for block in blocks)])

    a, b = laid_out(a, la, rows, inner), laid_out(b, lb, inner, columns)
    product = _core.matmul(a, b) if inner else a * b
    size = {**size_b, **size_a, **{k: max(size_a[k], size_b[k]) for k in size_a.keys() & size_b.keys()}}
    labels = [*batch, *rows, *columns]
    return labels, _core.reshape(product, [size[label] for label in labels])
