"""``wengert predict``: a trained network applied to a table."""

from __future__ import annotations

import argparse
import csv
import io

import numpy as np

from wengert import _files
from wengert.cli.console import Output
from wengert.cli.data import Refused, read_table
from wengert.cli.model import load_model


def predict(chosen: argparse.Namespace, out: Output) -> None:
    """Writes a header and one line a row: the prediction and, for classes, its probability, with all their digits."""
    model = load_model(chosen.model)
    values = model.predictions(model.schema.encode(read_table(chosen.data)))
    lost = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if lost.any():
        raise Refused(f"{chosen.data}, row {lost.argmax() + 1}: the inputs are too large, the prediction is not finite")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if model.schema.classes is None:
        writer.writerow([model.schema.target])
        writer.writerows([repr(value)] for value in values.tolist())
    else:
        writer.writerow([model.schema.target, "probability"])
        best = values.argmax(axis=1)
        writer.writerows([model.schema.classes[k], repr(float(p[k]))] for k, p in zip(best, values, strict=True))
    content = text.getvalue().encode()
    if chosen.out:
        _files.write_whole(chosen.out, content)
    else:
        out.write_data(content)
