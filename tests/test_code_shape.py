"""Bounds on names, types and sizes that no linter knows. The code they are about is the packages', not the tests'."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("nova_admin", "migration", "credentials", "nova_credentials")
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
)


def functions() -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    trees = [ast.parse(path.read_text()) for path in MODULES]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_enough_to_be_read_at_once(path):
    assert len(path.read_text().splitlines()) <= 350


def test_names_say_more_than_one_word():
    names = [function.name for function in functions()]
    one_word = [name for name in names if "_" not in name.strip("_")]
    assert len(names) > 1000
    assert len(one_word) / len(names) <= 0.35


def test_types_are_named():
    texts = [path.read_text() for path in MODULES]
    lines = sum(text.count("\n") for text in texts)
    assert sum(len(re.findall(r"\bAny\b", text)) for text in texts) / lines <= 0.01
