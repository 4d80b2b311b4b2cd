"""The same conditions for everybody: to be imported before NumPy and friends.

Some machines set OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE for old builds of OpenBLAS. A current one then runs kernels
for another processor and loses up to half its speed, so both leave the environment of this process and its children.
``conditions()`` says what each library runs, as far as it can be asked.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)


def conditions() -> list[str]:
    """A sentence for each BLAS and thread pool in this process, for PyTorch and for JAX, if they are imported."""
    lines = [f"{owner(pool['filepath'])}: {kernels(pool)}, {threads(pool['num_threads'])}" for pool in pools()]
    if torch := sys.modules.get("torch"):
        shown = torch.__config__.show()
        blas = re.search(r"BLAS_INFO=(\w+)", shown)
        capability = re.search(r"CPU capability usage: (\w+)", shown)
        parts = [f"BLAS {blas[1]}" if blas else "", capability[1] if capability else ""]
        lines.append(f"PyTorch: {', '.join([*filter(None, parts), threads(torch.get_num_threads())])}")
    if jax := sys.modules.get("jax"):
        flags = os.environ.get("XLA_FLAGS", "none")
        lines.append(f"JAX: backend {jax.default_backend()}, XLA flags {flags}")
    return lines


def pools() -> list[dict[str, Any]]:
    """What threadpoolctl finds; nothing where it is not installed."""
    try:
        found: list[dict[str, Any]] = importlib.import_module("threadpoolctl").threadpool_info()
    except ImportError:
        return []
    return found


def owner(path: str) -> str:
    """The package that a shared library came with, such as numpy of numpy.libs/libscipy_openblas64_.so."""
    folders = Path(path).parts
    after = folders.index("site-packages") + 1 if "site-packages" in folders else -1
    return folders[after].removesuffix(".libs") if after > 0 else Path(path).name


def kernels(pool: dict[str, Any]) -> str:
    """The library, its version, and the processor its kernels are for."""
    version = f" {pool['version']}" if pool.get("version") else ""
    return f"{pool['internal_api']}{version}" + (
        f" with {pool['architecture']} kernels" if "architecture" in pool else ""
    )


def threads(n: int) -> str:
    return f"{n} thread{'s' * (n != 1)}"
