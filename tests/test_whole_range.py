"""Elementwise functions over the whole range of their arguments: values and derivatives of order 1 to 3 are exact.

Every op of the page of derivatives is held against its reference in exact.py (an op without one fails) at arguments
spread over all magnitudes, from the least denormal to the greatest number, with both signs, and at the neighbours of
every pole, kink and branch point. The error is relative: 4 ulp for values and first derivatives (8 for gelu, silu and
mish), 64 for the second and third. A result too small for a normal number is judged by the unit of the denormals, one
too large must be infinite. With several operands, formulas multiply what can be far apart: there derivatives are
judged where none of them overflows and what they are the derivatives of is not denormal.

Where a derivative changes its sign, terms cancel, and no formula that knows its argument to one rounding keeps
relative digits. So where there is a change of sign within a quarter of an operand on either side, or an eighth, a 16th,
a 64th, a 1024th, the unit is that of the smaller of the two values at that distance: an error that is small against the
function's size around there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

import wengert as wg
from wengert import _core

mpmath = pytest.importorskip("mpmath")
exact = pytest.importorskip("exact")

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

TABLE = {op["name"]: op for op in _core.op_table}
DIFFERENTIABLE = [name for name, op in TABLE.items() if op["differentiable"]]
DTYPES = [np.float32, np.float64]
Order = tuple[int, ...]
# A product of x and a factor with its own error, sums by reflection, a sum of opposite signs.
WIDE = {"gelu", "gelu_tanh", "silu", "mish", "lgamma", "digamma", "polygamma", "logaddexp"}
# An op that is there to be the derivative of another counts from that order on.
LEVEL = {
    **{name: 1 for name in TABLE if name.endswith("_slope")}, "log_ndtr_slope2": 2, "log_ndtr_slope3": 3,
    "share": 1, "share_slope": 2, "direction": 1, "logistic_pdf": 1,
}  # fmt: skip
# Derivatives that are this factor times a polynomial: of second and third order they have no digits that it has not.
FACTORS = {
    **dict.fromkeys(["erf", "erfc", "gaussian"], "gaussian"), **dict.fromkeys(["sigmoid", "silu"], "logistic_pdf"),
    **dict.fromkeys(["normal_pdf", "normal_cdf", "gelu"], "normal_pdf"),
}  # fmt: skip
OSCILLATING = {"sin", "cos", "tan", "sinc", "sinpi", "cospi", "lgamma", "digamma", "polygamma"}

# Where a function has poles, kinks, branch points, or where its derivatives vanish.
MARKS = {
    "log": [1], "log2": [1], "log10": [1], "log1p": [-1], "asin": [-1, 1], "acos": [-1, 1], "atan": [-1, 1],
    "acosh": [1], "atanh": [-1, 1], "asin_slope": [-1, 1],
    "acosh_slope": [1], "tanh": [-9.01, 9.01, 19.06], "erf": [-3.92, 3.92, 5.86], "erfinv": [-1, 1],
    "tan": list(np.arange(-8, 9) * np.pi / 2), "sin": list(np.arange(-8, 9) * np.pi / 2),
    "cos": list(np.arange(-8, 9) * np.pi / 2), "sinc": [*list(np.arange(-8, 9) / 2), -0.3, 0.3],
    "lgamma": [*list(np.arange(-12, 13) / 2), -170, 171], "digamma": [*list(np.arange(-12, 13) / 2), -16.5, 1.4616321],
    "relu6": [6], "hardtanh": [-1, 1], "hardsigmoid": [-3, 3], "hardswish": [-3, 3, -1.5], "softsign": [1e20, -1e20],
    "gelu": [-0.7517916, -5.477, -5.94, 1e3, -1e3], "silu": [-1.2784645, -17.44, 1e3, -1e3],
    "gelu_tanh": [-0.75246, -5.1, -5.477, 1e3, -1e3], "mish": [-1.1924, -20, 1e3, -1e3],
}  # fmt: skip
KINKS = {  # where the table of subgradients decides
    "abs": [0], "sign": [0], "relu": [0], "relu6": [0, 6], "hardtanh": [-1, 1], "hardsigmoid": [-3, 3],
    "hardswish": [-3, 3], "softsign": [0], "selu": [0],
}  # fmt: skip


def neighbours(points: np.ndarray, dtype: type) -> np.ndarray:
    """Points with those 1 and 2 units in the last place away, and those at 2^-k of them."""
    points = np.asarray(points, dtype)
    near = [points]
    for to in (-np.inf, np.inf):
        x = points
        for _ in range(2):
            x = np.nextafter(x, dtype(to))
            near.append(x)
    near += [points * dtype(1 + s * 2.0**-k) for k in range(3, np.finfo(dtype).nmant, 9) for s in (-1, 1)]
    return np.concatenate(near)


def magnitudes(dtype: type, n: int) -> np.ndarray:
    """n of them, and the extreme ones."""
    info = np.finfo(dtype)
    exponents = np.linspace(info.minexp - info.nmant, info.maxexp - 1, n)
    x = 2.0 ** exponents.astype(np.longdouble) * np.linspace(1, 1.9, 7)[np.arange(n) % 7]
    return np.concatenate([x.astype(dtype), [info.smallest_subnormal, info.tiny, info.max]]).astype(dtype)


def one_operand(name: str, dtype: type) -> np.ndarray:
    rng = np.random.default_rng(11)
    width = np.array([1, 4, 20, 110, 750])[np.arange(80) % 5]
    bend = np.concatenate([rng.uniform(-1, 1, 80) * width, rng.normal(size=20)])
    x = magnitudes(dtype, 40)
    marks = neighbours(np.array([*MARKS.get(name, []), *KINKS.get(name, []), -1, 1]), dtype)
    x = np.concatenate([x, -x, bend.astype(dtype), marks, [0]]).astype(dtype)
    return np.unique(x[np.isfinite(x) & ~np.isin(x, KINKS.get(name, []))])


def within_hypot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The length is finite and not 0, and the directions are not denormal."""
    small, large = np.minimum(abs(a), abs(b)), np.maximum(abs(a), abs(b))
    return (large > 0) & np.isfinite(np.hypot(a, b)) & ((small == 0) | (small / large >= np.finfo(a.dtype).tiny))


