"""Writes the type stub of the elementwise functions from the page of derivatives; CMake runs it on every build.

python elementwise_stub.py cpp/ops/elementwise.def _elementwise.pyi
"""

import re
import sys
from pathlib import Path

HEAD = '''"""Written by cmake/elementwise_stub.py from cpp/ops/elementwise.def."""

from wengert._tensor import ArrayLike, Tensor

'''
OPERANDS = {"UNARY": "x", "BINARY": "a b", "TERNARY": "a b c", "PREDICATE": "a b"}
LINE = re.compile(rf'^({"|".join(OPERANDS)})\((\w+),\s*("(?:[^"\\]|\\.)*")', re.MULTILINE)


def stub(page: str) -> str:
    """The stub for the text of a page of derivatives."""
    ops = [(name, OPERANDS[kind].split(), doc[1:-1]) for kind, name, doc in LINE.findall(page)]
    parts = [HEAD, "__all__ = [\n", *(f'    "{name}",\n' for name, _, _ in ops), "]\n"]
    for name, operands, doc in ops:
        arguments = ", ".join(f"{x}: ArrayLike" for x in operands)
        parts.append(f'\ndef {name}({arguments}, /) -> Tensor:\n    """{doc}"""\n')
    return "".join(parts)


if __name__ == "__main__":
    page, target = map(Path, sys.argv[1:])
    target.write_text(stub(page.read_text(encoding="utf-8")), encoding="utf-8")
