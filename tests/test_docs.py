"""The pages of docs/ do what they say: their examples run, their pictures are what the program draws."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(p.name for p in DOCS.glob("*.md") if ">>> " in p.read_text(encoding="utf-8"))


class Markdown(doctest.DocTestParser):
    """Reads the fences of code blocks as blank lines, so that they are no part of an output."""

    def parse(self, string, name="<string>"):
        return super().parse(re.sub(r"^```.*$", "", string, flags=re.M), name)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page):
    failed, tried = doctest.testfile(str(DOCS / page), module_relative=False, parser=Markdown(), encoding="utf-8")
    assert failed == 0 and tried > 0


def test_the_lecture_is_among_them():
    assert "lecture.md" in PAGES


def test_a_wrong_output_would_be_found():
    example = Markdown().get_doctest("```python\n>>> 1 + 1\n3\n```\n", {}, "page", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(example, out=lambda _: None).failed == 1


def test_pictures_are_up_to_date():
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    for name, draw in pictures.PICTURES.items():
        assert (DOCS / name).read_text(encoding="utf-8") == draw(), f"{name}: run python docs/pictures.py"


def test_links_lead_somewhere():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (DOCS / target).exists(), f"{page.name}: {target}"
