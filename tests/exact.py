"""Elementwise functions as mathematics has them: value and every partial derivative to third order, to any precision.

A reference is a function of jets, truncated Taylor series in as many variables as the function has operands. It is
written from the definition and knows nothing of the library's formulas. ``at(name, point)`` evaluates it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import mpmath
from mpmath import mp, mpf

ORDER = 3


class Jet:
    """c[i, j, ...] is the coefficient of da^i db^j ..., all of them up to ``ORDER``."""

    def __init__(self, c: dict[tuple[int, ...], mpf]) -> None:
        self.c = c

    @property
    def value(self) -> mpf:
        return self.c[min(self.c)]

    def constant(self, x: object) -> Jet:
        return x if isinstance(x, Jet) else Jet({min(self.c): mpf(x)})

    def __add__(self, other: object) -> Jet:
        b = self.constant(other).c
        return Jet({k: self.c.get(k, 0) + b.get(k, 0) for k in {**self.c, **b}})

    def __mul__(self, other: object) -> Jet:
        c: dict[tuple[int, ...], mpf] = {}
        for (i, a), (j, b) in product(self.c.items(), self.constant(other).c.items()):
            k = tuple(map(sum, zip(i, j, strict=True)))
            if a and b and sum(k) <= ORDER:
                c[k] = c.get(k, 0) + a * b
        zero = min(self.c)
        c.setdefault(zero, mpf(0))
        return Jet(c)

    def __neg__(self) -> Jet:
        return self * -1

    def __sub__(self, other: object) -> Jet:
        return self + self.constant(other) * -1

    def __rsub__(self, other: object) -> Jet:
        return self.constant(other) - self

    def __truediv__(self, other: object) -> Jet:
        return self * power(self.constant(other), -1)

    def __rtruediv__(self, other: object) -> Jet:
        return self.constant(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def of(self, *derivatives: mpf) -> Jet:
        """f of this, from f and its derivatives at the value."""
        zero = min(self.c)
        d, total = Jet({**self.c, zero: mpf(0)}), self.constant(derivatives[-1] / math.factorial(len(derivatives) - 1))
        for k in range(len(derivatives) - 2, -1, -1):
            total = total * d + derivatives[k] / math.factorial(k)
        return total


def power(x: Jet, p: object) -> Jet:
    """x to a constant power."""
    v, p, factor, out = x.value, mpf(p), mpf(1), []
    for k in range(ORDER + 1):
        out.append(factor * v ** (p - k) if factor else mpf(0))
        factor *= p - k
    return x.of(*out)


def root(x: Jet) -> Jet:
    return power(x, mpf(1) / 2)


def e_to_the(v: mpf) -> mpf:
    """Beyond all floats no exponent of a million digits is worth its computing."""
    return mpmath.exp(min(max(v, -99999), 99999))


def exp(x: Jet) -> Jet:
    return x.of(*[e_to_the(x.value)] * (ORDER + 1))


def log(x: Jet) -> Jet:
    v = x.value
    return x.of(mpmath.log(v), 1 / v, -1 / v**2, 2 / v**3)


def sin(x: Jet, turn: int = 0) -> Jet:
    s, c = mpmath.sin(x.value), mpmath.cos(x.value)
    return x.of(*[(s, c, -s, -c)[(k + turn) % 4] for k in range(ORDER + 1)])


def tan(x: Jet) -> Jet:
    t = mpmath.tan(x.value)
    s = 1 + t * t
    return x.of(t, s, 2 * t * s, (2 + 6 * t * t) * s)


def hyperbolic(v: mpf) -> list[mpf]:
    e = e_to_the(abs(v)) / 2
    return [mpmath.sinh(v), mpmath.cosh(v)] if abs(v) < 9999 else [sign(v) * e, e]


def tanh(x: Jet) -> Jet:
    e = e_to_the(-2 * abs(x.value))
    t, s = (
        sign(x.value) * -mpmath.expm1(-2 * abs(x.value)) / (1 + e) if e > mpf(10) ** -mp.dps else mpf(sign(x.value)),
        4 * e / (1 + e) ** 2,
    )
    return x.of(t, s, -2 * t * s, s * (4 * t * t - 2 * s))


def inverse(value: Callable[[mpf], mpf], derivative: Callable[[Jet], Jet]) -> Callable[[Jet], Jet]:
    """f from its value and its derivative as a function of jets."""

    def f(x: Jet) -> Jet:
        d = derivative(Jet({(0,): x.value, (1,): mpf(1)})).c
        return x.of(value(x.value), *[d.get((k,), mpf(0)) * math.factorial(k) for k in range(ORDER)])

    return f


def linear(x: Jet, slope: object, value: object) -> Jet:
    return x.of(mpf(value), mpf(slope), mpf(0), mpf(0))


def rounded(f: Callable[[mpf], mpf]) -> Callable[[Jet], Jet]:
    return lambda x: linear(x, 0, f(x.value))


def sign(x: mpf) -> int:
    return (x > 0) - (x < 0)


def sinpi(x: Jet, turn: int = 0) -> Jet:
    s, c = mpmath.sinpi(x.value), mpmath.cospi(x.value)
    return x.of(*[(s, c, -s, -c)[(k + turn) % 4] * mpmath.pi**k for k in range(ORDER + 1)])


def sinc(x: Jet) -> Jet:
    z = mpmath.pi * x.value
    if abs(z) > 1e-3:
        return sinpi(x) / (mpmath.pi * x)
    terms = [(-1) ** k * mpmath.pi ** (2 * k) / mpmath.factorial(2 * k + 1) for k in range(30)]
    return sum((t * power(x, 2 * k) for k, t in enumerate(terms[1:], 1)), x * 0 + 1)


def sigmoid(x: Jet) -> Jet:
    e = e_to_the(-abs(x.value))
    small, large = e / (1 + e), 1 / (1 + e)
    s, other = (large, small) if x.value > 0 else (small, large)
    d = s * other
    t = tanh(Jet({(0,): x.value / 2})).value
    return x.of(s, d, -d * t, d * (t * t - 2 * d))


def logistic_pdf(x: Jet) -> Jet:
    """p' = -p t with t = tanh(x / 2) and t' = 2 p."""
    p = sigmoid(Jet({(0,): x.value, (1,): mpf(1)})).c[(1,)]
    t = tanh(Jet({(0,): x.value / 2})).value
    return x.of(p, -p * t, p * (t * t - 2 * p), p * t * (8 * p - t * t))


def softplus(x: Jet) -> Jet:
    s, d, half = (sigmoid(Jet({(0,): x.value, (1,): mpf(1)})).c.get((k,), mpf(0)) for k in range(3))
    value = max(x.value, 0) + mpmath.log1p(e_to_the(-abs(x.value)))
    return x.of(value, s, d, 2 * half)


def pdf(x: mpf) -> mpf:
    return e_to_the(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)


def cdf(x: mpf) -> mpf:
    if x < -400:
        return pdf(x)  # beyond all floats
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2 if x < 400 else mpf(1)


def gaussian(x: Jet) -> Jet:
    v, e = x.value, e_to_the(-x.value * x.value)
    return x.of(e, -2 * v * e, (4 * v * v - 2) * e, (12 * v - 8 * v**3) * e)


def normal_pdf(x: Jet) -> Jet:
    v, p = x.value, pdf(x.value)
    return x.of(p, -v * p, (v * v - 1) * p, (3 * v - v**3) * p)


def normal_cdf(x: Jet) -> Jet:
    v, p = x.value, pdf(x.value)
    return x.of(cdf(v), p, -v * p, (v * v - 1) * p)


def log_ndtr(x: Jet, order: int = 0) -> Jet:
    """Its derivative of this order. With r = pdf/cdf, log_ndtr' = r and r' = -r (x + r)."""
    v = x.value
    if v < -1e20:
        d = [-v * v / 2, -v, mpf(-1), *[math.factorial(k - 1) * mpf(-v) ** -k for k in range(3, 8)]]
        return x.of(*d[order : order + ORDER + 1])
    if v < -60:  # 1/r = 1/u - 1/u^3 + 3/u^5 - ..., u = -x
        u = 1 / mpf(-v)
        inverse_r = mpmath.fsum((-1) ** k * mpmath.fac2(2 * k - 1) * u ** (2 * k + 1) for k in range(45))
        r = 1 / inverse_r
        value = mpmath.log(inverse_r / mpmath.sqrt(2 * mpmath.pi)) - v * v / 2
    else:
        r = pdf(v) / cdf(v)
        value = mpmath.log(cdf(v)) if v < 0 else mpmath.log1p(-cdf(-v))
    d = [value, r]  # by Leibniz' rule for r (x + r)
    for n in range(order + ORDER - 1):
        k = [v + r, 1 + d[2] if n > 0 else 0, *d[3:]]
        d.append(-mpmath.fsum(mpmath.binomial(n, i) * d[1 + i] * k[n - i] for i in range(n + 1)))
    return x.of(*d[order : order + ORDER + 1])


def psi(n: int, x: mpf) -> mpf:
    """By reflection below 0: (-1)^n psi(n, 1 - x) less the n-th derivative of pi cot(pi x)."""
    if x > 0:
        return mpmath.psi(n, x)
    c, p = mpmath.cospi(x) / mpmath.sinpi(x), [mpf(0), mpf(1)]  # a polynomial in the cotangent c, for c' = -(1 + c^2)
    for _ in range(n):
        d = [k * a for k, a in enumerate(p)][1:]
        p = [-(u + v) for u, v in zip([*d, 0, 0], [0, 0, *d], strict=True)]
    return (-1) ** n * mpmath.psi(n, 1 - x) - mpmath.pi ** (n + 1) * sum(a * c**k for k, a in enumerate(p))


def polygamma(n: int, x: Jet) -> Jet:
    return x.of(*[psi(n + k, x.value) for k in range(ORDER + 1)])


def lgamma(x: Jet) -> Jet:
    v = x.value
    value = mpmath.loggamma(v) if v > 0 else mpmath.log(abs(mpmath.pi / (v * mpmath.sinpi(v)))) - mpmath.loggamma(-v)
    return x.of(value, *[psi(k, v) for k in range(ORDER)])


def erfinv(x: Jet) -> Jet:
    v = x.value
    if abs(v) >= 1:
        raise ValueError("outside")
    if abs(v) < 1e-8:
        y = mpmath.sqrt(mpmath.pi) / 2 * (v + mpmath.pi / 12 * v**3 + 7 * mpmath.pi**2 / 480 * v**5)
    else:
        y = mpf(sign(v)) * _erfinv(abs(v))
    d = mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(y * y)
    return x.of(y, d, 2 * y * d * d, 2 * d**3 * (1 + 4 * y * y))


def erfinv_slope(x: Jet) -> Jet:
    y = erfinv(Jet({(0,): x.value})).value
    d = mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(y * y)
    return x.of(d, 2 * y * d**2, 2 * d**3 * (1 + 4 * y * y), d**4 * y * (28 + 48 * y * y))


def _erfinv(v: mpf) -> mpf:
    """By Newton's method on the tail: 1 - v is exact."""
    y = mpmath.sqrt(-mpmath.log((1 - v) * (1 + v))) if v > 0.5 else v
    for _ in range(100):
        e = mpmath.erfc(y) - (1 - v)
        step = e * mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(y * y)
        step /= 1 - step * y  # Halley's
        y += step
        if abs(step) < abs(y) * mpf(10) ** (-mp.dps // 2):
            break
    return y


def hypot(a: Jet, b: Jet) -> Jet:
    return root(a * a + b * b)


def atan2(a: Jet, b: Jet) -> Jet:
    quarter = inverse(mpmath.atan, lambda t: 1 / (1 + t * t))
    angle = mpmath.atan2(a.value, b.value)
    part = quarter(a / b) if abs(b.value) >= abs(a.value) else -quarter(b / a)
    return part - part.value + angle


def gelu_tanh_gate(x: Jet, of: Callable[[Jet], Jet] = sigmoid) -> Jet:
    return of(mpmath.sqrt(8 / mpmath.pi) * (x + mpf(44715) / 10**6 * x * x * x))


def piecewise(*pieces: tuple[float, Callable[[Jet], Jet]]) -> Callable[[Jet], Jet]:
    """The first piece whose bound lies above."""
    return lambda x: next(f(x) for bound, f in pieces if x.value < bound) * 1


def flat(c: float) -> Callable[[Jet], Jet]:
    return lambda x: x * 0 + c


def mish(x: Jet) -> Jet:
    if x.value < 0:
        w = exp(x * 2) + 2 * exp(x)
        return x * (w / (w + 2))
    e = exp(-x)
    return x - x * (2 * e * e / (1 + 2 * e + 2 * e * e))


SELU, ALPHA = 10507009873554804934193349852946, 17580993408473768599402175208123  # over 10^31
inf = math.inf


def expm1(x: Jet) -> Jet:
    e = e_to_the(x.value)
    return x.of(mpmath.expm1(x.value) if abs(x.value) < 9999 else e - 1, e, e, e)


def celu_slope(x: Jet) -> Jet:
    v, e = x.value, e_to_the(x.value)
    with mpmath.workdps(mp.dps + 30 + int(-2 * min(mpmath.log10(abs(v)), 0) if v else 0)):
        value = expm1(x).value - v * e_to_the(v)
    return x.of(value, -v * e, -(1 + v) * e, -(2 + v) * e)


def identity(x: Jet) -> Jet:
    return x


def larger(a: Jet, b: Jet) -> Jet:
    return (a if a.value > b.value else b) * 1


def smaller(a: Jet, b: Jet) -> Jet:
    return (a if a.value < b.value else b) * 1


def logaddexp(a: Jet, b: Jet) -> Jet:
    return a + softplus(b - a) if a.value >= b.value else b + softplus(a - b)


FUNCTIONS: dict[str, Callable[..., Jet]] = {
    "negative": lambda x: -x,
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "pow": lambda a, b: exp(b * log(a)),
    "power_less": lambda a, b, c: exp((b - c) * log(a)),
    "floor_divide": lambda a, b: (a + b) * 0 + mpmath.floor(a.value / b.value),
    "remainder": lambda a, b: a - mpmath.floor(a.value / b.value) * b,
    "abs": lambda x: x * sign(x.value),
    "sign": rounded(sign),
    "copysign": lambda a, b: a * (sign(a.value) * sign(b.value)) + b * 0,
    "floor": rounded(mpmath.floor),
    "ceil": rounded(mpmath.ceil),
    "trunc": rounded(lambda x: sign(x) * mpmath.floor(abs(x))),
    "round": rounded(mpmath.nint),
    "maximum": larger,
    "minimum": smaller,
    "where": lambda a, b, c: (b if a.value else c) * 1,
    "unless_undefined": lambda a, b, c: b * 1,
    "clip": lambda a, b, c: (b if a.value < b.value else c if a.value > c.value else a) * 1,
    "exp": exp,
    "exp2": lambda x: exp(x * mpmath.log(2)),
    "expm1": expm1,
    "log": log,
    "log2": lambda x: log(x) / mpmath.log(2),
    "log10": lambda x: log(x) / mpmath.log(10),
    "log1p": inverse(mpmath.log1p, lambda x: 1 / (1 + x)),
    "logaddexp": logaddexp,
    "share": lambda a, b: sigmoid(a - b),
    "share_slope": lambda a, b: logistic_pdf(a - b),
    "xlogy": lambda a, b: a * log(b),
    "sqrt": root,
    "rsqrt": lambda x: power(x, mpf(-1) / 2),
    "cbrt": lambda x: power(x * sign(x.value), mpf(1) / 3) * sign(x.value),
    "hypot": hypot,
    "direction": lambda a, b: a / hypot(a, b),
    "sin": sin,
    "cos": lambda x: sin(x, 1),
    "tan": tan,
    "asin": inverse(mpmath.asin, lambda x: 1 / root((1 - x) * (1 + x))),
    "acos": inverse(mpmath.acos, lambda x: -1 / root((1 - x) * (1 + x))),
    "atan": inverse(mpmath.atan, lambda x: 1 / (1 + x * x)),
    "atan2": atan2,
    "sinh": lambda x: x.of(*hyperbolic(x.value) * 2),
    "cosh": lambda x: x.of(*hyperbolic(x.value)[::-1] * 2),
    "tanh": tanh,
    "asin_slope": lambda x: 1 / root((1 - x) * (1 + x)),
    "asinh_slope": lambda x: 1 / root(1 + x * x),
    "acosh_slope": lambda x: 1 / root((x - 1) * (x + 1)),
    "asinh": inverse(mpmath.asinh, lambda x: 1 / root(1 + x * x)),
    "acosh": inverse(mpmath.acosh, lambda x: 1 / root((x - 1) * (x + 1))),
    "atanh": inverse(mpmath.atanh, lambda x: 1 / ((1 - x) * (1 + x))),
    "sinc": sinc,
    "sinpi": sinpi,
    "cospi": lambda x: sinpi(x, 1),
    "gaussian": gaussian,
    "erf": inverse(
        lambda v: mpf(sign(v)) if abs(v) > 400 else mpmath.erf(v), lambda x: 2 / mpmath.sqrt(mpmath.pi) * gaussian(x)
    ),
    "erfc": inverse(lambda v: 2 * cdf(-v * mpmath.sqrt(2)), lambda x: -2 / mpmath.sqrt(mpmath.pi) * gaussian(x)),
    "erfinv": erfinv,
    "normal_pdf": normal_pdf,
    "normal_cdf": normal_cdf,
    "log_ndtr": log_ndtr,
    "log_ndtr_slope": lambda x: log_ndtr(x, 1),
    "log_ndtr_slope2": lambda x: log_ndtr(x, 2),
    "log_ndtr_slope3": lambda x: log_ndtr(x, 3),
    "lgamma": lgamma,
    "digamma": lambda x: polygamma(0, x),
    "polygamma": lambda n, x: polygamma(int(n.value), x) + n * 0,
    "erfinv_slope": erfinv_slope,
    "sigmoid": sigmoid,
    "logistic_pdf": logistic_pdf,
    "log_sigmoid": lambda x: -softplus(-x),
    "softplus": softplus,
    "relu": piecewise((0, flat(0)), (inf, identity)),
    "leaky_relu": lambda a, b: a + b * 0 if a.value > 0 else a * b,
    "elu": lambda a, b: a + b * 0 if a.value > 0 else b * expm1(a),
    "exp_quotient": lambda a, b: exp(a / b),
    "celu_slope": celu_slope,
    "celu": lambda a, b: a + b * 0 if a.value > 0 else b * expm1(a / b),
    "selu": piecewise((0, lambda x: ALPHA * expm1(x) / 10**31), (inf, lambda x: SELU * x / 10**31)),
    "relu6": piecewise((0, flat(0)), (6, identity), (inf, flat(6))),
    "hardtanh": piecewise((-1, flat(-1)), (1, identity), (inf, flat(1))),
    "hardsigmoid": piecewise((-3, flat(0)), (3, lambda x: (x + 3) / 6), (inf, flat(1))),
    "hardswish": piecewise((-3, flat(0)), (3, lambda x: x * (x + 3) / 6), (inf, identity)),
    "softsign": lambda x: x / (1 + x * sign(x.value)),
    "gelu": lambda x: x * normal_cdf(x),
    "gelu_tanh": lambda x: x * gelu_tanh_gate(x),
    "gelu_tanh_gate": gelu_tanh_gate,
    "gelu_tanh_gate_slope": lambda x: gelu_tanh_gate(x, logistic_pdf),
    "silu": lambda x: x * sigmoid(x),
    "mish": mish,
}


def at(name: str, point: Sequence[float]) -> dict[tuple[int, ...], mpf]:
    """Every partial derivative of order 0 to 3: by the number of times each operand is differentiated by."""
    n = len(point)
    unit = [tuple(int(i == k) for i in range(n)) for k in range(n)]
    jets = [Jet({(0,) * n: mpf(float(v)), u: mpf(1)}) for v, u in zip(point, unit, strict=True)]
    c = FUNCTIONS[name](*jets).c
    orders = [k for k in product(range(ORDER + 1), repeat=n) if sum(k) <= ORDER]
    return {k: c.get(k, mpf(0)) * math.prod(map(math.factorial, k)) for k in orders}
