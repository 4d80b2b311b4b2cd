"""``wengert predict``: a trained network applied to a table."""

from __future__ import annotations

import argparse
import csv
import io
import sys

import numpy as np

from wengert import _files
from wengert.cli.data import Refused, read_table
from wengert.cli.model import load_model


def predict(chosen: argparse.Namespace) -> None:
    """Writes a header and one line a row: the prediction and, for classes, its probability."""
    model = load_model(chosen.model)
    values = model.predictions(model.schema.encode(read_table(chosen.data)))
    lost = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if lost.any():
        raise Refused(f"{chosen.data}, row {lost.argmax() + 1}: the inputs are too large, the prediction is not finite")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if model.schema.classes is None:
        writer.writerow([model.schema.target])
        writer.writerows([f"{value:.7g}"] for value in values)
    else:
        writer.writerow([model.schema.target, "probability"])
        best = values.argmax(axis=1)
        writer.writerows([model.schema.classes[k], f"{p[k]:.4f}"] for k, p in zip(best, values, strict=True))
    if chosen.out:
        _files.write_whole(chosen.out, text.getvalue().encode())
    else:
        sys.stdout.write(text.getvalue())
        sys.stdout.flush()
