"""What benches, fault runs and tests import within functions is there: only a run of an hour would say it otherwise."""

import ast
import importlib
import re
from collections.abc import Iterator

from tests.checkout import ROOT

OWN = ("credentials", "migration", "nova_admin", "nova_credentials", "tests")
# Most files have none, and need not be parsed.
LATE = re.compile(rf"^[ \t]+from ({'|'.join(OWN)})\b", re.MULTILINE)


def find_late_imports(source: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of each import of the project's own within a function."""
    if not LATE.search(source):
        return
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OWN:
                yield from ((str(node.module), alias.name) for alias in node.names)


def lacks(module: str, name: str) -> bool:
    """Say whether the module, once imported, has neither that name nor a module of that name."""
    try:
        if hasattr(importlib.import_module(module), name):
            return False
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError as error:
        return (error.name or "").split(".")[0] in OWN
    return False


def test_a_name_that_moved_is_found():
    source = "def run():\n    from tests.checkout import ROOT, GONE\n"

    assert [name for module, name in find_late_imports(source) if lacks(module, name)] == ["GONE"]
    assert lacks("tests.gone", "ROOT")


def test_what_a_function_imports_is_there():
    files = [file for part in OWN for file in (ROOT / part).rglob("*.py")]
    wanted = {each: file for file in files for each in find_late_imports(file.read_text())}

    assert len(wanted) > 100
    assert {each: str(file) for each, file in wanted.items() if lacks(*each)} == {}
