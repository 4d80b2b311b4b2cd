"""Tables: reading them, finding out what their columns mean, and turning them into numbers for a network."""

from __future__ import annotations

import collections
import contextlib
import csv
import difflib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert._files import require

Array = npt.NDArray[Any]

BUILT_IN = ("digits", "iris", "wine", "breast_cancer", "diabetes")
BOOLEANS = ("true", "false", "yes", "no")
LARGEST = 1e100  # of a number, so that squares and their sums stay finite
MOST_CLASSES = 1000
MISSING = ("", "nan", "na", "n/a", "null", "none", "?")


class Refused(Exception):
    """Input that cannot be used; the message says what, where, and the way out, for every reason that was given."""

    def __str__(self) -> str:
        if len(self.args) == 1:
            return str(self.args[0])
        return f"for {len(self.args)} reasons:" + "".join(f"\n  - {reason}" for reason in self.args)


class Complaints:
    """What is wrong with a table, gathered so that it can be said, and mended, at once."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            self.reasons += refused.args

    def refuse(self) -> None:
        """Refused, if there was anything."""
        if self.reasons:
            raise Refused(*self.reasons)


@dataclass
class Table:
    """Named columns of cells: text as read from a file, or numbers from a built-in set."""

    source: str
    columns: dict[str, Array]
    lines: Sequence[int] = ()  # where in the file each row stands
    target: str | None = None  # of a built-in set
    numbers: dict[str, Array] = field(default_factory=dict)  # columns that were read as numbers already

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def place(self, row: int, column: str) -> str:
        line = f" (line {self.lines[row]})" if self.lines else ""
        return f"{self.source}, row {row + 1}{line}, column {column!r}"

    def require(self, column: str) -> Array:
        if column not in self.columns:
            near = difflib.get_close_matches(column, self.columns, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has: {_listed(self.columns)}"
            raise Refused(f"{self.source} has no column {column!r}; {hint}")
        return self.columns[column]


def _listed(names: Any, most: int = 12) -> str:
    names = list(names)
    return ", ".join(map(str, names[:most])) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def read_table(source: str) -> Table:
    """The built-in set or CSV file of that name."""
    if source in BUILT_IN:
        return _built_in(source)
    if not os.path.isfile(source):
        what = "is a folder, not a file" if os.path.isdir(source) else "does not exist"
        raise Refused(f"{source} {what}; give a CSV file or one of the built-in sets {', '.join(BUILT_IN)}")
    try:
        with open(source, encoding="utf-8-sig", newline="") as file:
            return _read_csv(os.path.basename(source), file)
    except UnicodeDecodeError as error:
        raise Refused(f"{source} is not a text file in UTF-8 ({error.reason} at byte {error.start})") from None
    except csv.Error as error:
        raise Refused(f"{source} is not a CSV file: {error}") from None


def _read_csv(name: str, file: Any) -> Table:
    first = next(filter(str.strip, file), "")
    file.seek(0)
    reader = csv.reader(file, delimiter=max(",;\t", key=first.count), skipinitialspace=True, strict=True)
    rows, lines = [], []
    for cells in reader:
        if cells not in ([], [""]):  # a blank line
            rows.append([cell.strip() for cell in cells])
            lines.append(reader.line_num)
    if not rows:
        raise Refused(f"{name} is empty; the first line must name the columns")
    header, rows, lines = rows[0], rows[1:], lines[1:]
    if all(_number(cell) is not None for cell in header):
        raise Refused(f"{name} starts with a line of numbers; the first line must name the columns")
    twice = [column for column, n in collections.Counter(header).items() if n > 1]
    if twice:
        raise Refused(*(f"{name} has two columns called {column!r}; give each its own name" for column in twice))
    if not rows:
        raise Refused(f"{name} has a header but no rows")
    uneven = [i for i, cells in enumerate(rows) if len(cells) != len(header)]
    if uneven:
        i = uneven[0]
        raise Refused(
            f"{name}, row {i + 1} (line {lines[i]}) has {len(rows[i])} fields, the header has {len(header)}"
            + _and_more(len(uneven) - 1, "row")
        )
    # As objects: an array of texts gives each the length of the longest.
    columns = zip(*rows, strict=True)
    return Table(name, {column: np.array(cells, object) for column, cells in zip(header, columns, strict=True)}, lines)


def _and_more(n: int, what: str) -> str:
    return f" (and so {'do' if n > 1 else 'does'} {n} more {what}{'s' if n > 1 else ''})" if n else ""


def _built_in(name: str) -> Table:
    datasets = require("sklearn.datasets", "train", f"the built-in data set {name}")
    loaded = getattr(datasets, f"load_{name}")()
    values, target = loaded.data, loaded.target
    if "target_names" in loaded:
        target = np.array([str(n) for n in loaded.target_names])[target]
    columns = {str(n): values[:, i] for i, n in enumerate(loaded.feature_names)} | {"target": target}
    return Table(name, columns, target="target")


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # Python reads 1_2 as 12
    except ValueError:
        return None


def _is_numeric(cells: Array) -> bool:
    """Whether at least half of the cells that say anything are numbers; the others are then taken for mistakes."""
    if cells.dtype.kind == "f":
        return True
    said = [cell for cell in cells if cell.lower() not in MISSING]
    return 2 * sum(_number(cell) is not None for cell in said) >= len(said)


def _numbers(table: Table, column: str) -> Array:
    """The column as finite numbers of a size to reckon with. Refused for the first cell that is none."""
    if column in table.numbers:
        return table.numbers[column]
    cells = table.require(column)
    read = cells.tolist() if cells.dtype.kind == "f" else [_number(cell) for cell in cells]
    values = np.array([np.nan if value is None else value for value in read])
    bad = np.flatnonzero(~(np.abs(values) <= LARGEST))
    if bad.size:
        row = int(bad[0])
        cell, place = str(cells[row]), table.place(row, column)
        more = f"; {bad.size - 1} more cells of the column are no better" if bad.size > 1 else ""
        if read[row] is None and cell.lower() not in MISSING:
            raise Refused(
                f"{place}: {cell!r} is not a number, as the rest of the column is; correct it, "
                f"leave the column out (--ignore {column}) or take it as categories (--categorical {column}){more}"
            )
        large = "too large: " if np.isfinite(values[row]) else ""
        raise Refused(
            f"{place}: the value is {large}{cell or 'missing'}; "
            f"fill it in, remove the row, or leave the column out (--ignore {column}){more}"
        )
    table.numbers[column] = values
    return values


def _texts(table: Table, column: str) -> Array:
    """The cells as categories: "2.0" is the same as "2", and TRUE the same as true."""
    cells = table.require(column)
    if cells.dtype.kind == "f":
        cells = np.array([f"{value:.12g}" for value in cells])
    for row, cell in enumerate(cells):
        if cell.lower() in ("", "nan"):
            what = cell or "missing"
            raise Refused(f"{table.place(row, column)}: the value is {what}; fill it in or remove the row")
    return np.array([_category(cell) for cell in cells], object)


def _category(cell: str) -> str:
    return cell.lower() if cell.lower() in BOOLEANS else re.sub(r"^(-?\d+)\.0+$", r"\1", cell)


@dataclass
class Schema:
    """What the columns mean: enough to turn another table of the same kind into the same numbers."""

    inputs: dict[str, list[str] | None]  # the categories of each input column, or None for a number
    target: str
    classes: list[str] | None = field(default=None)  # None for regression

    @property
    def width(self) -> int:
        return sum(1 if categories is None else len(categories) for categories in self.inputs.values())

    @property
    def outputs(self) -> int:
        return 1 if self.classes is None else len(self.classes)

    @property
    def task(self) -> str:
        return "regression" if self.classes is None else "classification"

    def encode(self, table: Table) -> Array:
        """The inputs as numbers, (rows, width): a column for a number, one a category for text."""
        encoded, first, complaints = np.zeros((len(table), self.width)), 0, Complaints()
        for column, categories in self.inputs.items():
            with complaints.gathered():
                if categories is None:
                    encoded[:, first] = _numbers(table, column)
                else:
                    encoded[np.arange(len(table)), first + _positions(table, column, categories)] = 1
            first += 1 if categories is None else len(categories)
        complaints.refuse()
        return encoded

    def encode_target(self, table: Table) -> Array:
        """Class numbers (rows,), or values (rows, 1)."""
        if self.classes is None:
            return _numbers(table, self.target)[:, None]
        return _positions(table, self.target, self.classes)


def _positions(table: Table, column: str, categories: list[str]) -> Array:
    position = {_category(category): i for i, category in enumerate(categories)}
    cells = _texts(table, column)
    row = next((row for row, cell in enumerate(cells) if cell not in position), None)
    if row is not None:
        raise Refused(f"{table.place(row, column)}: {str(cells[row])!r} is none of the values that the model knows: "
                      f"{_listed(categories)}")  # fmt: skip
    return np.array([position[cell] for cell in cells])


def infer(table: Table, target: str | None, task: str, ignore: list[str], categorical: list[str]) -> Schema:
    """The meaning of each column, from its cells and the user's hints."""
    if table.target is not None and target not in (None, table.target):
        raise Refused(f"the target of the built-in set {table.source} is its own; --target is for CSV files")
    target = target or table.target
    if target is None:
        raise Refused(f"say what to predict with --target; the columns of {table.source} are {_listed(table.columns)}")
    complaints, left_out, texts = Complaints(), {target, *ignore}, set(categorical)
    for column in dict.fromkeys((target, *ignore, *categorical)):
        with complaints.gathered():
            table.require(column)
    if target in ignore:
        complaints.reasons.append(f"column {target!r} cannot be both --target and --ignore")
    inputs: dict[str, list[str] | None] = {}
    for column in table.columns:
        if column not in left_out:
            inputs[column] = None
            with complaints.gathered():
                if column in texts or not _is_numeric(table.columns[column]):
                    inputs[column] = _categories(table, column)
                else:
                    _numbers(table, column)
    if not inputs:
        complaints.reasons.append(f"{table.source} has no column besides the target {target!r} to predict it from")
    classes = None
    if target in table.columns:
        with complaints.gathered():
            classes = _classes(table, target, task)
    complaints.refuse()
    return Schema(inputs, target, classes)


