"""What the nodes of a tape look like to a reader: entries with names and formulas, and the chain rule in words.

Loaded when a tape is first read, not with the package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert import _core, _notation
from wengert._notation import Operand, Operation
from wengert._tensor import Tensor, asarray

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Entry:
    """A line of the tape: a leaf, a constant, or the result of one operation.

    ``inputs`` are the indices of its operands on the tape, ``formula`` is the operation as one would write it,
    ``adjoint`` what the last backward found for it (None before), ``path`` the module call it happened in, or "".
    """

    index: int
    name: str
    op: str
    formula: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    value: Array
    adjoint: Array | None
    path: str

    def __str__(self) -> str:
        return self.name if self.is_input else f"{self.name} = {self.formula}"

    @property
    def is_input(self) -> bool:
        """Whether it is a leaf or a constant, and no result."""
        return self.op in ("input", "constant")


class Text(str):
    """A string that shows itself as it is at the prompt."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass
class Line:
    """An entry without what can change: names and adjoints. ``shown`` is the result as the program sees it."""

    shown: Tensor
    op: str
    word: int = 0
    attrs: list[int] = field(default_factory=list)
    attrs2: list[int] = field(default_factory=list)
    operands: list[int] = field(default_factory=list)  # identities
    node: int = -1  # index among the engine's nodes; that of its first user for a leaf or constant
    before_reshape: Tensor | None = None  # what the operation returned, where unit axes came or went

    @property
    def computed(self) -> Tensor:
        return self.shown if self.before_reshape is None else self.before_reshape


class Listing:
    """The lines of a tape in order, each leaf and constant before its first use, and what they are called."""

    def __init__(self, nodes: _core.Tape, variables: dict[int, str]):
        self.n_nodes = len(nodes)
        self.lines: list[Line] = []
        self.position: dict[int, int] = {}  # by identity; a transform's stand-in also counts as its argument
        self.numbers: dict[int, str] = {}
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.stands_for: set[int] = set()
        self._variables = variables
        self._given: dict[int, str] = {}
        recorded = [nodes.node(i) for i in range(self.n_nodes)]
        self._users = Counter(x for *_, operands in recorded for x, _ in operands)
        for i, (op, word, attrs, attrs2, (identity, result), operands) in enumerate(recorded):
            for x, t in operands:
                if x not in self.shapes:
                    self._read_input(x, t, op, i)
            identities = [x for x, _ in operands]
            self.shapes[identity] = result.shape
            if op in ("cast", "detach") and identities[0] in self.numbers:
                self.numbers[identity] = self.numbers[identities[0]]
            elif op == "input" and (identities[0] in self.stands_for or identities[0] in self.numbers):
                self._append(identity, Line(result, op, node=i))
            elif op == "input":  # the argument of a transform is itself on the tape
                self._append(identity, Line(result, "identity", word, attrs, attrs2, identities, i))
            elif op == "detach" and not (self._users[identity] or result.name or identity in variables):
                self.position[identity] = self.position[identities[0]]  # handed out by a transform
            elif op != "reshape" or not self._same_but_unit_axes(identity, result, identities[0]):
                self._append(identity, Line(result, op, word, attrs, attrs2, identities, i))
        self.names = _distinct(self._given, self.lines)

    def _read_input(self, x: int, t: Tensor, op: str, i: int) -> None:
        self.shapes[x] = t.shape
        name = t.name or self._variables.get(x)
        if t.ndim == 0 and not t.requires_grad and not name:
            self.numbers[x] = _notation.array(_core.detached_numpy(t), 6)
        elif op == "input":  # the argument of a transform: shown as its stand-in, which comes next
            self.position[x] = len(self.lines)
            self.stands_for.add(x)
            if name:
                self._given[len(self.lines)] = name
        else:
            self._append(x, Line(t, "input" if t.requires_grad else "constant", node=i))

    def _same_but_unit_axes(self, identity: int, result: Tensor, operand: int) -> bool:
        """A reshape that says nothing, such as those that make a vector a column: no line of its own."""
        if operand not in self.position:
            return False
        at = self.position[operand]
        line, name = self.lines[at], result.name or self._variables.get(identity)
        if [n for n in result.shape if n != 1] != [n for n in self.shapes[operand] if n != 1]:
            return False
        passing = bool(line.operands) and at not in self._given and self._users[operand] == 1
        if name and not passing:
            return False
        self.position[identity] = at
        if passing:
            line.before_reshape, line.shown = line.computed, result
            if name:
                self._given[at] = name
        return True

    def _append(self, identity: int, line: Line) -> None:
        self.position[identity] = len(self.lines)
        name = line.shown.name or self._variables.get(identity)
        if name:
            self._given.setdefault(len(self.lines), name)
        self.lines.append(line)

    def find(self, key: Tensor | str | int) -> int:
        if isinstance(key, str):
            if key not in self.names:
                raise KeyError(f"nothing on this tape is called {key!r}")
            return self.names.index(key)
        if isinstance(key, Tensor):
            i = self.position.get(_core.identity(key))
            if i is None:
                raise KeyError("this tensor is not on the tape")
            return i
        if not -len(self.lines) <= key < len(self.lines):
            raise IndexError(f"entry {key} of a tape of {len(self.lines)}")
        return key % len(self.lines)

    def operation(self, i: int) -> Operation:
        line = self.lines[i]
        operands = []
        for x in line.operands:
            if x in self.numbers:
                operands.append(Operand(self.numbers[x], (), True))
            else:
                at = self.position[x]
                operands.append(Operand(self.names[at], self.shapes[x]))
        result = Operand(self.names[i], line.computed.shape)
        return Operation(line.op, tuple(operands), result, line.shown.shape, line.word, line.attrs, line.attrs2)

    def entry(self, i: int, adjoint: Array | None, path: str) -> Entry:
        line = self.lines[i]
        return Entry(
            index=i,
            name=self.names[i],
            op=line.op,
            formula=self.formula(i),
            inputs=tuple(self.position[x] for x in line.operands if x in self.position),
            shape=line.shown.shape,
            dtype=line.shown.dtype,
            value=_core.detached_numpy(line.shown),
            adjoint=adjoint,
            path=path,
        )

    def formula(self, i: int) -> str:
        line = self.lines[i]
        return _notation.formula(self.operation(i)) if line.operands else line.op


