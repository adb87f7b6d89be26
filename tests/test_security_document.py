"""Every test that docs/studies/findings.md names is there."""

import ast
import re
from functools import cache

from tests.checkout import ROOT

TEXT = (ROOT / "docs/studies/findings.md").read_text("utf-8")
FINDINGS = 20


@cache
def list_tests(name: str) -> set[str]:
    """The tests that a file below `tests/` has."""
    tree = ast.parse((ROOT / "tests" / name).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_it_names_is_there():
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", TEXT)

    assert len(named) > FINDINGS
    assert len(named) == TEXT.count("::")
    assert [f"{file}::{test}" for file, test in named if test not in list_tests(file)] == []


def test_each_finding_has_a_test_or_is_called_open():
    rows = dict(re.findall(r"^\| (S\d+) \|(.+)$", TEXT, re.MULTILINE))

    assert list(rows) == [f"S{number}" for number in range(1, FINDINGS + 1)]
    assert [name for name, row in rows.items() if ("::" in row) is ("**open**" in row)] == []
