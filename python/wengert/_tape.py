"""The tape made visible: a Wengert list that can be read, its chain rule spelled out, its graph drawn.

The engine records (cpp/engine/node.h). What it recorded is put into words by :mod:`wengert._listing` and
:mod:`wengert._notation` and drawn by :mod:`wengert._drawing`, which are loaded when a tape is first read.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from wengert import _core
from wengert._tensor import Tensor

if TYPE_CHECKING:
    from wengert._drawing import Graph
    from wengert._listing import Entry, Listing, Text

Array = npt.NDArray[Any]


class Call:
    """A call of a module while the tape was open: nodes [begin, end) of the engine, and the call it was made in."""

    def __init__(self, module: Any, parent: Call | None, begin: int):
        self.module, self.parent, self.begin, self.end = module, parent, begin, -1
        self.path = _path(parent, module)

    @property
    def chain(self) -> list[Call]:
        """The calls around it and itself, from the outermost."""
        return [*(self.parent.chain if self.parent else []), self]


class Tape:
    """``with wg.Tape() as tape:`` keeps everything that this thread computes within the block, readable.

    ``print(tape)`` lists it as Wengert did: index, name, operation, inputs, shape, value, and after a backward the
    adjoint. Entries can be counted, indexed (by number, name, or tensor) and iterated. Names are the tensors' own, or
    those of the variables around the block; other results are v0, v1, ... Plain numbers stand in the formulas.
    Gradients that are computed with ``create_graph`` are listed too, other sweeps only leave their adjoints.
    In a notebook the tape shows itself as a drawing.

    >>> import wengert as wg
    >>> x = wg.tensor(2.0, requires_grad=True)
    >>> with wg.Tape() as tape:
    ...     a = x**2
    ...     y = a * wg.sin(x)
    >>> y.backward()
    >>> print(tape)
    #  name  operation  inputs  shape   value  adjoint
    0  x     input              ()          2    1.973
    1  a     x²         0       ()          4   0.9093
    2  v0    sin x      0       ()     0.9093        4
    3  y     a·v0       1, 2    ()      3.637        1
    >>> tape.explain(x)
    ∂y/∂x = ∂y/∂a·∂a/∂x + ∂y/∂v0·∂v0/∂x = 0.9093·4 + 4·(−0.4161) = 1.973
      a  = x²     ∂a/∂x = 2x = 4
      v0 = sin x  ∂v0/∂x = cos x = −0.4161
    """

    def __init__(self) -> None:
        self._nodes = _core.Tape()
        self._variables: dict[int, str] = {}
        self._frame: FrameType | None = None
        self._calls: list[Call] = []
        self._call: Call | None = None
        self._listing: Listing | None = None

    def __reduce__(self) -> Any:
        raise TypeError("a Tape holds what a thread is recording, so it is neither copied nor pickled; keep str(tape)")

    def __enter__(self) -> Tape:
        self._nodes.enter()
        self._frame = sys._getframe(1)
        _thread.tapes.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _thread.tapes.remove(self)
        self._nodes.exit()
        self._listing = self._read()
        self._frame = None

    def __len__(self) -> int:
        return len(self._list().lines)

    def __iter__(self) -> Iterator[Entry]:
        listing = self._list()
        return (self._entry(listing, i) for i in range(len(listing.lines)))

    @overload
    def __getitem__(self, key: int | str | Tensor) -> Entry: ...
    @overload
    def __getitem__(self, key: slice) -> list[Entry]: ...
    def __getitem__(self, key: int | str | Tensor | slice) -> Entry | list[Entry]:
        listing = self._list()
        if isinstance(key, slice):
            return [self._entry(listing, i) for i in range(len(listing.lines))[key]]
        return self._entry(listing, listing.find(key))

    def __str__(self) -> str:
        from wengert import _listing

        return _listing.table(list(self))

    def __repr__(self) -> str:
        return f"<Tape of {len(self)} entries; print(tape) lists them>"

    def explain(self, x: Tensor | str | int, digits: int = 4) -> Text:
        """The chain rule for ``x``, with values: every use of x contributes to its adjoint, and these add up.

        ``x`` is a tensor of the tape, or an entry's name or number. For single numbers the partial derivatives are
        written out; for arrays, each contribution as a formula in g, the adjoint of the result of that use, and its
        norm. RuntimeError before the first backward; ValueError for a constant; KeyError or IndexError if x is not
        on the tape.

        >>> import wengert as wg
        >>> W = wg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> with wg.Tape() as tape:
        ...     y = W @ [1.0, 1.0]
        ...     f = (y * y).sum() + W.sum()
        >>> f.backward()
        >>> tape.explain(y)
        ∂f/∂y, of shape (2,):
          v0 = y·y  g·y + g·y  with g = ∂f/∂v0  gives [6, 14]
        """
        from wengert import _listing

        return _listing.explain(self._list(), self._list().find(x), self._adjoint, digits)

    def to_dot(self, fold: int | None = None) -> str:
        """The graph in Graphviz' language. ``fold`` as in :meth:`to_svg`."""
        from wengert import _drawing

        return _drawing.to_dot(self._graph(fold))

    def to_svg(self, fold: int | None = None) -> str:
        """The graph as an SVG picture, from the inputs at the top to the results at the bottom.

        Module calls nested ``fold`` deep are drawn as one box (0: none, 1: the outermost calls); by default they are
        drawn open as long as the picture stays small.
        """
        from wengert import _drawing

        return _drawing.to_svg(self._graph(fold))

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def _graph(self, fold: int | None) -> Graph:
        from wengert import _drawing

        listing = self._list()
        return _drawing.graph(list(self), listing.lines, self._calls, fold)

    def _list(self) -> Listing:
        """What was read at the end of the block, or, within it or after a differentiable sweep, what is there now."""
        if self._listing is None or self._frame is not None or self._listing.n_nodes != len(self._nodes):
            self._listing = self._read()
        return self._listing

    def _read(self) -> Listing:
        from wengert import _listing

        if self._frame is not None:
            self._variables |= _names_in(self._frame)
        return _listing.Listing(self._nodes, self._variables)

    def _entry(self, listing: Listing, i: int) -> Entry:
        line = listing.lines[i]
        call = next((c for c in reversed(self._calls) if c.begin <= line.node < c.end and line.operands), None)
        return listing.entry(i, self._adjoint(line.shown), call.path if call else "")

    def _adjoint(self, t: Tensor) -> Array | None:
        adjoint = self._nodes.adjoint(t)
        return None if adjoint is None else np.broadcast_to(_core.detached_numpy(adjoint), t.shape)

    @contextlib.contextmanager
    def _calling(self, module: Any) -> Iterator[None]:
        begin = len(self._nodes)
        parent = self._call
        call = self._call = Call(module, parent, begin)
        self._calls.append(call)
        try:
            yield
        finally:
            call.end = len(self._nodes)
            self._call = parent


