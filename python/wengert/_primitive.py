"""``@wg.primitive``: a user's own op, its value from NumPy code, its derivative from rules written with wg functions.

A call is one node on the tape. Several results travel as one vector, so the engine knows only ops with one result.
Rules are ordinary differentiable code, which is why any order works, and why one mode's rules are enough: a rule is
linear in its first argument, and sweeping its own small tape backwards transposes it into the other mode's.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert import _core, _pickling, _tree
from wengert._base import Tensor, asarray
from wengert._transforms import jvp, vjp

Rule = Callable[..., Any] | None
Linear = Callable[[list[Tensor]], list[Any]]
Array = npt.NDArray[Any]


class primitive:
    """A function of NumPy arrays, made an op that tensors can go through.

    Positional arguments that are tensors or NumPy arrays are its operands; the function sees them as read-only NumPy
    arrays and returns a float array, or a tuple of them (of one dtype). All else, keywords included, is static.
    Without rules the result can be computed but not differentiated; integer and boolean results are constants.

    Rules come from :meth:`defvjp` (reverse) or :meth:`defjvp` (forward), one per positional argument; None stands for
    no dependence. Either alone serves both modes. They are given tensors and must use wg functions.

    >>> import numpy as np, wengert as wg
    >>> @wg.primitive
    ... def cube(x):
    ...     return x**3
    >>> cube.defvjp(lambda g, y, x: 3 * x**2 * g)
    >>> wg.grad(wg.grad(cube))(2.0)
    Tensor(12.)
    """

    def __init__(self, fun: Callable[..., Any]):
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.name = getattr(fun, "__name__", "primitive").lstrip("_")  # as tapes, errors and notes show it
        self.vjps: tuple[Rule, ...] | None = None
        self.jvps: tuple[Rule, ...] | None = None
        self.vjps_batched = self.jvps_batched = False
        self.op = _core.Primitive(self.name)

    def defvjp(self, *rules: Rule, batched: bool = False) -> None:
        """Reverse rules: ``rule(g, y, *args, **kwargs)`` takes the cotangent of the result y to that of its argument.

        For a tuple of results, g and y are tuples. With ``batched`` the rule says that it also serves many
        cotangents at once, stacked along one more leading axis; else it is called for each of them.

        >>> import wengert as wg
        >>> scale = wg.primitive(lambda x, c: c * x)
        >>> scale.defvjp(lambda g, y, x, c: c * g, lambda g, y, x, c: (x * g).sum())
        >>> wg.grad(lambda x: scale(x, 3.0).sum())(wg.tensor([1.0, 2.0]))
        Tensor([3., 3.])
        """
        self.vjps, self.vjps_batched = rules, batched

    def defjvp(self, *rules: Rule, batched: bool = False) -> None:
        """Forward rules: ``rule(t, y, *args, **kwargs)`` takes the tangent of its argument to that of the result y.

        For a tuple of results, y is a tuple and so is what the rule returns. ``batched`` as in :meth:`defvjp`.

        >>> import numpy as np, wengert as wg
        >>> sine = wg.primitive(np.sin)
        >>> sine.defjvp(lambda t, y, x: t * wg.cos(x))
        >>> wg.grad(sine)(0.0)
        Tensor(1.)
        """
        self.jvps, self.jvps_batched = rules, batched

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        positions = [k for k, a in enumerate(args) if isinstance(a, (Tensor, np.ndarray))]
        static = [a for a in args if not isinstance(a, (Tensor, np.ndarray))]
        if any(isinstance(x, Tensor) for x in _tree.leaves([static, kwargs])):
            raise TypeError(f"{self.name}: tensors must be positional arguments, not keywords or inside of a list")
        operands = [asarray(args[k]) for k in positions]
        call = _Call(self, args, positions, kwargs)
        value = call.run([_core.detached_numpy(t) for t in operands])
        return call.structured(call.unpack(self.op.record(operands, value, call)))

    def __repr__(self) -> str:
        return f"<wengert primitive {self.name}>"

    def __reduce__(self) -> Any:
        rules = {k: v for k, v in vars(self).items() if k.startswith(("vjps", "jvps"))}
        return _pickling.reduced(self, _restored, self.fun, rules)

    @contextlib.contextmanager
    def noted(self, what: str) -> Iterator[None]:
        """Exceptions that pass through gain a note."""
        try:
            yield
        except Exception as error:
            note = f"in {what} of the primitive '{self.name}'"
            notes = [*getattr(error, "__notes__", []), note]
            setattr(error, "__notes__", notes)  # noqa: B010 - what add_note does from Python 3.11 on
            raise


def _restored(fun: Callable[..., Any], rules: dict[str, Any]) -> primitive:
    restored = primitive(fun)
    vars(restored).update(rules)
    return restored


def constant(fun: Callable[..., Any]) -> Callable[..., Tensor]:
    """A NumPy function of one array whose result has no derivative, as a function of tensors."""
    op = primitive(fun)

    def wrapped(x: Any, **static: Any) -> Tensor:
        result: Tensor = op(asarray(x), **static)
        return result

    return wrapped


def by_value(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors whose course depends on their values, such as a rule that tells singular matrices apart.

    Its arguments are tensors, tuples of them, and constants; it returns a tensor or a tuple. A recording would freeze
    the course, so there a call is one primitive, which runs anew at each replay; and so are its derivatives.
    """

    @functools.wraps(f)
    def wrapped(*args: Any) -> Any:
        return _opaque(f, args)(*_tree.leaves(args)) if _core.recording() else f(*args)

    return wrapped


