"""Drawings of a tape: a small layered layout after Sugiyama, Tagawa and Toda (1981), written as SVG or DOT.

Operands stand above results. Each box has a layer (the longest path to it), long edges get a waypoint in every layer
they cross, layers are ordered by barycentres until fewer edges no longer cross, and the x coordinates are those that
come nearest to the mean of a box's neighbours while keeping that order and the distances.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from wengert import _core, _notation

if TYPE_CHECKING:
    from wengert._listing import Entry, Line
    from wengert._tape import Call

_small, _medium = 30, 60  # boxes: above the first, module calls are folded, from the innermost until below the second
_longest = 44  # characters in a box

# Sizes in pixels. In a monospaced font a character is 0.6 em wide, so widths are known without a renderer.
_font, _char, _line, _margin = 12, 7.25, 16, 8
_gap_x, _gap_y = 18, 36
# Fill, border. Light boxes with dark text and grey edges read on a white page as on a black one.
_colours = {
    "leaf": ("#dcecfa", "#3b7fb5"),
    "constant": ("#ececec", "#8a8a8a"),
    "result": ("#ffffff", "#6b7280"),
    "top": ("#fdebc4", "#c98a15"),
    "call": ("#e9e2f8", "#7d5cc0"),
}
_ink, _red, _edge = "#1f2430", "#a8201a", "#8b93a1"


@dataclass(eq=False)
class Box:
    """A box with its lines of text; the last may be the adjoint. Laid out: its centre, and its layer."""

    kind: str
    lines: list[str]
    adjoint: str = ""
    hint: str = ""
    x: float = 0.0
    y: float = 0.0
    layer: int = 0

    @property
    def width(self) -> float:
        return max(map(len, [*self.lines, self.adjoint])) * _char + 2 * _margin

    @property
    def height(self) -> float:
        return (len(self.lines) + bool(self.adjoint)) * _line + _margin


@dataclass
class Graph:
    boxes: list[Box] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)  # operand, result


def graph(entries: Sequence[Entry], lines: Sequence[Line], calls: Sequence[Call], fold: int | None) -> Graph:
    """Boxes for entries, with the calls nested ``fold`` deep drawn as one each."""
    deepest = max((len(c.chain) for c in calls), default=0)
    depths = [0, *range(deepest, 0, -1)] if fold is None else [fold]
    for depth in depths:
        owner = _owners(entries, lines, [c for c in calls if len(c.chain) == depth])
        if len(set(owner)) <= (_small if depth == 0 else _medium):
            break
    g = Graph()
    number: dict[Any, int] = {}
    consumed = {i for e in entries for i in e.inputs}
    swept = any(e.adjoint is not None for e in entries)
    for e, key in zip(entries, owner, strict=True):
        if key not in number:
            number[key] = len(g.boxes)
            is_top = e.index not in consumed and (e.adjoint is not None or not swept)
            g.boxes.append(_box(e, is_top) if isinstance(key, int) else Box("call", []))
    for call in calls:
        if call in number:
            inside = [e for e, key in zip(entries, owner, strict=True) if key is call]
            _describe(g.boxes[number[call]], call, inside)
    edges = {(number[owner[i]], number[owner[e.index]]): None for e in entries for i in e.inputs}
    g.edges = [(a, b) for a, b in edges if a != b]
    return g


def _owners(entries: Sequence[Entry], lines: Sequence[Line], folded: list[Call]) -> list[Any]:
    """For each entry the box it is drawn in: its own, or that of a call. Parameters go with the call that uses them."""
    owner: list[Any] = [e.index for e in entries]
    users: list[list[int]] = [[] for _ in entries]
    for e in entries:
        for i in e.inputs:
            users[i].append(e.index)
    for call in folded:
        own = {_core.identity(t) for _, t in [*call.module.named_parameters(), *call.module.named_buffers()]}
        for e, line in zip(entries, lines, strict=True):
            if not e.is_input and call.begin <= line.node < call.end:
                owner[e.index] = call
        for e, line in zip(entries, lines, strict=True):
            if e.is_input and _core.identity(line.shown) in own and all(owner[u] is call for u in users[e.index]):
                owner[e.index] = call
    return owner


def _short(text: str) -> str:
    return text if len(text) <= _longest else text[: _longest - 1] + "…"


def _brief(a: Any) -> str:
    """The elements if they fit, else the norm."""
    text = _notation.array(a)
    return text if len(text) <= 30 else _notation.norm(a)


def _box(e: Entry, is_top: bool) -> Box:
    kind = ("leaf" if e.op == "input" else "constant") if e.is_input else "top" if is_top else "result"
    value = _brief(e.value)
    box = Box(kind, [_short(str(e)), _short(value if e.shape == () else f"{e.shape}  {value}")])
    if e.adjoint is not None:
        box.adjoint = f"adjoint {_brief(e.adjoint)}"
    box.hint = f"{e.index}: {e} of shape {e.shape}, {e.dtype}" + (f", in {e.path}" if e.path else "")
    return box


def _describe(box: Box, call: Call, inside: Sequence[Entry]) -> None:
    box.lines = [_short(call.path), _short(f"{call.module!r}".split("\n")[0].rstrip("("))]
    results = [e for e in inside if not e.is_input]
    if results:
        last = _box(results[-1], False)
        box.lines.append(_short(f"{results[-1].name}: {last.lines[1]}"))
        box.adjoint = last.adjoint
    box.hint = "\n".join(str(e) for e in inside)


# --- layout ------------------------------------------------------------------------------------------------------
@dataclass(eq=False)
class _Point:
    """Something in a layer: a box, or the waypoint of a long edge."""

    width: float
    box: int = -1
    x: float = 0.0
    above: list[_Point] = field(default_factory=list)
    below: list[_Point] = field(default_factory=list)
    place: int = 0


@dataclass
class Layout:
    width: float
    height: float
    lines: list[str] = field(default_factory=list)  # edges on their way
    arrows: list[str] = field(default_factory=list)  # and where they arrive


def lay_out(g: Graph) -> Layout:
    """Gives every box its place; returns the size of the picture, and the edges as SVG paths."""
    layers = _layers(g)
    _order(layers)
    _coordinates(layers)
    return _place(g, layers)


def _layers(g: Graph) -> list[list[_Point]]:
    sources: list[list[int]] = [[] for _ in g.boxes]
    targets: list[list[int]] = [[] for _ in g.boxes]
    for a, b in g.edges:
        sources[b].append(a)
        targets[a].append(b)
    done: list[int] = []
    waiting = [len(s) for s in sources]
    ready = [i for i in range(len(g.boxes)) if not waiting[i]]
    for i in ready:  # grows while we go through it: a topological order
        done.append(i)
        g.boxes[i].layer = max((g.boxes[j].layer + 1 for j in sources[i]), default=0)
        for j in targets[i]:
            waiting[j] -= 1
            if not waiting[j]:
                ready.append(j)
    for i in reversed(done):  # inputs stand just above their first use
        if not sources[i] and targets[i]:
            g.boxes[i].layer = min(g.boxes[j].layer for j in targets[i]) - 1
    layers: list[list[_Point]] = [[] for _ in range(1 + max((b.layer for b in g.boxes), default=0))]
    points = [_Point(b.width, i) for i, b in enumerate(g.boxes)]
    for p in points:
        layers[g.boxes[p.box].layer].append(p)
    trunk: dict[tuple[int, int], _Point] = {}  # the edges of one box run together until they branch off
    for a, b in g.edges:
        above = points[a]
        for layer in range(g.boxes[a].layer + 1, g.boxes[b].layer):
            if (a, layer) not in trunk:
                trunk[a, layer] = _Point(2)
                layers[layer].append(trunk[a, layer])
                _join(above, trunk[a, layer])
            above = trunk[a, layer]
        _join(above, points[b])
    return layers


def _join(above: _Point, below: _Point) -> None:
    above.below.append(below)
    below.above.append(above)


def _order(layers: list[list[_Point]], rounds: int = 12) -> None:
    def number() -> None:
        for layer in layers:
            for k, p in enumerate(layer):
                p.place = k

    number()
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for k in range(rounds):
        if not fewest:
            break
        downwards = k % 2 == 0
        for layer in layers if downwards else layers[::-1]:

            def key(p: _Point, downwards: bool = downwards) -> float:
                near = p.above if downwards else p.below
                return sum(q.place for q in near) / len(near) if near else p.place

            layer.sort(key=key)
            for place, p in enumerate(layer):
                p.place = place
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best
    number()


def _crossings(layers: list[list[_Point]]) -> int:
    total = 0
    for layer in layers:
        ends: list[int] = []
        for p in layer:
            for place in sorted(q.place for q in p.below):
                total += len(ends) - bisect_right(ends, place)
            for q in p.below:
                insort(ends, q.place)
    return total


def _coordinates(layers: list[list[_Point]], rounds: int = 40) -> None:
    for layer in layers:
        _settle(layer, [0.0] * len(layer))
    for k in range(rounds):
        downwards, one_sided = k % 2 == 0, k < rounds - 8
        for layer in layers if downwards else layers[::-1]:
            wanted = []
            for p in layer:
                near = p.above + p.below
                if one_sided:
                    near = (p.above if downwards else p.below) or near
                weights = [_pull(q, p) for q in near]
                wanted.append(sum(w * q.x for w, q in zip(weights, near, strict=True)) / sum(weights) if near else p.x)
            _settle(layer, wanted)


def _pull(q: _Point, p: _Point) -> float:
    """How much q's place matters to p: long edges want to be straight, and inputs give way to the results."""
    if q.box >= 0 and not q.above:
        return 0.05
    return 8.0 if q.box < 0 and p.box < 0 else 2.0 if q.box < 0 or p.box < 0 else 1.0