def _distinct(given: dict[int, str], lines: list[Line]) -> list[str]:
    names: list[str] = []
    taken: set[str] = set()
    for i in range(len(lines)):
        name, count = given.get(i, ""), 1
        while name in taken:
            count += 1
            name = f"{given[i]}_{count}"
        names.append(name)
        taken |= {name} - {""}
    counts = {"x": 0, "k": 0, "v": 0}
    for i, line in enumerate(lines):
        kind = {"input": "x", "constant": "k"}.get(line.op, "v")
        while not names[i]:
            name = f"{kind}{counts[kind]}"
            counts[kind] += 1
            if name not in taken:
                names[i] = name
    return names


def table(entries: list[Entry]) -> str:
    """The Wengert list; columns for adjoints and modules only if there are any."""
    adjoints = any(e.adjoint is not None for e in entries)
    paths = any(e.path for e in entries)
    rows = [["#", "name", "operation", "inputs", "shape", "value"] + adjoints * ["adjoint"] + paths * ["module"]]
    for e in entries:
        inputs = ", ".join(map(str, e.inputs))
        row = [str(e.index), e.name, e.formula, inputs, str(e.shape), _notation.array(e.value)]
        if adjoints:
            row.append("" if e.adjoint is None else _notation.array(e.adjoint))
        rows.append(row + paths * [e.path])
    return columns(rows, right=(0, 5, 6) if adjoints else (0, 5))


def explain(listing: Listing, i: int, adjoint_of: Callable[[Tensor], Array | None], digits: int) -> Text:
    """See Tape.explain; ``i`` is the line's number."""
    return Text(_explain(listing, i, adjoint_of, digits))


