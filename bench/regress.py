"""The performance guard of CI: instruction counts against a committed baseline, and times against NumPy's.

    python bench/regress.py            compare; exit code 1 if anything grew by more than 2 %
    python bench/regress.py --renew    write bench/baseline.json from this machine's counts

Counts come from callgrind over bench/instructions.cpp on the AVX2 kernels: they do not depend on the clock, on other
processes or on the CPU at hand. They do depend on the compiler, so the baseline names the one that made it; under
another one there is nothing to compare, and this says so.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fair  # before NumPy

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ROOT / "bench" / "baseline.json"
BUILD = ROOT / "build" / "bench"
TOLERANCE = 0.02


def build():
    """Builds bench_instructions in build/bench and returns its path."""
    for command in (
        ["cmake", "--preset", "bench"],
        ["cmake", "--build", "--preset", "bench", "-t", "bench_instructions"],
    ):
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return BUILD / "bench" / "bench_instructions"


def compiler():
    """What compiled the build, such as "g++ (Debian 12.2.0-14) 12.2.0"."""
    path = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.+)$", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE)[1]
    version = subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout
    return version.splitlines()[0]


def count(program):
    """Instructions of each case, by name."""
    if not shutil.which("valgrind"):
        sys.exit("regress.py needs valgrind (Debian: apt-get install valgrind)")
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", program]
        env = {**os.environ, "WENGERT_ISA": "avx2", "WENGERT_NUM_THREADS": "1"}
        result = subprocess.run(command, env=env, capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"{program.name} failed under callgrind:\n{result.stderr}")
        counts = {}
        for part in Path(folder).glob("out.*"):
            text = part.read_text()
            if name := re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE):
                counts[name[1]] = int(re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)[1])
    order = result.stdout.splitlines()
    return {name: counts[name] for name in order}


def compare(counts, baseline):
    """A table of what changed, and whether all is within the tolerance."""
    rows, good = [], True
    for name in [*baseline, *(n for n in counts if n not in baseline)]:
        old, new = baseline.get(name), counts.get(name)
        if old is None or new is None:
            rows.append((name, old, new, "not in the baseline: renew it" if old is None else "gone: renew it"))
            good = False
            continue
        change = new / old - 1
        if change > TOLERANCE:
            good = False
            rows.append((name, old, new, f"{change:+.1%}  MORE THAN {TOLERANCE:.0%}"))
        elif change < -TOLERANCE:
            rows.append((name, old, new, f"{change:+.1%}  better: renew the baseline to keep it"))
    for name, old, new, verdict in rows:
        print(f"{name:30} {old or '-':>12} -> {new or '-':>12}  {verdict}")
    print(f"{len(counts)} instruction counts, {len(rows)} differ by more than {TOLERANCE:.0%}")
    return good


def ratio_to_numpy(ours, numpys):
    """Time of ours over NumPy's: the best of alternating runs, in CPU time."""
    repeats = 1
    while repeats < 100_000 and clock(numpys, repeats) < 2e-3:
        repeats *= 2
    pairs = [(clock(ours, repeats), clock(numpys, repeats)) for _ in range(25)]
    return min(a for a, _ in pairs) / min(b for _, b in pairs)


def clock(f, repeats):
    start = time.process_time()  # of this process alone
    for _ in range(repeats):
        f()
    return time.process_time() - start


def guard_against_numpy():
    """Times in this process may be at most so many times NumPy's; generous, for machines that others use too."""
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "WENGERT_NUM_THREADS"):
        os.environ[variable] = "1"
    import numpy as np

    import wengert as wg

    rng = np.random.default_rng(0)

    def arrays(*shapes):
        drawn = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
        return drawn, [wg.tensor(a) for a in drawn]

    (a, b), (ta, tb) = arrays((256, 256), (256, 256))
    (x, w), (tx, tw) = arrays((32, 784), (784, 128))
    (v,), (tv,) = arrays(4096)
    (s, t), (ts, tt) = arrays(8, 8)
    cases = [
        ("matmul 256x256x256", 1.5, lambda: ta @ tb, lambda: a @ b),
        ("matmul 32x784x128", 1.5, lambda: tx @ tw, lambda: x @ w),
        ("exp of 4096", 1.5, lambda: wg.exp(tv), lambda: np.exp(v)),
        ("tanh of 4096", 1.5, lambda: wg.tanh(tv), lambda: np.tanh(v)),
        ("sum of 4096", 1.5, lambda: wg.sum(tv), lambda: np.sum(v)),
        ("a + b of 8", 1.5, lambda: ts + tt, lambda: s + t),
    ]
    print(*fair.conditions(), sep="\n")
    good = True
    for name, limit, ours, numpys in cases:
        ratio = ratio_to_numpy(ours, numpys)
        good = good and ratio <= limit
        print(f"{name:30} {ratio:5.2f} of NumPy's time{'' if ratio <= limit else f'  MORE THAN {limit}'}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help="write the baseline instead of comparing with it")
    renew = parser.parse_args().renew
    counts = count(build())
    if renew:
        BASELINE.write_text(json.dumps({"compiler": compiler(), "instructions": counts}, indent=2) + "\n")
        print(f"{len(counts)} instruction counts written to {BASELINE.relative_to(ROOT)}")
        return
    if not BASELINE.exists():
        sys.exit(f"no {BASELINE.relative_to(ROOT)}: write it with python bench/regress.py --renew")
    baseline = json.loads(BASELINE.read_text())
    good = True
    if baseline["compiler"] == compiler():
        good = compare(counts, baseline["instructions"])
    else:
        print(f"instruction counts not compared: the baseline is by {baseline['compiler']}, this is {compiler()}")
    good = guard_against_numpy() and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