def _settle(layer: list[_Point], wanted: list[float]) -> None:
    """The places nearest to the wanted ones (least squares) in this order and without overlap.

    With the distances taken off this is isotonic regression: pool neighbours that violate the order.
    """
    pools: list[tuple[float, float, int]] = []  # mean, weight, count
    offsets = []
    at = 0.0
    for k, (p, x) in enumerate(zip(layer, wanted, strict=True)):
        if k:
            at += (layer[k - 1].width + p.width) / 2 + _gap_x
        offsets.append(at)
        mean, weight, count = x - at, 1.0 if p.above else 0.01, 1  # inputs give way
        while pools and pools[-1][0] > mean:
            m, w, n = pools.pop()
            mean, weight, count = (mean * weight + m * w) / (weight + w), weight + w, count + n
        pools.append((mean, weight, count))
    settled = [mean for mean, _, count in pools for _ in range(count)]
    for p, x, offset in zip(layer, settled, offsets, strict=True):
        p.x = x + offset


def _place(g: Graph, layers: list[list[_Point]]) -> Layout:
    left = min((p.x - p.width / 2 for layer in layers for p in layer), default=0) - _gap_x
    tops, bottoms = [], []
    y = float(_gap_x)
    for layer in layers:
        tops.append(y)
        y += max((g.boxes[p.box].height for p in layer if p.box >= 0), default=0)
        bottoms.append(y)
        widest = max((abs(p.x - q.x) for p in layer for q in p.below), default=0)
        y += _gap_y + min(widest / 10, 60)  # flat edges are hard to follow
        for p in layer:
            p.x -= left
            if p.box >= 0:
                g.boxes[p.box].x, g.boxes[p.box].y = p.x, (tops[-1] + bottoms[-1]) / 2
    height = (bottoms[-1] if bottoms else 0) + _gap_x
    width = max((p.x + p.width / 2 for layer in layers for p in layer), default=0) + _gap_x

    layout = Layout(width, height)
    for k, layer in enumerate(layers[1:]):
        for q in layer:
            above = sorted(q.above, key=lambda p: p.x)
            step = min(22.0, (q.width - 16) / len(above)) if above else 0.0
            for i, p in enumerate(above):  # edges enter a box side by side, in the order they come from
                x = q.x + (i - (len(above) - 1) / 2) * step
                begin = g.boxes[p.box].y + g.boxes[p.box].height / 2 if p.box >= 0 else bottoms[k]
                end = g.boxes[q.box].y - g.boxes[q.box].height / 2 - 6 if q.box >= 0 else bottoms[k + 1]
                top = tops[k + 1] - (6 if q.box >= 0 else 0)
                middle = (bottoms[k] + top) / 2
                path = f"M{p.x:.1f},{begin:.1f} V{bottoms[k]:.1f} "
                path += f"C{p.x:.1f},{middle:.1f} {x:.1f},{middle:.1f} {x:.1f},{top:.1f} V{end:.1f}"
                (layout.arrows if q.box >= 0 else layout.lines).append(path)
    return layout


