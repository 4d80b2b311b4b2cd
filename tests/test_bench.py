"""The benchmarks themselves: the guard fails when it should, and contenders in a training race compute the same."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wengert

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def regress():
    spec = importlib.util.spec_from_file_location("regress", ROOT / "bench/regress.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_contenders_in_training_agree():
    """peers.py stops if the losses after five steps differ; NumPy by hand and scikit-learn are always there."""
    command = [sys.executable, ROOT / "bench/peers.py", "train", "--only", "4-64-64-2", "--repeats", "1"]
    env = {**os.environ, "PYTHONPATH": str(Path(wengert.__file__).parents[1])}
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    assert result.returncode == 0, result.stdout + result.stderr
    header = next(line for line in result.stdout.splitlines() if line.startswith("training step"))
    assert "NumPy by hand" in header and "scikit-learn" in header
