"""The command line: ``wengert train DATA`` trains an MLP on a table, ``wengert predict MODEL DATA`` uses it.

Whatever is wrong with the input is said in one message on stderr, with exit code 2 and nothing written. After Ctrl-C or
SIGTERM the exit code is 130 or 143, and the best weights so far are in the file.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from wengert import _version
from wengert.cli.console import Output, Signals, open_standard_files
from wengert.cli.data import BUILT_IN, Refused
from wengert.nn.layers import ACTIVATIONS


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    open_standard_files()
    out, err = Output(sys.stdout), Output(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), Signals() as signals:
        try:
            code = _run(_parser().parse_args(arguments), out, signals)
        finally:
            out.flush()
            err.flush()
        if out.was_lost() and code == 0:
            print(f"wengert: error: standard output: {out.failure}", file=sys.stderr)
            code = 2
    return code


def _run(chosen: argparse.Namespace, out: Output, signals: Signals) -> int:
    try:
        chosen.run(chosen, out, signals)
        return 0 if signals.received is None else signals.exit_code
    except (Refused, ImportError) as error:
        print(f"wengert: error: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"wengert: error: {where}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("wengert: interrupted before there was anything to keep", file=sys.stderr)
        return signals.exit_code
    return 2


def _train(chosen: argparse.Namespace, out: Output, signals: Signals) -> None:
    from wengert.cli.train import train

    train(chosen, signals)


def _predict(chosen: argparse.Namespace, out: Output, signals: Signals) -> None:
    from wengert.cli.predict import predict

    predict(chosen, out)


class _Once(argparse.Action):
    """An option that makes no sense twice, where argparse would silently take the last."""

    def __call__(self, parser: argparse.ArgumentParser, chosen: Any, value: Any, option: str | None = None) -> None:
        if (before := getattr(chosen, self.dest)) is not None:
            raise argparse.ArgumentError(self, f"given twice, as {before!r} and {value!r}; choose one")
        setattr(chosen, self.dest, value)


def _at_least(lowest: float, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = kind(text)
        if not lowest <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be at least {lowest:g}, got {text}")
        return value

    read.__name__ = "number"
    return read


def _widths(text: str) -> list[int]:
    try:
        widths = [int(part) for part in text.split(",") if part]
    except ValueError:
        widths = [0]
    if min(widths, default=1) < 1:
        raise argparse.ArgumentTypeError(f"must be widths such as 128,64, got {text!r}")
    return widths


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wengert", description="Trains multilayer perceptrons on tables.")
    parser.add_argument("--version", action="version", version=f"wengert {_version.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data_help = f"a CSV file whose first line names the columns, or a built-in data set: {', '.join(BUILT_IN)}"

    train = commands.add_parser(
        "train",
        help="train a network on a table or a built-in data set",
        description="Trains an MLP, stops when the validation loss no longer falls, keeps the best weights, measures "
        "them on rows held out, and writes model.safetensors, metrics.json and curves.png. Ctrl-C and SIGTERM keep the "
        "best weights so far.",
    )
    train.set_defaults(run=_train)
    train.add_argument("data", metavar="DATA", help=data_help)
    option: Callable[..., Any] = train.add_argument
    option("--target", metavar="COLUMN", action=_Once, help="the column to predict")
    option(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="what kind of target it is (default: %(default)s)",
    )
    option("--ignore", metavar="COLUMN", action="append", default=[], help="a column to leave out; may be repeated")
    option(
        "--categorical",
        metavar="COLUMN",
        action="append",
        default=[],
        help="a column of numbers to be taken as categories; may be repeated",
    )
    option(
        "--hidden",
        metavar="WIDTHS",
        type=_widths,
        default="128,64",
        help="widths of the hidden layers (default: %(default)s)",
    )
    option("--activation", choices=ACTIVATIONS, default="tanh", help="between the layers (default: %(default)s)")
    option(
        "--epochs",
        metavar="N",
        type=_at_least(1, int),
        default=500,
        help="passes over the training rows, at most (default: %(default)s)",
    )
    option(
        "--patience",
        metavar="N",
        type=_at_least(1, int),
        default=20,
        help="epochs without a better validation loss (default: %(default)s)",
    )
    option("--batch-size", metavar="N", type=_at_least(1, int), default=32, help="rows a step (default: %(default)s)")
    option("--lr", metavar="RATE", type=_rate, default=1e-3, help="learning rate of AdamW (default: %(default)s)")
    option(
        "--seed",
        metavar="N",
        type=_at_least(0, int),
        default=0,
        help="decides the split, the weights and the order (default: %(default)s)",
    )
    option("--out", metavar="FOLDER", help="where the files go (default: wengert-DATA)")

    predict = commands.add_parser(
        "predict",
        help="predict with a trained network",
        description="Writes one line a row: the prediction and, for classes, its probability.",
    )
    predict.set_defaults(run=_predict)
    predict.add_argument("model", metavar="MODEL", help="a model.safetensors, or the folder it is in")
    predict.add_argument("data", metavar="DATA", help=data_help)
    predict.add_argument("--out", metavar="FILE", help="a CSV file to write (default: standard output)")
    return parser