INSIDE: dict[str, Callable[..., np.ndarray]] = {  # where the function is defined and differentiable
    **dict.fromkeys(["log", "log2", "log10", "sqrt", "rsqrt"], lambda x: x > 0),
    **dict.fromkeys(["asin", "acos", "atanh", "asin_slope", "erfinv", "erfinv_slope"], lambda x: abs(x) < 1),
    **dict.fromkeys(["lgamma", "digamma"], lambda x: (x > 0) | (x != np.round(x))),
    **dict.fromkeys(["floor", "ceil", "trunc"], lambda x: x != np.round(x)),
    **dict.fromkeys(["reciprocal", "cbrt"], lambda x: x != 0),
    **dict.fromkeys(["acosh", "acosh_slope"], lambda x: x > 1),
    "log1p": lambda x: x > -1,
    "round": lambda x: abs(x - np.trunc(x)) != 0.5,
    "divide": lambda a, b: b != 0,
    "pow": lambda a, b: (a > 0) & ((abs(b) > 1e-9) | (b == 0)),
    "power_less": lambda a, b, c: a > 0,
    "xlogy": lambda a, b: b > 0,
    "floor_divide": lambda a, b: (b != 0) & (abs(a / b) < 2.0**20) & (abs(a / b - np.round(a / b)) > 1e-3),
    "remainder": lambda a, b: (b != 0) & (abs(a / b) < 2.0**20) & (abs(a / b - np.round(a / b)) > 1e-3),
    "copysign": lambda a, b: (a != 0) & (b != 0),
    **dict.fromkeys(["maximum", "minimum"], lambda a, b: a != b),
    **dict.fromkeys(["hypot", "direction"], lambda a, b: within_hypot(a, b)),
    "atan2": lambda a, b: within_hypot(a, b) & ~((a == 0) & (b < 0)),
    "leaky_relu": lambda a, b: a != 0,
    "elu": lambda a, b: (a != 0) & ((a > 0) | (np.exp(a) == 0) | (np.exp(a) >= np.finfo(a.dtype).tiny)),
    **dict.fromkeys(["celu", "exp_quotient"], lambda a, b: (a != 0) & (b > 0) & (abs(a / b) >= np.finfo(a.dtype).tiny)),
    "clip": lambda a, b, c: (b < c) & (a != b) & (a != c),
}  # fmt: skip


