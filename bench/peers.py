"""Wengert beside its peers, in one run, on one pinned core.

    python bench/peers.py train | fit | ops | elementwise | matmul | footprint | all
                          [--repeats 9] [--only TEXT] [--least] [--bench-kernels PROGRAM]
                          [--write PAGE.md ...] [--pictures FOLDER]

Everything that README.md and docs/performance.md show, in one command:

    python bench/peers.py all --write README.md docs/performance.md --pictures docs

Times are medians of alternating repeats: every contender runs once, then every contender again, so that a machine that
slows down slows all of them. What counts are the ratios; absolute times drift. A peer that is not installed is left
out. Training contenders start from the same weights, see the same batch, and must report the same losses. Aims that are
missed are named, in the table and at the end.
On a machine that others use too, --least reports the least times of many short stretches instead: medians there punish
whoever hands work to another thread, as JAX does.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import fair
from race import tables, timing  # before NumPy and friends: it takes one core, one thread
from race.epochs import fit
from race.footprint import footprint
from race.kernels import elementwise, matmul
from race.ops import ops
from race.training import train

import wengert as wg

COMMANDS = {f.__name__: f for f in (train, fit, ops, elementwise, matmul, footprint)}
BENCH_KERNELS = Path(__file__).resolve().parents[1] / "build/bench/bench/bench_kernels"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*COMMANDS, "all"])
    parser.add_argument("--repeats", type=int, default=9, help="alternating repeats (at least 7; default 9)")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--least", action="store_true", help="least times, for a machine that others use too")
    parser.add_argument("--write", metavar="PAGE.md", nargs="+", default=[], help="put the tables between their marks")
    parser.add_argument("--pictures", metavar="FOLDER", help="draw train.svg, elementwise.svg, matmul.svg there")
    parser.add_argument(
        "--bench-kernels",
        metavar="PROGRAM",
        default=str(BENCH_KERNELS),
        help="measures the FMA peak (preset 'bench' builds it); without it, the best product is a lower bound",
    )
    args = parser.parse_args()
    for path in [*args.write, *filter(None, [args.pictures])]:
        if not Path(path).exists():
            parser.error(f"{path} does not exist")
    timing.least = args.least
    warnings.simplefilter("ignore")
    heading = tables.run_description(f"{'least' if args.least else 'median'} of {args.repeats} alternating repeats")
    print(f"wengert {wg.__version__}; {heading}", *fair.conditions(), sep="\n")
    start = time.perf_counter()
    for name, command in COMMANDS.items():
        if args.what in (name, "all"):
            command(args)
    for page in args.write:
        tables.write(page, heading)
    if args.pictures:
        for name, figure in tables.pictures.items():
            figure.savefig(Path(args.pictures) / name, metadata={"Date": None})
    if missed := tables.missed():
        print("\nAims missed:", *missed, sep="\n  ")
    print(f"\n{time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
