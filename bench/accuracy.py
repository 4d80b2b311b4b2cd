"""How accurate the float32 elementwise functions are, over their whole domain.

    python bench/accuracy.py [--count 10000000] [--only NAME ...] [--isa avx512 avx2]

Every function of one operand, and the fused pullbacks of the activations, at random bit patterns, at numbers spread
evenly over the range where functions bend, and at the neighbours of every number where an implementation changes its
mind: zero, whole and half numbers, multiples of pi/2 however large, powers of two, roots, the ends of domain and range.
The reference is NumPy and SciPy in float64, never our own code. Prints the worst error in units in the last place
(ulp) and where it is, and fails if a limit is exceeded: 1.5 ulp for most, 4 for gelu, silu and their derivatives.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import fair  # noqa: F401  before NumPy
import numpy as np
from scipy import special

from wengert import _core

CHUNK = 1 << 18


# --- inputs ----------------------------------------------------------------------------------------------------


def landmarks() -> np.ndarray:
    """Numbers whose neighbourhoods are looked at closely."""
    whole = np.arange(-170.0, 171.0)
    turns = np.concatenate([np.arange(1, 400), np.unique(np.geomspace(400, 1e38, 4000).round())]) * (math.pi / 2)
    powers = 2.0 ** np.arange(-149, 128)
    ends = [88.7228, 89.416, 87.3365, 103.972, 103.279, 104.0, 127.0, 128.0, 126.0, 149.0, 150.0, 38.5318, 44.85, 37.93,
            9.0109, 16.6355, 18.3688, 13.1, 14.43, 10.0545, 9.4, 5.5, 5.86, 3.92, 1e3, 1e20, 3.4028235e38]  # fmt: skip
    roots = [1.2784645, 0.7517916, 1.4616321, 0.5040830, 2.4572026, 2.7476826, 1.1924, 1.4142135, 0.7071067]
    one_side = np.concatenate([turns, powers, ends, roots])
    with np.errstate(over="ignore"):
        return np.concatenate([whole, whole / 2, one_side, -one_side]).astype(np.float32)


def inputs(count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Chunks of float32: half random bits, a quarter spread evenly, a quarter neighbours of landmarks."""
    rng, marks = np.random.default_rng(seed), landmarks()
    marks = marks[np.isfinite(marks)]
    yield np.concatenate([marks, np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)])
    done = len(marks) + 5
    while done < count:
        n = min(CHUNK, count - done)
        bits = rng.integers(0, 1 << 32, n // 2, dtype=np.uint32).view(np.float32)
        width = rng.choice(np.array([1, 3, 12, 40, 110, 160], np.float32), n // 4)
        even = rng.uniform(-1, 1, n // 4).astype(np.float32) * width
        rest = n - len(bits) - len(even)
        steps = np.rint(rng.standard_normal(rest) * 10 ** rng.uniform(0, 4, rest)).astype(np.int32)
        near = (rng.choice(marks, rest).view(np.int32) + steps).view(np.float32)
        yield np.concatenate([bits, even, near])
        done += n


# --- references: float64, from NumPy and SciPy -----------------------------------------------------------------


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1 + e)


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def density(x):
    return np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def times(x, factor):
    """x times a factor that reaches 0 before x reaches -infinity."""
    return np.where(x < -1e5, -0.0, x * factor)


def tanh_softplus(x):
    """With u = exp(x): ((1+u)^2 - 1) / ((1+u)^2 + 1)."""
    u = np.exp(np.minimum(x, 40))
    return u * (u + 2) / (u * (u + 2) + 2)


def turn(x):
    """x less an even whole number, in [-1, 1]: exact."""
    return x - 2 * np.rint(x / 2)


def fold(x):
    """The number in [-1/2, 1/2] with the same sin(pi x)."""
    t = turn(x)
    return np.where(np.abs(t) > 0.5, np.copysign(1, t) - t, t)


def sinc(x):
    """sin(pi x) / (pi x), the angle reduced where that is exact."""
    return np.where(x == 0, 1.0, np.where(np.isinf(x), 0.0, np.sin(math.pi * fold(x)) / (math.pi * x)))


def celu_slope(x):
    """expm1(x) - x exp(x), near 0 by its series, and where that is a difference of infinities another way."""
    far = np.where(x > 1, (1 - x) * np.exp(x) - 1, np.expm1(x) - np.maximum(x, -800) * np.exp(x))
    return np.where(abs(x) < 1e-3, -x * x * (1 / 2 + x * (1 / 3 + x / 8)), far)


def mills(x):
    """The derivative of the logarithm of the normal distribution function."""
    return math.sqrt(2 / math.pi) / special.erfcx(-x / math.sqrt(2))


def mills2(x):
    """Its derivative; far below 0 by the series."""
    w = 1 / (x * x)
    return np.where(x < -60, -1 + w * (1 - w * (6 - w * 50)), -mills(x) * np.where(x > 1e4, 0, x + mills(x)))


def mills3(x):
    """And that one's."""
    r, w = mills(np.clip(x, -100, 1e4)), 1 / (x * x)
    k = np.clip(x, -100, 1e4) + r
    far = 2 - w * (24 - w * (300 - w * (4144 - w * (63540 - w * 1077384))))
    return np.where(x < -20, -far * w / x, r * (k * (k + r) - 1))


def bend(x):
    """The inner function of gelu's tanh approximation: tanh(z) there is 2 sigmoid(2 z) - 1."""
    return 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def slope_at_ends(x, inside):
    """The derivative of a function that is 0 far below and x far above."""
    return np.where(np.abs(x) > 1e3, (x > 0) * 1.0, inside)


@dataclass
class Case:
    """A kernel: its limit in ulp, and its reference in x."""

    reference: Callable[..., np.ndarray]
    limit: float = 1.5
    pullback_of: str | None = None


FUNCTIONS = {
    "negative": Case(np.negative, 0),
    "square": Case(np.square, 0.5),
    "reciprocal": Case(np.reciprocal, 0.5),
    "abs": Case(np.abs, 0),
    "sign": Case(np.sign, 0),
    "floor": Case(np.floor, 0),
    "ceil": Case(np.ceil, 0),
    "trunc": Case(np.trunc, 0),
    "round": Case(np.rint, 0),
    "exp": Case(np.exp),
    "exp2": Case(np.exp2),
    "expm1": Case(np.expm1),
    "log": Case(np.log),
    "log2": Case(np.log2),
    "log10": Case(np.log10),
    "log1p": Case(np.log1p),
    "sqrt": Case(np.sqrt, 0.5),
    "rsqrt": Case(lambda x: 1 / np.sqrt(x)),
    "cbrt": Case(np.cbrt),
    "sin": Case(np.sin),
    "cos": Case(np.cos, 1.6),
    "tan": Case(np.tan),
    "asin": Case(np.arcsin),
    "acos": Case(np.arccos),
    "atan": Case(np.arctan),
    "sinh": Case(np.sinh),
    "cosh": Case(np.cosh),
    "tanh": Case(np.tanh),
    "asinh": Case(np.arcsinh),
    "acosh": Case(np.arccosh),
    "atanh": Case(np.arctanh),
    "sinc": Case(sinc),
    "erf": Case(special.erf),
    "erfc": Case(special.erfc),
    "erfinv": Case(lambda x: special.erfinv(np.where(np.abs(x) > 1, np.nan, x))),  # beyond 1 SciPy is very slow
    "normal_pdf": Case(density),
    "normal_cdf": Case(special.ndtr, 3),
    "lgamma": Case(lambda x: np.where(np.isinf(x), np.inf, special.gammaln(x))),  # by C99, at -infinity too
    "digamma": Case(special.digamma),
    "sigmoid": Case(sigmoid),
    "log_sigmoid": Case(lambda x: -softplus(-x), 1.6),
    "softplus": Case(softplus),
    "relu": Case(lambda x: np.where(x <= 0, 0, x), 0),
    "selu": Case(lambda x: np.where(x > 0, 1.0507009873554805 * x, 1.7580993408473768 * np.expm1(x)), 2),
    "relu6": Case(lambda x: np.clip(x, 0, 6), 0),
    "hardtanh": Case(lambda x: np.clip(x, -1, 1), 0),
    "hardsigmoid": Case(lambda x: np.clip((x + 3) / 6, 0, 1)),
    "hardswish": Case(lambda x: np.where(x <= -3, 0, np.where(x >= 3, x, x * (x + 3) / 6)), 2),
    "softsign": Case(lambda x: np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x)))),
    "gelu": Case(lambda x: times(x, special.ndtr(x)), 4),
    "gelu_tanh": Case(lambda x: times(x, sigmoid(bend(x))), 4),
    "silu": Case(lambda x: times(x, sigmoid(x)), 4),
    "mish": Case(lambda x: times(x, tanh_softplus(x))),
    "asin_slope": Case(lambda x: 1 / np.sqrt((1 - x) * (1 + x)), 3),
    "asinh_slope": Case(lambda x: 1 / np.hypot(1, x), 3),
    "acosh_slope": Case(lambda x: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)), 4),
    "sinpi": Case(lambda x: np.sin(math.pi * fold(x))),
    "cospi": Case(lambda x: np.sin(math.pi * (0.5 - np.abs(turn(x))))),
    "gaussian": Case(lambda x: np.exp(-x * x)),
    "erfinv_slope": Case(
        lambda x: math.sqrt(math.pi) / 2 * np.exp(special.erfinv(np.where(abs(x) > 1, np.nan, x)) ** 2)
    ),
    "log_ndtr": Case(special.log_ndtr),
    "log_ndtr_slope": Case(mills),
    "log_ndtr_slope2": Case(mills2),
    "log_ndtr_slope3": Case(mills3),
    "logistic_pdf": Case(lambda x: sigmoid(x) * sigmoid(-x), 2),
    "celu_slope": Case(celu_slope),
    "gelu_tanh_gate": Case(lambda x: sigmoid(bend(x))),
    "gelu_tanh_gate_slope": Case(lambda x: sigmoid(bend(x)) * sigmoid(-bend(x))),
    "tanh_d0": Case(lambda x: 1 / np.cosh(x) ** 2, 3, pullback_of="tanh"),
    "sigmoid_d0": Case(lambda x: sigmoid(x) * sigmoid(-x), 2, pullback_of="sigmoid"),
    "softplus_d0": Case(sigmoid, pullback_of="softplus"),
    "erf_d0": Case(lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x), 3, pullback_of="erf"),
    "gelu_d0": Case(lambda x: slope_at_ends(x, special.ndtr(x) + x * density(x)), 4, pullback_of="gelu"),
    "silu_d0": Case(lambda x: slope_at_ends(x, sigmoid(x) * (1 + x * sigmoid(-x))), 4, pullback_of="silu"),
}


