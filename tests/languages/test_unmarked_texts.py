"""No template and no code shows a text that is not marked."""

import ast
import re
from collections.abc import Iterator

from tests import messages
from tests.languages.spanish import CODE, Shown

# Names, and units.
SAME = {"PostgreSQL", "AWS", "s"}
TEMPLATES = sorted((messages.BASE_DIR / "templates").rglob("*.html"))


def without_tags(source: str) -> str:
    source = re.sub(r"(?s){%\s*comment.*?endcomment\s*%}", "", source)
    source = re.sub(r"(?s){%\s*blocktrans.*?endblocktrans\w*\s*%}", "", source)
    return re.sub(r"(?s){%.*?%}|{{.*?}}|{#.*?#}", " ", source)


def list_unmarked_of_template(source: str) -> list[str]:
    given = re.findall(r"""{%[^%]*\s(?:title|text|label|subtitle)=["']([^"']+)""", source)
    found = [*Shown(without_tags(source)).texts, *given]
    return [text for text in found if set(re.findall(r"[^\W\d_]+", text)) - SAME]


def test_no_template_has_a_text_that_is_not_marked():
    found = {path.name: list_unmarked_of_template(path.read_text()) for path in TEMPLATES}

    assert len(found) > 100
    assert {name: texts for name, texts in found.items() if texts} == {}


SHOWN_AS = {"title", "description", "label", "help_text", "verbose_name", "search_help_text"}


def unmarked(tree: ast.Module) -> Iterator[str]:
    """Literals where what stands there is shown to people."""
    for node in ast.walk(tree):
        given: list[ast.expr] = []
        if isinstance(node, ast.Call):
            given = [keyword.value for keyword in node.keywords if keyword.arg in SHOWN_AS]
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            if isinstance(owner, ast.Name) and owner.id == "messages":
                given += node.args[1:]
        elif isinstance(node, ast.Dict):
            keys = [key.value if isinstance(key, ast.Constant) else "" for key in node.keys]
            given = [value for key, value in zip(keys, node.values, strict=True) if key in SHOWN_AS]
        yield from (
            value.value
            for value in given
            if isinstance(value, ast.Constant) and re.search("[A-Za-z]{2}", str(value.value))
        )


def whole_sentences(tree: ast.Module) -> Iterator[str]:
    """Whole sentences that nothing marks: neither documentation, nor within a call of what marks them."""
    passed = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        or (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKS
        )
        for part in ([node.value] if isinstance(node, ast.Expr) else ast.walk(node))
    }
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif isinstance(node, ast.Constant):
            text = str(node.value)
        # The pattern alone takes a second for a long statement of SQL.
        if (
            text.endswith((".", ":"))
            and id(node) not in passed
            and re.fullmatch(r"(?s)\S.*[a-z]{2} .*[a-z]{2}.*[.:]", text)
        ):
            yield text


# What is wrong with the settings is read by whoever starts the process.
MARKS = {*messages.MARKS, messages.SENTENCE, "_", "ImproperlyConfigured"}
# They speak in a terminal, during `migrate` or at the start, or to NOVA.
IN_ENGLISH = (
    "credentials/grants.py",
    "credentials/triggers.py",
    "nova_credentials/aws/endpoint.py",
    "nova_credentials/reader",
    "migration/checks.py",
    "migration/management/",
    "migration/core/database_identity.py",
    "nova_admin/",
)


LEFT_OUT = ("embedded", "schema_operations.py")


def test_no_code_has_a_text_or_a_sentence_that_is_not_marked():
    found = {}
    for path, source in CODE.items():
        tree = ast.parse(source)
        found[path] = [] if any(part in path for part in LEFT_OUT) else list(unmarked(tree))
        found[path] += [] if path.startswith(IN_ENGLISH) else whole_sentences(tree)

    assert len(found) > 200
    assert {path: texts for path, texts in found.items() if texts} == {}


def test_such_a_text_would_be_found():
    shown = "messages.error(request, 'Not marked')\nx = {'title': 'Nor this'}"
    assert list(unmarked(ast.parse(shown))) == ["Not marked", "Nor this"]
    template = '{% include "x.html" with title="Nor that" %}<p>{{ x }}</p><p>Not marked</p>'
    assert list_unmarked_of_template(template) == ["Not marked", "Nor that"]
    said = '"""Documentation of it."""\nx = f"Not marked by {who}."\ny = Sentence("k", "It is marked.")'
    found = whole_sentences(ast.parse(said))
    assert list(found) == ["Not marked by …."]
    assert "Not marked" in Shown(without_tags("<p>{{ x }}</p><p>Not marked</p>")).texts