def several_operands(name: str, dtype: type) -> list[np.ndarray]:
    """Every combination of few magnitudes, near one another, and ordinary ones."""
    rng = np.random.default_rng(5)
    n = TABLE[name]["arity"]
    some = magnitudes(dtype, 7)
    some = np.concatenate([some, -some, np.array([0, 0.3, 1, -1, 3], dtype)])
    if n == 3:
        some = some[::3]
    crossed = [np.array(c) for c in zip(*itertools.product(some, repeat=n), strict=True)]
    a = rng.normal(size=(n, 60)) * 10.0 ** rng.integers(-6, 7, size=(n, 60))
    a[1:, 30:] = a[0, 30:] * (1 + 2.0 ** -rng.integers(1, 60, size=30))
    operands = [np.concatenate([c, r]).astype(dtype) for c, r in zip(crossed, a, strict=True)]
    if name == "polygamma":
        x = one_operand("digamma", dtype)[::3]
        x = x[((x > 0) | (x != np.round(x))) & (abs(x) < 1e30)]
        operands = [np.repeat(np.array([1, 7], dtype), len(x)), np.tile(x, 2)]
    if name == "power_less":  # made for derivatives of pow
        operands[2] = np.resize(np.array([0, 1, 2, 3], dtype), len(operands[0]))
    if name == "pow":  # results that neither overflow nor vanish, and whole exponents
        base = np.repeat(some[some > 0], 12)
        power = rng.uniform(-1, 1, len(base)) * np.finfo(dtype).maxexp * 0.69 / np.maximum(abs(np.log(base)), 1e-30)
        power[::3] = rng.integers(-4, 5, len(power[::3]))
        operands = [np.concatenate([operands[0], base]), np.concatenate([operands[1], power.astype(dtype)])]
    return operands


def points(name: str, dtype: type) -> list[np.ndarray]:
    operands = [one_operand(name, dtype)] if TABLE[name]["arity"] == 1 else several_operands(name, dtype)
    inside = INSIDE.get(name, lambda *x: np.ones(len(x[0]), bool))(*operands)
    finite = np.logical_and.reduce([np.isfinite(x) for x in operands])
    return [x[inside & finite] for x in operands]


# Cheap to compute, and their references cancel the most.
RATIONAL = {
    "asin", "acos", "asin_slope", "atanh", "celu", "hypot", "direction", "atan2", "divide", "softsign",
}  # fmt: skip


@cache
def reference(name: str, point: tuple[float, ...]) -> dict[tuple[int, ...], mpmath.mpf]:
    with mpmath.workdps(700 if name in RATIONAL else 200 if "ndtr" in name else 60):
        return exact.at(name, point)


def derivatives(name: str, orders: list[tuple[int, ...]]) -> Callable[..., list[wg.Tensor]]:
    """The partial derivatives of these orders, each by reverse mode as often as its order says."""

    def partial(order: tuple[int, ...]) -> Callable[..., wg.Tensor]:
        f = getattr(_core, name)
        for k, times in enumerate(order):
            for _ in range(times):
                f = wg.grad(lambda *x, f=f: f(*x).sum(), k)
        return f

    return lambda *x: [partial(order)(*x) for order in orders]


class Judge:
    def __init__(self, name: str, dtype: type) -> None:
        info = np.finfo(dtype)
        self.name, self.dtype = name, dtype
        self.least, self.bits = int(info.minexp), int(info.nmant)
        self.largest = mpmath.mpf(float(info.max)) * (1 + mpmath.mpf(2) ** -(self.bits + 2))

    def unit(self, size: mpmath.mpf) -> mpmath.mpf:
        exponent = mpmath.frexp(size)[1] - 1 if size else self.least
        return mpmath.mpf(2) ** (max(exponent, self.least) - self.bits)

    def judges(self, point: tuple[float, ...], order: tuple[int, ...]) -> bool:
        """Of several operands: no derivative up to the third overflows, none of lower order is denormal."""
        normal = mpmath.mpf(2) ** self.least
        if self.name in FACTORS and sum(order) > 1:
            return abs(reference(FACTORS[self.name], point)[(0,)]) >= normal
        if len(point) == 1 or sum(order) == 0:
            return True
        all_orders = reference(self.name, point)
        lower = [v for k, v in all_orders.items() if sum(k) < sum(order) and v]
        return all(abs(v) >= normal for v in lower) and all(abs(v) <= self.largest for v in all_orders.values())

    def scale(self, point: tuple[float, ...], order: tuple[int, ...], want: mpmath.mpf) -> mpmath.mpf:
        """The size that errors are measured against."""
        size = abs(want)
        if self.name == "lgamma" and order == (0,) and point[0] < 0:
            size = max(size, mpmath.mpf(1))  # a sum of logarithms, and zeros on both sides of every pole
        for k, part in itertools.product(range(len(point)), (4, 8, 16, 64, 1024)):
            around = []
            for s in (-1, 1):
                moved = [mpmath.mpf(float(v)) for v in point]
                moved[k] += s * (min(abs(moved[k]), 1) if self.name in OSCILLATING else abs(moved[k])) / part
                try:
                    around.append(reference(self.name, tuple(moved))[order])
                except (ValueError, TypeError, ZeroDivisionError, OverflowError):
                    break
            real = all(mpmath.isfinite(v) and not isinstance(v, mpmath.mpc) for v in around)
            if len(around) == 2 and real and around[0] * around[1] < 0:
                size = max(size, min(map(abs, around)))
        return size

    def error(self, point: tuple[float, ...], order: tuple[int, ...], got: float, limit: float) -> float:
        """In units in the last place; 0 if right."""
        want = reference(self.name, point)[order]
        if not mpmath.isfinite(want):
            return 0.0 if got == want else np.inf
        if np.isnan(got):
            return np.inf
        if np.isinf(got):
            return (
                0.0
                if abs(want) > self.largest * (1 - limit * mpmath.mpf(2) ** -self.bits) and want * got > 0
                else np.inf
            )
        difference = abs(mpmath.mpf(float(got)) - want)
        if abs(want) > self.largest and difference > limit * self.unit(want):
            return np.inf
        error = difference / self.unit(abs(want))
        if error > limit:
            error = difference / self.unit(self.scale(point, order, want))
        return float(error)


