"""The catalogue of translations: what is marked in code and templates, `locale/`, and how both are kept the same.

`python -m tests.messages` adds what is new to the .po (empty: somebody has to translate it), drops what is gone, and
compiles it. In Python, as gettext's tools are not everywhere.
"""

import ast
import gettext
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import django
import unfold
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation import templatize

BASE_DIR = Path(__file__).resolve().parent.parent
APPS = ("credentials", "migration", "nova_admin", "nova_credentials")
PO = BASE_DIR / "locale/es/LC_MESSAGES/django.po"
MO = PO.with_suffix(".mo")
MARKING = "django.utils.translation"
MARKS = {"gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}
# What `nova_credentials.messages` declares sentences with.
SENTENCE = "Sentence"
TEMPLATE_MARK = re.compile(
    r"""(?<!\w)(?:_|n?gettext)\(\s*u?(?P<one>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""(?:\s*,\s*u?(?P<many>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))?"""
)
Text = str | tuple[str, str]  # one form or two
# Django's texts that people see here and whose Spanish is ours: its own is not that of the rest of the site.
OF_DJANGO: tuple[Text, ...] = (
    "Enter the same password as before, for verification.",
    "The password is too similar to the %(verbose_name)s.",
    "The two password fields didn’t match.",
    "This password is entirely numeric.",
    "This password is too common.",
    "Your old password was entered incorrectly. Please enter it again.",
    "Your password can’t be a commonly used password.",
    "Your password can’t be entirely numeric.",
    "Your password can’t be too similar to your other personal information.",
    (
        "Your password must contain at least %(min_length)d character.",
        "Your password must contain at least %(min_length)d characters.",
    ),
    "The {name} “{obj}” was added successfully.",
    "The {name} “{obj}” was changed successfully.",
    "The %(name)s “%(obj)s” was deleted successfully.",
)
CHANGING = (b'"Project', b'"Report', b'"POT', b'"PO-', b'"Last', b'"Language-Team', b'"Generated')


def in_code(source: str) -> Iterator[Text]:
    """The texts within calls of what marks them, under whatever name it was imported, and the sentences."""
    tree = ast.parse(source)
    names = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == MARKING
        for name in node.names
        if name.name in MARKS
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in names:
                yield from _called(node)
            elif node.func.id == SENTENCE:
                yield from _declared(node)


def _called(node: ast.Call) -> Iterator[Text]:
    texts = [
        argument.value
        for argument in node.args[:2]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
    if len(node.args) > 2 and texts:
        yield texts[0], texts[1]
    else:
        yield from texts


def _declared(node: ast.Call) -> Iterator[Text]:
    """The template, with that for one where there is one, and the glue if it is a word."""
    template = ast.literal_eval(node.args[1])
    more = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
    yield (more["one"], template) if "one" in more else template
    if more.get("glue", "").strip(" ,"):
        yield more["glue"]


def in_template(source: str) -> Iterator[Text]:
    for found in TEMPLATE_MARK.finditer(templatize(source)):
        one, many = (found[name] and ast.literal_eval(found[name]) for name in ("one", "many"))
        yield (one, many) if many else one


def sources() -> list[Path]:
    code = [path for app in APPS for path in (BASE_DIR / app).rglob("*.py")]
    templates = (BASE_DIR / "templates").rglob("*.html")
    return sorted([path for path in code if "migrations" not in path.parts] + list(templates))


def marked() -> Catalog:
    """Everything that is marked, and what Unfold says that Django doesn't translate."""
    found = Catalog(locale="es", domain="django")
    for path in sources():
        extract = in_code if path.suffix == ".py" else in_template
        for text in extract(path.read_text()):
            found.add(text, locations=[(str(path.relative_to(BASE_DIR)), 0)])
    for text in OF_DJANGO:
        found.add(text, locations=[("django", 0)])
    for text in of_unfold():
        if text not in found:
            found.add(text, locations=[("unfold", 0)])
    return found


def of_unfold() -> list[str | tuple[str, str]]:
    """What Unfold's templates say and Django's own Spanish has not."""
    folder = Path(unfold.__file__).parent
    known = [
        gettext.translation("django", path, ["es"])
        for path in Path(django.__file__).parent.rglob("locale")
    ]
    found: dict[str | tuple[str, str], None] = {}
    for path in sorted([*(folder / "templates").rglob("*.html"), *folder.glob("*.py")]):
        extract = in_code if path.suffix == ".py" else in_template
        for text in extract(path.read_text()):
            one = text if isinstance(text, str) else text[0]
            if all(django_s.gettext(one) == one for django_s in known):
                found[text] = None
    return list(found)


def translated() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="es", domain="django")


def compiled(catalog: Catalog) -> bytes:
    catalog.creation_date = datetime(1970, 1, 1, tzinfo=UTC)  # the same at every run
    file = BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def written(catalog: Catalog) -> bytes:
    """The .po, with no line in it that changes by itself."""
    catalog.header_comment = "# The site's texts in Spanish; `make messages` renews it."
    file = BytesIO()
    write_po(file, catalog, width=120, include_lineno=False, sort_output=True, ignore_obsolete=True)
    lines = file.getvalue().splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(CHANGING))


def main() -> None:
    catalog = translated()
    catalog.update(marked(), no_fuzzy_matching=True)
    PO.write_bytes(written(catalog))
    MO.write_bytes(compiled(translated()))
    missing = [entry.id for entry in catalog if entry.id and not filled(entry.string)]
    sys.stdout.write(f"{len(catalog)} texts, {len(missing)} to be translated\n")
    sys.exit(1 if missing else 0)


def filled(string: str | tuple[str, ...] | list[str] | None) -> bool:
    """Whether every form is translated; Babel has None where there is none yet."""
    return bool(string) and all([string] if isinstance(string, str) else string or ())


if __name__ == "__main__":
    main()
