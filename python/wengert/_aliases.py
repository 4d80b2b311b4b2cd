"""NumPy's other spellings of array-API names."""

from wengert._elementwise import abs as absolute
from wengert._elementwise import acos as arccos
from wengert._elementwise import acosh as arccosh
from wengert._elementwise import asin as arcsin
from wengert._elementwise import asinh as arcsinh
from wengert._elementwise import atan as arctan
from wengert._elementwise import atan2 as arctan2
from wengert._elementwise import atanh as arctanh
from wengert._elementwise import divide as true_divide
from wengert._elementwise import pow as power
from wengert._elementwise import remainder as mod
from wengert._reductions import cumulative_prod as cumprod
from wengert._reductions import cumulative_sum as cumsum
from wengert._reductions import max as amax
from wengert._reductions import min as amin
from wengert._shapes import concat as concatenate

__all__ = [
    "absolute",
    "amax",
    "amin",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "concatenate",
    "cumprod",
    "cumsum",
    "mod",
    "power",
    "true_divide",
]
