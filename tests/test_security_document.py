"""What docs/security.md says of tests, findings and other documents is there."""

import ast
import re
from functools import cache

from tests.checkout import ROOT

DOCS = ROOT / "docs"
TEXT = (DOCS / "security.md").read_text("utf-8")
FINDINGS = 20


@cache
def list_tests(name: str) -> set[str]:
    """The tests that a file below `tests/` has."""
    tree = ast.parse((ROOT / "tests" / name).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def list_anchors(name: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", (DOCS / name).read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_test_that_it_names_is_there():
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", TEXT)

    assert len(named) > FINDINGS
    assert len(named) == TEXT.count("::")
    assert [f"{file}::{test}" for file, test in named if test not in list_tests(file)] == []


def test_each_finding_has_a_test_or_is_called_open():
    rows = dict(re.findall(r"^\| (S\d+) \|(.+)$", TEXT, re.MULTILINE))

    assert list(rows) == [f"S{number}" for number in range(1, FINDINGS + 1)]
    assert [name for name, row in rows.items() if ("::" in row) is ("**open**" in row)] == []


def test_every_document_and_heading_that_it_links_is_there():
    links = re.findall(r"\]\(([\w.-]*)(?:#([\w-]+))?\)", TEXT)

    assert len(links) == TEXT.count("](")
    for name, anchor in links:
        assert not anchor or anchor in list_anchors(name or "security.md")
        assert (DOCS / name).exists()
