"""Puts a probe before each statement of a module's functions, which notes that a test has run it."""

from __future__ import annotations

import ast

HITS = "mutation_hits"
# In a process that the plugin isn't loaded in, a probe does nothing.
HEAD = f'__hit__ = getattr(__import__("builtins"), "{HITS}", set()).add'


def add_probes(module: str, source: str) -> str:
    """Return the module's source with a probe before each statement of its functions."""
    tree = ast.parse(source)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for part in ast.walk(function):
                for name in ("body", "orelse", "finalbody"):
                    if isinstance(block := getattr(part, name, None), list):
                        setattr(part, name, _probe_block(module, block))
    at = 1 if ast.get_docstring(tree, clean=False) is not None else 0
    while isinstance(tree.body[at], ast.ImportFrom) and tree.body[at].module == "__future__":
        at += 1
    tree.body[at:at] = ast.parse(HEAD).body
    return ast.unparse(ast.fix_missing_locations(tree))


def _probe_block(module: str, block: list[ast.stmt]) -> list[ast.stmt]:
    if any(_is_probe(statement) for statement in block):  # a function in a function: met twice
        return block
    probed: list[ast.stmt] = []
    for statement in block:
        if not _is_text(statement):  # a docstring stays the first
            probed += ast.parse(f"__hit__(({module!r}, {statement.lineno}))").body
        probed.append(statement)
    return probed


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_probe(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("__hit__(")
