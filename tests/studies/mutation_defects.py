"""Finds the small defects that can be made in a module: each by its place in the source and the text to put there."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

OPERATORS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
IS_SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|EXISTS|SET LOCAL)\b")
IN_SQL = (
    (r"\bAND\b", "OR"),
    (r"\bOR\b(?! REPLACE)", "AND"),
    (r"\bNOT (?!NULL)", ""),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"(?<=\s)=(?=\s)", "<>"),
    (r"(?<=\s)<>(?=\s)", "="),
    (r"(?<=\s)<(?=\s)", "<="),
    (r"(?<=\s)>(?=\s)", ">="),
    (r"\bpg_catalog, pg_temp\b", "pg_temp, pg_catalog"),
)


@dataclass(frozen=True)
class Mutation:
    """One defect: what stands between two places of a module, counted in bytes, is replaced."""

    module: str
    start: int
    end: int
    old: str
    new: str
    line: int
    source_line: str
    # The line of the statement of a function that it is in; None: it takes effect when the module is imported.
    statement: int | None

    def apply_to(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]

    def __str__(self) -> str:
        old, new = (re.sub(r"\s+", " ", text)[:70] for text in (self.old, self.new))
        return f"{self.module}:{self.line}: {old!r} -> {new!r}"


class MutationFinder(ast.NodeVisitor):
    """Finds every defect that can be made in a module."""

    def __init__(self, module: str, source: bytes) -> None:
        self.module, self.source = module, source
        self.lines = source.decode().splitlines()
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.found: list[Mutation] = []
        tree = ast.parse(source)
        self.statements = [
            (*self.span(statement), statement.lineno)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef)
            for part in function.body
            for statement in ast.walk(part)
            if isinstance(statement, ast.stmt)
        ]
        self.visit(tree)

    def add(self, start: int, end: int, new: str, line: int) -> None:
        old = self.source[start:end].decode()
        self.found.append(
            Mutation(
                *(self.module, start, end, old, new, line, self.lines[line - 1].strip()),
                statement=self.find_statement(start),
            )
        )

    def find_statement(self, place: int) -> int | None:
        """Return the line of the innermost statement of a function around the place."""
        around = [(start, line) for start, end, line in self.statements if start <= place < end]
        return max(around)[1] if around else None

    def span(self, node: ast.AST) -> tuple[int, int]:
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def replace(self, node: ast.AST, new: str) -> None:
        self.add(*self.span(node), new, node.lineno)

    def swap_between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> None:
        """Exchange the operator that stands between two operands, perhaps within parentheses."""
        start, end = self.span(left)[1], self.span(right)[0]
        word = r"\s+".join(map(re.escape, old.split()))
        found = re.search(word, self.source[start:end].decode())
        if found:
            line = left.end_lineno + self.source[start : start + found.start()].count(b"\n")
            self.add(start + found.start(), start + found.end(), new, line)

    def negate(self, test: ast.expr) -> None:
        start, end = self.span(test)
        self.add(start, end, f"(not ({self.source[start:end].decode()}))", test.lineno)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return
        self.negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.negate(test)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, operands, operands[1:], strict=False):
            self.swap_between(left, right, *OPERATORS[type(operator)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.swap_between(left, right, *words)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.replace(node, str(not node.value))
        elif isinstance(node.value, int | float):
            self.replace(node, str(node.value + 1))
        elif isinstance(node.value, str):
            self.mutate_sql(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.mutate_sql(node)

    def mutate_sql(self, node: ast.expr) -> None:
        start, end = self.span(node)
        text = self.source[start:end].decode()
        if not IS_SQL.search(text):
            return
        for pattern, new in IN_SQL:
            for match in re.finditer(pattern, text):
                at = start + len(text[: match.start()].encode())
                line = node.lineno + text[: match.start()].count("\n")
                self.add(at, at + len(match[0].encode()), new, line)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):  # a docstring
            return
        if isinstance(node.value, ast.Yield) and node.value.value is None:
            return  # the same as `yield None`
        self.replace(node, "pass" if isinstance(node.value, ast.Call) else "yield None")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.replace(node, "pass")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.replace(node, "pass")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self.replace(node, "return None")
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list):
            return  # is for mypy alone
        for part in (node.args, *node.body):  # neither its decorators nor its annotations
            self.visit(part)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in node.body:
            self.visit(part)

    def visit_arg(self, _: ast.arg) -> None:
        """An annotation has no effect."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)