def _categories(table: Table, column: str) -> list[str]:
    found = sorted({str(cell) for cell in _texts(table, column)})
    if len(found) > max(20, len(table) / 2):
        raise Refused(f"{table.source}, column {column!r} holds {len(found)} different texts in {len(table)} rows, "
                      f"more like names than categories; leave it out with --ignore {column}")  # fmt: skip
    return found


def _classes(table: Table, target: str, task: str) -> list[str] | None:
    """The classes of the target; None if it is a quantity. Few different whole numbers count as classes."""
    numeric = _is_numeric(table.columns[target])
    if task == "regression" and not numeric:
        raise Refused(f"{table.source}, column {target!r} holds text, so it cannot be a target of regression")
    if numeric:
        different = np.unique(_numbers(table, target))
        if len(different) == 1:
            raise Refused(f"{table.source}, column {target!r} is {different[0]:g} in every row: nothing to learn")
        few = len(different) <= 20 and 2 * len(different) <= len(table) and np.all(different == np.round(different))
        if task == "regression" or (task == "auto" and not few):
            return None
        by_size = {str(cell): float(cell) for cell in _texts(table, target)}
        classes = sorted(by_size, key=by_size.__getitem__)
    else:
        classes = sorted({str(cell) for cell in _texts(table, target)})
    if len(classes) > MOST_CLASSES:
        raise Refused(f"{table.source}, column {target!r} has {len(classes)} classes, and {MOST_CLASSES} are the most: "
                      "join the rare ones, or choose another target")  # fmt: skip
    if len(classes) == 1:
        raise Refused(f"{table.source}, column {target!r} has one class only, {classes[0]!r}: nothing to learn")
    return classes


def split(labels: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Row numbers for training, validation and test: 80, 10 and 10 per cent of each class, at least one each.

    Classes of fewer than three rows are for training only.
    """
    parts: tuple[list[Array], ...] = ([], [], [])
    order = np.argsort(labels, kind="stable")
    for of_one in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        rows = rng.permutation(of_one)
        held = max(1, round(len(rows) / 10)) if len(rows) >= 3 else 0
        for part, chosen in zip(parts, np.split(rows, [len(rows) - 2 * held, len(rows) - held]), strict=True):
            part.append(chosen)
    train, validation, test = (np.concatenate(part) for part in parts)
    return train, validation, test
