"""``wengert train``: from a table to a trained network, its measured quality, and the files that hold both."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import wengert as wg
from wengert import nn, optim
from wengert.cli import report
from wengert.cli.console import Signals
from wengert.cli.data import Refused, infer, read_table, split
from wengert.cli.model import TableModel

Array = npt.NDArray[Any]

LABEL_SMOOTHING = 0.1
WEIGHT_DECAY = 0.01
FEWEST = 20  # rows: a tenth of them still measures something


@dataclass
class Rows:
    """Some rows, ready for the network, and their targets in the unit of the table."""

    x: Array
    y: Array
    target: Array

    def __len__(self) -> int:
        return len(self.x)


class Epoch(NamedTuple):
    """How well the network did in an epoch."""

    train_loss: float
    validation_loss: float
    validation_score: float


@dataclass
class History:
    """What happened in each epoch (counted from 1), and how it ended."""

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    ended: str = ""
    interrupted: bool = False


def train(chosen: argparse.Namespace, signals: Signals) -> None:
    """Trains, writes the model, and then all that is to be said about it."""
    _require_extra()
    started = time.perf_counter()
    table = read_table(chosen.data)
    schema = infer(table, chosen.target, chosen.task, chosen.ignore, chosen.categorical)
    x, y = schema.encode(table), schema.encode_target(table)
    rng = np.random.default_rng(chosen.seed)
    parts = split(y if schema.classes else np.zeros(len(y)), rng)
    if len(table) < FEWEST or not all(map(len, parts)):
        raise Refused(
            f"{table.source} has too few rows ({len(table)}) to hold some out for validation and test: "
            f"it takes {FEWEST}, and 3 of some class"
        )
    folder = _folder(chosen, table.source)

    model = TableModel(schema, chosen.hidden, chosen.activation, seed=rng)
    model.fit_scale(x[parts[0]], y[parts[0]])
    fitting, validation, test = (Rows(model.scaled(x[i]), model.scaled_target(y[i]), y[i]) for i in parts)
    print(report.heading(table, schema, model, [len(part) for part in parts]), flush=True)

    history = fit(model, fitting, validation, chosen, rng, signals)
    path = report.write_model(model, folder)
    try:
        results = report.Results(
            table.source, model, history, test.target, model.predictions(x[parts[2]]), [len(p) for p in parts],
            {k: v for k, v in sorted(vars(chosen).items()) if k not in ("run", "out")}, time.perf_counter() - started,
        )  # fmt: skip
        print(report.summary(results))
        for written in (path, *report.write(results, folder)):
            print(f"wrote {written}")
    except Exception as error:
        raise Refused(f"the model is in {path}, but there is no report on it: {error}") from error


def fit(
    model: TableModel,
    train: Rows,
    validation: Rows,
    chosen: argparse.Namespace,
    rng: np.random.Generator,
    signals: Signals,
) -> History:
    """Trains until the validation loss has not fallen for ``patience`` epochs; leaves the best weights in the model.

    A signal ends the training; once it has ended, signals interrupt nothing any more. Refused if the loss stops being a
    number before there is anything worth keeping.
    """
    from tqdm import tqdm

    optimizer = optim.AdamW(model.parameters(), lr=chosen.lr, weight_decay=WEIGHT_DECAY)

    def loss_of(outputs: Any, targets: Any) -> wg.Tensor:
        if model.schema.classes is None:
            return nn.mse_loss(outputs, targets)
        return nn.cross_entropy(outputs, targets, label_smoothing=LABEL_SMOOTHING)

    history = History(ended=f"ran all {chosen.epochs} epochs")
    best = (np.inf, 0, model.state_dict())  # loss, epoch and weights in one, so that Ctrl-C cannot part them
    name = "accuracy" if model.schema.classes else "R²"
    often = 0.1 if sys.stderr.isatty() else 10  # seconds; a log file needs fewer lines than a terminal
    bar = tqdm(total=chosen.epochs, unit="epoch", dynamic_ncols=True, mininterval=often, file=sys.stderr)

    def on_epoch(number: int, train_loss: float) -> bool:
        nonlocal best
        outputs = model.outputs(validation.x)
        loss, score = loss_of(outputs, validation.y).item(), report.score(outputs, validation.y)
        if signals.received is not None:  # where Python could not raise it, as in a destructor
            raise KeyboardInterrupt
        history.epochs.append(Epoch(train_loss, loss, score))
        bar.set_postfix_str(f"loss {train_loss:.4f}, validation {loss:.4f}, {name} {score:.4f}", refresh=False)
        bar.update()
        if not np.isfinite(train_loss + loss):
            history.ended = f"the loss became {train_loss:g} in epoch {number}; a smaller --lr may help"
            return True
        if loss < best[0]:
            best = (loss, number, model.state_dict())
        elif number - best[1] >= chosen.patience:
            history.ended = f"no better validation loss for {chosen.patience} epochs"
            return True
        return False

    try:
        nn.fit(
            model, train.x, train.y, loss_of, optimizer,
            batch_size=chosen.batch_size, epochs=chosen.epochs, seed=rng, on_epoch=on_epoch,
        )  # fmt: skip
        signals.welcome = False
    except KeyboardInterrupt:
        signals.welcome = False
        history.ended, history.interrupted = "interrupted", True
    bar.close()
    _, history.best_epoch, weights = best
    if history.best_epoch == 0:
        if history.interrupted:
            raise KeyboardInterrupt
        raise Refused(f"nothing was learned: {history.ended}")
    model.load_state_dict(weights)
    return history


def _require_extra() -> None:
    """Says what is missing before any work is done, not after."""
    missing = [name for name in ("sklearn", "matplotlib", "tqdm", "safetensors") if not importlib.util.find_spec(name)]
    if missing:
        raise ImportError(f"training needs {', '.join(missing)}: pip install 'wengert[train]'")


def _folder(chosen: argparse.Namespace, source: str) -> str:
    """Where the files will go; refused now rather than after the training if they could not be written."""
    folder = chosen.out or "wengert-" + os.path.splitext(source)[0]
    above = folder
    while not os.path.exists(above):
        above = os.path.dirname(os.path.abspath(above))
    if not os.path.isdir(above) or not os.access(above, os.W_OK):
        raise Refused(f"--out {folder}: {above} is not a folder that can be written to")
    return folder