# --- output ------------------------------------------------------------------------------------------------------
def to_svg(g: Graph) -> str:
    layout = lay_out(g)
    w, h = f"{layout.width:.0f}", f"{layout.height:.0f}"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" xml:space="preserve" '
        f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{_font}" text-anchor="middle">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0,0.5 L8,4 L0,7.5 z" fill="{_edge}"/></marker></defs>',
        f'<g fill="none" stroke="{_edge}" stroke-width="1.3">',
        *(f'<path d="{path}"/>' for path in layout.lines),
        *(f'<path d="{path}" marker-end="url(#tip)"/>' for path in layout.arrows),
        "</g>",
    ]
    for b in g.boxes:
        fill, border = _colours[b.kind]
        left, top = b.x - b.width / 2, b.y - b.height / 2
        out.append(f"<g><title>{escape(b.hint)}</title>")
        out.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{b.width:.1f}" height="{b.height:.1f}" rx="6" '
            f'fill="{fill}" stroke="{border}" stroke-width="{2 if b.kind in ("call", "top") else 1.2}"/>'
        )
        for k, line in enumerate([*b.lines, b.adjoint] if b.adjoint else b.lines):
            colour = _red if b.adjoint and k == len(b.lines) else _ink
            weight = ' font-weight="bold"' if k == 0 else ""
            y = top + _margin / 2 + (k + 0.75) * _line
            out.append(f'<text x="{b.x:.1f}" y="{y:.1f}" fill="{colour}"{weight}>{escape(line)}</text>')
        out.append("</g>")
    return "\n".join([*out, "</svg>\n"])


def to_dot(g: Graph) -> str:
    out = ["digraph tape {", '  node [shape=box, style="rounded,filled", fontname="monospace"];']
    for i, b in enumerate(g.boxes):
        fill, border = _colours[b.kind]
        text = "\n".join([*b.lines, b.adjoint] if b.adjoint else b.lines)
        label = '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
        out.append(f'  n{i} [label={label}, fillcolor="{fill}", color="{border}"];')
    out += [f"  n{a} -> n{b};" for a, b in g.edges]
    return "\n".join([*out, "}\n"])