def limit_of(name: str, order: Order) -> float:
    """In ulp."""
    return 64 if sum(order) + LEVEL.get(name, 0) > 1 else 8 if name in WIDE else 4


def judged(name: str) -> list[Order]:
    """The orders of the derivatives that are held against the reference."""
    orders = [k for k in itertools.product(range(4), repeat=TABLE[name]["arity"]) if sum(k) + LEVEL.get(name, 0) <= 3]
    return [k for k in orders if name != "polygamma" or k[0] == 0]


def wrong(
    name: str, operands: list[np.ndarray], order: tuple[int, ...], got: np.ndarray, slack: float = 0
) -> list[str]:
    """What there is to complain about."""
    judge, limit, lines = Judge(name, got.dtype.type), limit_of(name, order) + slack, []
    for i, point in enumerate(zip(*(x.tolist() for x in operands), strict=True)):
        if not judge.judges(point, order):
            continue
        error = judge.error(point, order, got[i], limit)
        if not error <= limit:
            want = mpmath.nstr(reference(name, point)[order], 12)
            lines.append(f"{name}{point} {order}: {got[i]!r}, exactly {want}: {error:.3g} ulp")
    return lines


def forward(name: str, x: wg.Tensor) -> list[wg.Tensor]:
    """The derivatives of a function of one operand by forward mode."""
    f, results = getattr(_core, name), []
    for _ in judged(name):
        results.append(f(x))
        f = lambda x, f=f: wg.jvp(f, (x,), (np.ones(x.shape, x.dtype),))[1]  # noqa: E731
    return results


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives_over_the_whole_range(name: str, dtype: type) -> None:
    assert name in exact.FUNCTIONS, f"{name} has no reference: add one to tests/exact.py"
    reference.cache_clear()
    operands, orders, lines = points(name, dtype), judged(name), []
    n, tensors, f = len(operands), list(map(wg.tensor, operands)), derivatives(name, orders)
    results = [r.numpy() for r in f(*tensors)]
    for order, got, compiled in zip(orders, results, wg.compile(f)(*tensors), strict=True):
        lines += wrong(name, operands, order, got)
        if got.tobytes() != compiled.numpy().tobytes():
            lines.append(f"{name} {order}: compiled it has other bits")
    if n == 1:
        for order, got in zip(orders, forward(name, tensors[0]), strict=True):
            lines += [f"forward mode: {line}" for line in wrong(name, operands, order, got.numpy())]
    for isa in _core.isas():
        slack, y = 2 * (isa == "baseline"), _core.kernel_map(isa, name, operands)
        kernels = {(0,) * n: y}
        for k, order in enumerate(tuple(int(i == k) for i in range(n)) for k in range(n)):
            if order in orders:
                kernels[order] = _core.kernel_map(isa, f"{name}_d{k}", [*operands, y, np.ones_like(y)])
        for order, got in kernels.items():
            lines += [f"{isa}: {line}" for line in wrong(name, operands, order, got, slack)]
    assert not lines, f"{len(lines)} wrong:\n" + "\n".join(lines[:40])
