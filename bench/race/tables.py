"""Tables of what was measured: printed, put into Markdown pages between comments, drawn; and the missed aims."""

import contextlib
import datetime
import importlib.metadata
import platform
import statistics
import sys
from pathlib import Path

import wengert as wg

from .timing import COMPILED, COPY, OURS, optional

COLORS = {
    OURS: "#e3a088", COMPILED: "#b8401b", "NumPy": "#4c72b0", "NumPy by hand": "#4c72b0", "PyTorch": "#dd9c52",
    "torch.compile": "#ccb974", "JAX": "#55a868", "JAX jit": "#55a868", "autograd": "#937860", "MyGrad": "#8172b3",
    "scikit-learn": "#da8bc3",
}  # fmt: skip
tables = {}  # key -> Table, in the order in which they were measured
pictures = {}  # file name -> Figure


class Table:
    """Rows of text by case. An aim is (text, whether it is met); the missed ones are said plainly."""

    def __init__(self, key, title, columns, note=""):
        self.title, self.columns, self.note, self.rows, self.missed = title, columns, note, {}, []
        tables[key] = self

    def add(self, case, cells, aims=()):
        cells = list(cells)
        if aims or len(cells) < len(self.columns):
            cells.append("; ".join(text + ("" if met else " missed") for text, met in aims) or "–")
        self.rows[case] = cells
        self.missed += [f"{self.title}: {case}: {text}" for text, met in aims if not met]

    def show(self):
        grid = [[self.title, *self.columns], *([case, *cells] for case, cells in self.rows.items())]
        widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
        print()
        for first, *rest in grid:
            print(f"{first:{widths[0]}}  " + "  ".join(f"{c:>{w}}" for c, w in zip(rest, widths[1:], strict=True)))
        if self.note:
            print(self.note)
        sys.stdout.flush()

    def markdown(self):
        lines = [f"| {self.title} | {' | '.join(self.columns)} |", "| --- |" + " ---: |" * len(self.columns)]
        lines += [f"| {case} | {' | '.join(c.replace(' missed', ' **missed**') for c in cells)} |"
                  for case, cells in self.rows.items()]  # fmt: skip
        return [*lines, "", *([self.note, ""] if self.note else [])]


def number(x, digits=3):
    """Three digits; more where they stand before the point."""
    return "–" if x is None else f"{x:,.0f}" if abs(x) >= 10**digits else f"{x:.{digits}g}"


def at_least(value, aim, what=""):
    return f"≥ {aim:g}×{what}", value >= aim


def at_most(value, aim, what=""):
    return f"≤ {aim:g}{what}", value <= aim


def race(key, title, times, unit=1e-6, aims=None, note=""):
    """A row of times for each case, then how many times faster ours is than the fastest peer."""
    names = list(dict.fromkeys(name for row in times.values() for name in row))
    table = Table(key, title, [*names, "fastest peer / ours", *(["aim"] if aims else [])], note)
    ratios = []
    for case, row in times.items():
        ours, peer = best(row)
        ratios += [peer / ours] if peer else []
        cells = [number(row[n] / unit) if n in row else "–" for n in names]
        table.add(case, [*cells, f"{peer / ours:.2f}×" if peer else "–"], (aims or {}).get(case, ()))
    if ratios:
        mean = f"Fastest peer / ours: geometric mean {statistics.geometric_mean(ratios):.3f}, least {min(ratios):.3f}."
        table.note = " ".join(filter(None, [table.note, mean]))
    table.show()


def best(row):
    """(seconds of the faster of ours, of the fastest peer or None)."""
    peers = [t for name, t in row.items() if not name.startswith(OURS) and name != COPY]
    return min(t for name, t in row.items() if name.startswith(OURS)), min(peers, default=None)


def run_description(how):
    """Machine, date and versions: what a reader has to know beside the figures."""
    versions = []
    for m in ("numpy", "torch", "jax", "autograd", "mygrad", "scikit-learn"):
        if optional("sklearn" if m == "scikit-learn" else m):
            versions.append(f"{m} {importlib.metadata.version(m)}")
    return (
        f"{machine()}, one core, {datetime.date.today()}; {how}. "
        f"{wg._core.isa()} kernels; {', '.join(versions)}; Python {platform.python_version()}."
    )


def machine():
    """The processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def write(path, heading):
    """Fills each stretch <!-- peers KEY ... --> to <!-- end --> of a Markdown page whose tables were all measured."""
    begin, close, end = "<!-- peers ", " -->\n", "<!-- end -->"
    before, *stretches = Path(path).read_text(encoding="utf-8").split(begin)
    text, filled = [before], 0
    for stretch in stretches:
        keys, rest = stretch.split(close, 1)
        text.append(begin + keys + close)
        if all(key in tables for key in keys.split()):
            lines = [line for key in keys.split() for line in tables[key].markdown()]
            rest = "\n".join(["", heading, "", *lines]) + end + rest.split(end, 1)[1]
            filled += 1
        text.append(rest)
    if not filled:
        sys.exit(f"{path}: no place for what was measured; it takes a line {begin}{' '.join(tables)}{close.rstrip()}")
    Path(path).write_text("".join(text), encoding="utf-8")


def bars(name, title, label, rows, log=False):
    """A picture: a group of bars for each case, one for each contender."""
    figure, axes = canvas(1)
    names = list(dict.fromkeys(n for row in rows.values() for n in row))
    width = 0.8 / len(names)
    for i, n in enumerate(names):
        at = [k + (i - len(names) / 2 + 0.5) * width for k, row in enumerate(rows.values()) if n in row]
        axes[0].bar(at, [row[n] for row in rows.values() if n in row], width, label=n, color=COLORS.get(n), zorder=2)
    axes[0].set_yscale("log" if log else "linear")
    axes[0].set(title=title, ylabel=label)
    axes[0].set_xticks(range(len(rows)), [case.replace(" ", "\n", 1) for case in rows], fontsize=8)
    axes[0].legend(fontsize=8, ncols=4)
    pictures[name] = figure


def canvas(count):
    """An empty figure with so many axes, one above the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2 * count), layout="constrained")
    return figure, list(figure.subplots(count, squeeze=False)[:, 0])


def missed():
    return [aim for table in tables.values() for aim in table.missed]
