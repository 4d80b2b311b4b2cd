"""The benchmarks themselves: the guard fails when it should, and contenders in a training race compute the same."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wengert

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "bench"))  # its modules import one another


def load(name):
    """A module of bench/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"bench/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def regress():
    return load("regress")


@pytest.mark.parametrize(
    "now, good, shown",
    [
        ({"exp": 1000, "matmul": 500}, True, "2 instruction counts, 0 differ"),
        ({"exp": 1019, "matmul": 500}, True, "0 differ"),
        (
            {"exp": 1021, "matmul": 500},
            False,
            "exp                                    1000 ->         1021  +2.1%  MORE",
        ),
        ({"exp": 900, "matmul": 500}, True, "-10.0%  better: renew"),
        ({"exp": 1000}, False, "gone: renew it"),
        ({"exp": 1000, "matmul": 500, "log": 7}, False, "not in the baseline: renew it"),
    ],
)
def test_guard_compares_instruction_counts(regress, capsys, now, good, shown):
    assert regress.compare(now, {"exp": 1000, "matmul": 500}) is good
    assert shown in capsys.readouterr().out


def test_guard_measures_ratios(regress):
    slow, quick = [lambda n=n: sum(range(n)) for n in (4000, 1000)]
    assert 2 < regress.ratio_to_numpy(slow, quick) < 8


def run_bench(script, *arguments, **variables):
    """Runs a script of bench/, with these environment variables besides."""
    env = {**os.environ, "PYTHONPATH": str(Path(wengert.__file__).parents[1]), **variables}
    return subprocess.run(
        [sys.executable, ROOT / "bench" / script, *arguments], capture_output=True, text=True, env=env
    )


def test_contenders_in_training_agree(tmp_path):
    """peers.py stops if losses differ; NumPy by hand and scikit-learn are always there. The page gets the table."""
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- peers train -->\nold\n<!-- end -->\nAfter.\n")
    result = run_bench("peers.py", "train", "--only", "4-64-64-2", "--repeats", "1", "--write", str(page))
    assert result.returncode == 0, result.stdout + result.stderr
    header = next(line for line in result.stdout.splitlines() if line.startswith("training step"))
    assert "NumPy by hand" in header and "scikit-learn" in header
    text = page.read_text()
    assert text.startswith("Before.\n") and text.endswith("\nAfter.\n") and "old" not in text
    assert "| 4-64-64-2 tanh, mse, 32 | " in text and "Losses after 4 and after 100 steps agree to 1e-5" in text


def test_whole_epochs_are_raced():
    """With JAX installed, losses must agree with those of its scan."""
    result = run_bench("peers.py", "fit", "--only", "13-64-1", "--repeats", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^whole epoch, ms +wengert", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("script", sorted(p.name for p in (ROOT / "bench").glob("*.py") if p.name != "fair.py"))
def test_no_benchmark_runs_openblas_on_kernels_for_another_processor(script):
    """Imported, each leaves the environment clean, for its children too, before NumPy is there to read it."""
    code = f"""
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy" and any(v in os.environ for v in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")):
            sys.exit("NumPy is imported with them")
sys.meta_path.insert(0, Watch())
sys.path.insert(0, {str(ROOT / "bench")!r})
import {script.removesuffix(".py")}
assert "OPENBLAS_CORETYPE" not in os.environ and "OPENBLAS_L2_SIZE" not in os.environ
"""
    env = {**os.environ, "PYTHONPATH": str(Path(wengert.__file__).parents[1])}
    env |= {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "262144"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert result.returncode == 0, result.stderr


def test_conditions_name_kernels_and_threads():
    result = run_bench("peers.py", "matmul", "--only", "8×8×8 float32", "--repeats", "1", OPENBLAS_CORETYPE="Haswell")
    assert result.returncode == 0, result.stdout + result.stderr
    numpys = next(line for line in result.stdout.splitlines() if line.startswith("numpy: "))
    assert re.fullmatch(r"numpy: \w+ \S+ with \w+ kernels, 1 thread", numpys), numpys


def test_page_without_a_place_for_the_table_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- peers matmul-float32 -->\n<!-- end -->\n")
    result = run_bench("peers.py", "ops", "--only", "tape", "--write", str(page))
    assert result.returncode == 1 and "<!-- peers tape -->" in result.stderr


def test_every_mark_of_the_documents_is_one_that_peers_fills():
    """A mark with a misspelt table would keep its old figures for ever."""
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "bench/race").glob("*.py"))
    keys = {"matmul-float32", "matmul-float64", "train-limit", "others-limit"}
    keys |= set(re.findall(r'(?:race|Table)\(\s*"([\w-]+)"', source)) | set(
        re.findall(r'\("(\w+)", "[^"]+", nets', source)
    )
    for page in (ROOT / "README.md", ROOT / "docs/performance.md"):
        for mark in re.findall(r"<!-- peers (.*?) -->", page.read_text(encoding="utf-8")):
            assert set(mark.split()) <= keys, mark


def test_accuracy_passes_what_is_accurate():
    result = run_bench("accuracy.py", "--count", "30000", "--only", "exp", "tanh", "erf", "sqrt", "gelu_d0")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "tanh              1.5" in result.stdout


def test_accuracy_fails_what_is_not(monkeypatch, capsys):
    accuracy = load("accuracy")
    monkeypatch.setitem(accuracy.FUNCTIONS, "exp", accuracy.Case(lambda x: np.exp(x) * (1 + 1e-6)))
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "--count", "30000", "--only", "exp"])
    assert accuracy.main() == 1
    assert "above the limit: exp" in capsys.readouterr().err


def test_errors_in_units_in_the_last_place():
    want = np.array([1.0, 1.0, 1e-45, 3.5e38, np.nan, 1.0, -0.0])
    got = np.array([1.0, 1 + 2**-23, 0, np.inf, np.nan, np.nan, 0.0], np.float32)
    np.testing.assert_allclose(load("accuracy").ulps(got, want), [0, 1, 1e-45 / 2**-149, 0, 0, np.inf, 0])