def _opaque(f: Callable[..., Any], like: tuple[Any, ...]) -> primitive:
    """f as a primitive of the leaves of arguments like these."""
    tree = _tree.map(lambda leaf: 0, like)
    n = len(_tree.leaves(tree))

    def flat(*leaves: Any) -> Any:
        return f(*_tree.rebuild(tree, leaves))

    def of_one(k: int, leaves: tuple[Any, ...]) -> Callable[[Tensor], Any]:
        return lambda x: flat(*leaves[:k], x, *leaves[k + 1 :])

    def pulled(k: int, *given: Any) -> Any:
        seeds, leaves = given[:-n], given[-n:]
        out, pullback = vjp(of_one(k, leaves), leaves[k])
        return pullback(_tree.rebuild(out, seeds))[0]

    def pushed(k: int, t: Tensor, *leaves: Any) -> Any:
        return jvp(of_one(k, leaves), (leaves[k],), (t,))[1]

    def value(*leaves: Any) -> Any:
        return _tree.map(_core.detached_numpy, flat(*(asarray(x) if isinstance(x, np.ndarray) else x for x in leaves)))

    value.__name__ = f.__name__
    op = primitive(value)
    op.defvjp(*(lambda g, y, *leaves, k=k: by_value(pulled)(k, *_tree.leaves(g), *leaves) for k in range(n)))
    op.defjvp(*(lambda t, y, *leaves, k=k: by_value(pushed)(k, t, *leaves) for k in range(n)))
    return op


