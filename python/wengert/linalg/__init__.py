"""Linear algebra: values from ``numpy.linalg``, derivatives of any order in both modes from rules on tensors.

Matrices stand in the last two axes, batches before them; float32 and float64 are kept. Where a matrix has no inverse,
factor or derivative, LinAlgError says which one of a batch. The identities of the rules are those of M. Giles,
"Collected matrix derivative results for forward and reverse mode algorithmic differentiation", 2008. Factorisations
state one mode's rule; the other is its transpose (see :mod:`wengert._primitive`).
"""

from numpy.linalg import LinAlgError

from wengert._products import cross, matmul, outer, tensordot, vecdot
from wengert._shapes import matrix_transpose
from wengert.linalg.determinants import det, slogdet
from wengert.linalg.factors import cholesky, eigh, eigvalsh, qr, svd, svdvals
from wengert.linalg.least_squares import lstsq, pinv
from wengert.linalg.matrices import diagonal, trace
from wengert.linalg.norms import matrix_norm, norm, vector_norm
from wengert.linalg.solving import inv, matrix_power, solve, solve_triangular

__all__ = [
    "LinAlgError",
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_transpose",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]
