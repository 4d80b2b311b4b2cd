"""What the package costs before it computes anything: import time, threads, size, and the choice of kernels at load."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import wengert
from wengert import _core

PACKAGE = Path(wengert.__file__).parent
OPTIONAL = ("sklearn", "scipy", "matplotlib", "tqdm", "safetensors", "onnx", "pandas", "torch", "jax")


def python(code, **environment):
    """Runs code in a fresh interpreter that finds the package where this one does."""
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)


def test_import_adds_at_most_25_ms_to_numpy():
    code = """
import time, numpy
start = time.perf_counter()
import wengert
print(time.perf_counter() - start)
"""
    best = min(float(python(code).stdout) for _ in range(7))
    assert best <= 0.025, f"import wengert took {best * 1e3:.1f} ms on top of NumPy"


def test_import_starts_no_thread_and_loads_no_optional_package():
    code = f"""
import json, os, sys, numpy
threads = lambda: len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
before = threads()
import wengert
print(json.dumps([threads() - before, [m for m in {OPTIONAL} if m in sys.modules]]))
"""
    assert json.loads(python(code).stdout) == [0, []]


def test_package_is_at_most_2_mb_compressed():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in PACKAGE.rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                wheel.write(path, path.relative_to(PACKAGE))
    assert len(buffer.getvalue()) <= 2_000_000


@pytest.mark.parametrize("isa", _core.isas())
def test_wengert_isa_chooses_the_kernels(isa):
    code = "import wengert as wg; print(wg._core.isa(), (wg.tensor([[1.0, 2.0]]) @ wg.tensor([[3.0], [4.0]])).item())"
    assert python(code, WENGERT_ISA=isa).stdout.split() == [isa, "11.0"]


def test_default_is_the_best_this_cpu_runs():
    code = "import wengert as wg; print(wg._core.isa())"
    assert python(code, WENGERT_ISA="").stdout.strip() == _core.isas()[-1]


@pytest.mark.parametrize("isa", sorted({"avx512", "neon", "sse9"} - set(_core.isas())))
def test_isa_that_is_not_to_be_had_is_refused(isa):
    result = python("import wengert", WENGERT_ISA=isa)
    assert result.returncode != 0
    error = result.stderr.strip().splitlines()[-1]
    assert error.startswith(f"ImportError: WENGERT_ISA={isa}: ")
    assert error.endswith("it runs " + " ".join(_core.isas()))