def calling(module: Any) -> contextlib.AbstractContextManager[None]:
    """Around a module's forward: an open tape then knows which operations belong to which call."""
    return _thread.tapes[-1]._calling(module) if _thread.tapes else _no_call


_no_call = contextlib.nullcontext()


class _Thread(threading.local):
    def __init__(self) -> None:
        self.tapes: list[Tape] = []  # entered and not left, the innermost last


_thread = _Thread()


def _path(parent: Call | None, module: Any) -> str:
    """As in error messages: ``MLP.layers.1``."""
    if parent is None:
        return type(module).__name__
    for path, below in parent.module.named_modules():
        if below is module:
            return f"{parent.path}.{path}" if path else parent.path
    return f"{parent.path}.{type(module).__name__}"


def _names_in(frame: FrameType) -> dict[int, str]:
    """The variables of a frame, and the entries of its lists and dicts, that hold tensors. The first name counts."""
    names: dict[int, str] = {}
    local = frame.f_locals
    scopes = [local] if local is frame.f_globals else [local, frame.f_globals]
    for scope in scopes:
        plain = {k: v for k, v in list(scope.items()) if not k.startswith("_") and k not in ("In", "Out")}
        for name, value in plain.items():
            if isinstance(value, Tensor):
                names.setdefault(_core.identity(value), name)
        for name, value in plain.items():
            if type(value) in (dict, list, tuple) and len(value) <= 1000:
                items = value.items() if isinstance(value, dict) else enumerate(value)
                for key, item in items:
                    if isinstance(item, Tensor):
                        names.setdefault(_core.identity(item), f"{name}[{key!r}]")
    in_function = frame.f_code.co_flags & 1
    if in_function and type(local) is dict and sys.getrefcount(local) <= 4:
        local.clear()  # before Python 3.13 a copy that stays with the frame, and would keep its tensors alive
    return names