class _Call:
    """One call of a primitive: what the engine asks to run it again, to pull cotangents and to push tangents.

    ``lead`` is the extra leading axis of these: [] or [how many].
    """

    def __init__(self, p: primitive, args: tuple[Any, ...], positions: list[int], kwargs: dict[str, Any]):
        self.primitive = p
        self.args = [None if k in positions else a for k, a in enumerate(args)]
        self.positions = positions
        self.kwargs = kwargs
        self.shapes: Any = None  # of a tuple of results: one shape for each, in the same structure

    def filled(self, operands: list[Any]) -> list[Any]:
        args = self.args.copy()
        for k, x in zip(self.positions, operands, strict=True):
            args[k] = x
        return args

    def run(self, arrays: list[Array]) -> Array:
        """The result; several as one vector."""
        p = self.primitive
        with p.noted("the function"):
            result = _core.apart(p.fun, *self.filled(arrays), **self.kwargs)
            if not isinstance(result, tuple):
                return np.asarray(result)
            parts = [np.asarray(r) for r in result]
            if not parts or any(r.dtype.kind != "f" for r in parts):
                kinds = ", ".join(str(r.dtype) for r in parts)
                raise TypeError(f"{p.name}: a tuple of results must hold float arrays, got ({kinds})")
        self.shapes = _tree.rebuild(result, [_Shape(r.shape) for r in parts])
        return np.concatenate([r.ravel() for r in parts])

    def unpack(self, y: Tensor, lead: Sequence[int] = ()) -> list[Tensor]:
        """The results, each in its shape."""
        if self.shapes is None:
            return [y]
        items, start = [], 0
        for shape in _tree.leaves(self.shapes):
            part = _core.slice(y, [*[0] * len(lead), start], [1] * y.ndim, [*lead, shape.size])
            items.append(_core.reshape(part, [*lead, *shape.dims]))
            start += shape.size
        return items

    def pack(self, items: list[Tensor], lead: Sequence[int]) -> Tensor:
        """The inverse of unpack."""
        if self.shapes is None:
            return items[0]
        flat = [[*lead, s.size] for s in _tree.leaves(self.shapes)]
        return _core.concat([_core.reshape(t, shape) for t, shape in zip(items, flat, strict=True)], -1)

    def structured(self, items: list[Tensor]) -> Any:
        """What the function returned, or its cotangents: one tensor or the tuple."""
        return items[0] if self.shapes is None else _tree.rebuild(self.shapes, list(items))

    def pull(
        self, g: Tensor, y: Tensor, operands: list[Tensor], needs: list[bool], lead: list[int]
    ) -> list[Tensor | None]:
        """The cotangents of the operands, given that of the result."""
        p, seeds, results = self.primitive, self.unpack(g, lead), self.unpack(y)
        cotangents: list[Tensor | None] = []
        for x, reverse, forward in self.rules(results, operands, needs):
            if reverse:
                cotangents += self.many("reverse", reverse, seeds, [x], lead, p.vjps_batched)
            elif forward:
                cotangents += self.transposed("forward", forward, [x], results, seeds, lead)
            else:
                cotangents.append(None)
        return cotangents

    def push(self, tangents: list[Tensor | None], y: Tensor, operands: list[Tensor], lead: list[int]) -> Tensor:
        """The tangent of the result, given those of the operands."""
        p, results = self.primitive, self.unpack(y)
        total: Tensor | None = None
        rules = self.rules(results, operands, [t is not None for t in tangents])
        for (x, reverse, forward), t in zip(rules, tangents, strict=True):
            if t is not None and forward:
                moved = self.many("forward", forward, [t], results, lead, p.jvps_batched)
            elif t is not None and reverse:
                moved = self.transposed("reverse", reverse, results, [x], [t], lead)
            else:
                continue
            packed = self.pack(moved, lead)
            total = packed if total is None else total + packed
        return _core.full([*lead, *y.shape], 0.0, y.dtype) if total is None else total

    def rules(
        self, results: list[Tensor], operands: list[Tensor], wanted: list[bool]
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Each operand with its reverse and its forward rule, as functions from lists of tensors to such lists."""
        p, y, args = self.primitive, self.structured(results), self.filled(operands)
        for position, x, want in zip(self.positions, operands, wanted, strict=True):
            both: list[Any] = []
            for rules, how in ((p.vjps, "defvjp"), (p.jvps, "defjvp")):
                if rules is not None and want and position >= len(rules):
                    raise TypeError(f"{p.name}: {how} gave {len(rules)} rules, none for argument {position}")
                both.append(rules[position] if rules is not None and want else None)
            if want and p.vjps is None and p.jvps is None:
                raise TypeError(f"{p.name} has no derivative: give it one with {p.name}.defvjp(rule) or .defjvp(rule)")
            vjp, jvp = both
            reverse = vjp and (lambda gs, f=vjp: [f(self.structured(gs), y, *args, **self.kwargs)])
            forward = jvp and (lambda ts, f=jvp: self.listed(f(ts[0], y, *args, **self.kwargs)))
            yield x, reverse, forward

    def listed(self, tangents: Any) -> list[Any]:
        return [tangents] if self.shapes is None else list(tangents)

    def many(
        self, mode: str, rule: Linear, given: list[Tensor], like: list[Tensor], lead: list[int], batched: bool
    ) -> list[Tensor]:
        """The rule for all cotangents or tangents: at once, or one by one."""
        with self.primitive.noted(f"the {mode} rule"):
            if not lead or batched:
                return self.checked(rule(given), like, lead)
            if lead[0] == 0:
                return [_core.full([0, *t.shape], 0.0, t.dtype) for t in like]
            rows = [self.checked(rule([t[i] for t in given]), like, []) for i in range(lead[0])]
            return [
                _core.concat([_core.reshape(t, [1, *t.shape]) for t in column], 0) for column in zip(*rows, strict=True)
            ]

    def transposed(
        self, mode: str, rule: Linear, at: list[Tensor], like: list[Tensor], seeds: list[Tensor], lead: list[int]
    ) -> list[Tensor]:
        """The other mode's rule: `rule` is linear, so its pullback at zero is its transpose."""
        with self.primitive.noted(f"the {mode} rule"):
            before = _core.set_grad_enabled(True)
            try:
                zeros = [_core.input_node(self.primitive.name, _core.full(list(t.shape), 0.0, t.dtype)) for t in at]
                out = self.checked(rule(zeros), like, [])
            finally:
                _core.set_grad_enabled(before)
            return _core.gradients(out, seeds, zeros, before, lead[0] if lead else -1)

    def checked(self, items: list[Any], like: list[Tensor], lead: list[int]) -> list[Tensor]:
        """What a rule returned, as tensors of the shapes it should have; None is zero."""
        name = self.primitive.name
        if len(items) != len(like):
            raise ValueError(f"{name}: the rule returned {len(items)} tangents for {len(like)} results")
        tensors = []
        for item, x in zip(items, like, strict=True):
            shape = (*lead, *x.shape)
            t = _core.full(shape, 0.0, x.dtype) if item is None else asarray(item)
            if t.shape != shape:
                raise ValueError(f"{name}: the rule returned shape {t.shape}, expected {shape}")
            tensors.append(_core.cast(t, x.dtype))
        return tensors


class _Shape:
    """A shape that is a leaf of a structure."""

    def __init__(self, dims: tuple[int, ...]):
        self.dims = dims
        self.size = math.prod(dims)
