"""No repr shows a secret value: a field that can hold a text is hidden, or named in `shown_fields.txt` as harmless."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    path
    for package in ("nova_admin", "migration", "credentials", "nova_credentials")
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
)
CLASSES = [
    (path, node)
    for path in MODULES
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.ClassDef)
]
# Containers whose repr shows what is in them.
SHOWS_CONTENT = {"dict", "list", "set", "tuple", "str", "bytes", "UserDict", "SimpleNamespace"}
# Names in the annotation of a field that holds no text. The classes of the packages are looked at themselves.
NO_TEXT = {
    *("None", "bool", "int", "float", "Decimal", "date", "datetime", "timedelta", "UUID", "Lock"),
    *("list", "tuple", "set", "frozenset", "Sequence", "Collection", "IPv4Network", "IPv6Network"),
    *(node.name for _, node in CLASSES if "TypedDict" not in map(ast.unparse, node.bases)),
}
# Texts that a repr may show, as none of them is a secret value. A new field is hidden by `field(repr=False)` or decided
# on there: by its name alone where that says enough, in whatever class; otherwise by class and name.
NO_VALUE = (ROOT / "tests" / "shown_fields.txt").read_text().split()


def find_classes() -> list[type]:
    """Return the dataclasses and named tuples of the packages."""
    found = []
    for path, node in CLASSES:
        decorators = map(ast.unparse, node.decorator_list)
        if any("dataclass" in each for each in decorators) or "NamedTuple" in map(
            ast.unparse, node.bases
        ):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.append(getattr(import_module(module.removesuffix(".__init__")), node.name))
    return found


def find_annotations(cls: Any) -> dict[str, set[str]]:
    """Return, for each field, the names in its annotation, without their modules."""
    types = (
        {each.name: each.type for each in fields(cls)}
        if is_dataclass(cls)
        else {name: cls.__annotations__[name] for name in cls._fields}
    )
    names = {}
    for name, annotation in types.items():
        written = getattr(annotation, "__forward_arg__", annotation)
        text = written if isinstance(written, str) else inspect.formatannotation(written)
        names[name] = set(re.findall(r"(?:\w+\.)*([A-Za-z_]\w*)", text))
    return names


def list_shown(cls: Any) -> list[str]:
    """Return the fields whose content is in the repr of an instance."""
    marks = {name: f"<{name} of it>" for name in find_annotations(cls)}
    if is_dataclass(cls):
        instance = cls.__new__(cls)
        for name, mark in marks.items():
            object.__setattr__(instance, name, mark)
    else:
        instance = cls._make(marks.values())
    shown = repr(instance)
    return [name for name, mark in marks.items() if mark in shown]


def list_shown_texts(cls: type) -> set[str]:
    """Return the shown fields that can hold a text, as class and name."""
    annotations = find_annotations(cls)
    return {f"{cls.__name__}.{name}" for name in list_shown(cls) if annotations[name] - NO_TEXT}


def list_undecided(cls: type) -> set[str]:
    return {
        text
        for text in list_shown_texts(cls)
        if text not in NO_VALUE and text.partition(".")[2] not in NO_VALUE
    }


def test_what_a_repr_shows_is_hidden_or_known_to_be_no_value():
    classes = find_classes()

    assert len(classes) > 200
    assert set().union(*map(list_undecided, classes)) == set()


def test_the_list_has_only_what_is_shown_and_a_name_that_is_hidden_elsewhere_by_class():
    shown, hidden = set(), set()
    for cls in find_classes():
        shown |= list_shown_texts(cls)
        hidden |= {*find_annotations(cls)} - {*list_shown(cls)}

    names = {text.partition(".")[2] for text in shown}
    assert [each for each in NO_VALUE if each not in shown | names] == []
    assert [each for each in NO_VALUE if each in hidden] == []


def test_other_classes_have_no_repr_of_their_own():
    for path, node in CLASSES:
        functions = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
        bases = {ast.unparse(base).partition("[")[0] for base in node.bases}
        if node.name == "EventKind":  # a code
            continue
        assert "__repr__" not in functions, (path, node.name)
        assert not bases & SHOWS_CONTENT, (path, node.name)


@dataclass(frozen=True, slots=True)
class NewClass:
    slug: str
    document: dict[str, object]
    found: int
    body: bytes | None = None
    password: str = field(default="", repr=False)


class NewTuple(NamedTuple):
    slug: str
    token: str
    found: int


@dataclass
class OwnRepr:
    token: str = field(repr=False)

    def __repr__(self) -> str:
        return f"<{self.token}>"


@pytest.mark.parametrize(
    ("cls", "undecided"),
    [
        (NewClass, {"NewClass.document", "NewClass.body"}),
        (NewTuple, {"NewTuple.token"}),
        (OwnRepr, {"OwnRepr.token"}),
    ],
)
def test_a_new_class_that_shows_a_value_is_found(cls, undecided):
    assert list_undecided(cls) == undecided
