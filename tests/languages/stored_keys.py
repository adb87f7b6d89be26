"""Knows each key under which a row may hold a sentence: `stored_keys.txt`, one a line, sorted.

`python -m tests.languages.stored_keys` adds the keys that are new. Rows keep a key for ever, and without its sentence
they are shown in English: take out a line by hand, and only if no release ever stored it.
"""

import ast
from functools import cache
from pathlib import Path

from tests.languages.spanish import CODE

FILE = Path(__file__).with_name("stored_keys.txt")
# Their sentences are printed, or shown on a page of the login, and stored nowhere.
NOT_STORED = ("migration/management/", "nova_admin/login/")


@cache
def list_declared() -> list[tuple[str, str]]:
    """Return key and file of each `Sentence(…)` in the code."""
    return [
        (ast.literal_eval(node.args[0]), path)
        for path, source in CODE.items()
        if "Sentence(" in source
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Sentence"
    ]


def read_stored() -> set[str]:
    return set(FILE.read_text().split())


if __name__ == "__main__":
    declared = {key for key, path in list_declared() if not path.startswith(NOT_STORED)}
    FILE.write_text("".join(f"{key}\n" for key in sorted(read_stored() | declared)))