# --- measuring -------------------------------------------------------------------------------------------------


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The error of float32 results in units in the last place; infinite where only one of the two is NaN."""
    unit = np.ldexp(1.0, np.maximum(np.frexp(want)[1] - 1, -126) - 23)
    error = np.abs(got - want) / unit
    overflow = np.isinf(got) & (np.abs(want) >= 2.0**128 - 2.0**103) & (np.sign(got) == np.sign(want))
    right = (got == want) | (np.isnan(got) & np.isnan(want)) | overflow
    return np.where(right, 0.0, np.where(np.isnan(error), np.inf, error))


def worst(name: str, isas: list[str], count: int) -> dict[str, tuple[float, float]]:
    """By ISA: (the worst error in ulp, the input that has it). A pullback is that of a cotangent of 1."""
    case, found = FUNCTIONS[name], dict.fromkeys(isas, (0.0, math.nan))
    for x in inputs(count):
        want = case.reference(x.astype(np.float64))
        for isa in isas:
            arrays = [x]
            if case.pullback_of is not None:
                arrays += [_core.kernel_map(isa, case.pullback_of, [x]), np.ones_like(x)]
            error = ulps(_core.kernel_map(isa, name, arrays), want)
            i = int(np.argmax(error))
            found[isa] = max(found[isa], (float(error[i]), float(x[i])), key=lambda pair: pair[0])
    return found


@np.errstate(all="ignore")
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000_000, help="inputs of each function (default 10 million)")
    parser.add_argument("--only", nargs="+", choices=FUNCTIONS, default=list(FUNCTIONS), metavar="NAME")
    here = [isa for isa in _core.isas() if isa != "baseline"]
    parser.add_argument("--isa", nargs="+", default=here, help=f"kernels (here: {' '.join(here)})")
    options = parser.parse_args()
    missing = {op["name"] for op in _core.op_table if op["arity"] == 1} - set(FUNCTIONS)
    if missing:
        sys.exit(f"no reference for {', '.join(sorted(missing))}: add it to FUNCTIONS")
    failed, start = [], time.perf_counter()
    print(f"{'function':14} {'limit':>6}" + "".join(f" {isa + ', ulp':>12} {'at':>15}" for isa in options.isa))
    for name in options.only:
        limit, line = FUNCTIONS[name].limit, ""
        for isa, (error, where) in worst(name, options.isa, options.count).items():
            line += f" {error:12.3f} {f'{where:.9g}' if error else '–':>15}"
            if error > limit + 0.001:
                failed.append(f"{name} ({isa}): {error:.3g} ulp at {where!r}, limit {limit:g}")
        print(f"{name:14} {limit:6g}{line}", flush=True)
    print(f"{options.count:,} inputs of each function, {time.perf_counter() - start:.0f} s")
    for line in failed:
        print("above the limit:", line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