def _explain(listing: Listing, i: int, adjoint_of: Callable[[Tensor], Array | None], digits: int) -> str:
    lines, names = listing.lines, listing.names
    adjoints: list[Array | None] = [adjoint_of(line.shown) for line in lines]
    reached = [j for j, a in enumerate(adjoints) if a is not None]
    if not reached:
        raise RuntimeError("explain: no backward has run over this tape; call .backward() on a result first")
    uses: dict[int, list[int]] = {j: [] for j in range(len(lines))}
    for j in reached:
        for x in dict.fromkeys(listing.position[x] for x in lines[j].operands if x in listing.position):
            uses[x].append(j)
    tops = [j for j in reached if not uses[j]]
    f = names[tops[0]] if len(tops) == 1 else "f"
    what, total = f"∂{f}/∂{names[i]}", adjoints[i]
    if total is None:
        if not lines[i].shown.requires_grad:
            raise ValueError(f"explain: {names[i]} does not require a gradient")
        return f"{what} = 0: nothing leads from {names[i]} to {f}"
    if not uses[i]:
        return f"{what} = {_notation.array(total, digits)}, where the backward began"
    steps = []
    for j in uses[i]:
        op = listing.operation(j)
        places = [k for k, x in enumerate(lines[j].operands) if listing.position.get(x) == i]
        steps.append(_Step(names[j], op, places, lines[j].computed, adjoints[j]))
    if total.size == 1 and all(s.adjoint.size == 1 for s in steps):
        return _explain_numbers(f, names[i], total, steps, digits)
    return _explain_arrays(f, names[i], total, steps, digits)


@dataclass
class _Step:
    """A use of x: the result's name, the operation, where in it x stands, the result, and its adjoint."""

    name: str
    op: Operation
    places: list[int]
    result: Tensor
    adjoint: Any

    def contribution(self, cotangent: Array) -> Array:
        """What the operation passes on to x."""
        g = asarray(np.ascontiguousarray(cotangent, dtype=self.result.dtype).reshape(self.result.shape))
        term = _core.contributions(self.result, g)[self.places[0]]
        assert term is not None
        return _core.detached_numpy(term)


def _explain_numbers(f: str, x: str, total: Array, steps: list[_Step], digits: int) -> str:
    partials = [float(s.contribution(np.ones(s.result.shape)).item()) for s in steps]
    symbols = " + ".join(f"∂{f}/∂{s.name}·∂{s.name}/∂{x}" for s in steps)
    numbers: list[str] = []
    for s, local in zip(steps, partials, strict=True):
        write = _notation.factor if numbers else _notation.number
        numbers.append(f"{write(s.adjoint.item(), digits)}·{_notation.factor(local, digits)}")
    first = f"∂{f}/∂{x} = {symbols} = {' + '.join(numbers)} = {_notation.number(total.item(), digits)}"
    rows = []
    for s, local in zip(steps, partials, strict=True):
        formulas = [_notation.partial(s.op, k) for k in s.places] if s.op.name in _notation.elementwise else [None]
        written = [_notation.number(local, digits)]
        if None not in formulas:
            text = " + ".join(str(p) for p in formulas)
            written = [text] + [w for w in written if w != text]
        rows.append(["", s.name, f"= {_notation.formula(s.op)}", " = ".join([f"∂{s.name}/∂{x}", *written])])
    return first + "\n" + columns(rows, gaps=(2, 1, 2))


def _explain_arrays(f: str, x: str, total: Array, steps: list[_Step], digits: int) -> str:
    rows = []
    for s in steps:
        gives = _notation.array(s.contribution(s.adjoint), digits)
        text = " + ".join(_notation.pullback(s.op, k) for k in s.places)
        rows.append(["", s.name, f"= {_notation.formula(s.op)}", text, f"with g = ∂{f}/∂{s.name}", f"gives {gives}"])
    if len(steps) > 1:
        rows.append(["", "the sum", "", "", "", f"   is {_notation.array(total, digits)}"])
    return f"∂{f}/∂{x}, of shape {total.shape}:\n" + columns(rows, gaps=(2, 1, 2, 2, 2))


def columns(rows: list[list[str]], right: tuple[int, ...] = (), gaps: tuple[int, ...] | None = None) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    gaps = gaps or (2,) * (len(widths) - 1)
    lines = []
    for row in rows:
        cells = [c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("".join(c + " " * gap for c, gap in zip(cells, (*gaps, 0), strict=True)).rstrip())
    return "\n".join(lines)
