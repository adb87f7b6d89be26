"""The catalogue of translations, and what a person reads of a page."""

import re
from html.parser import HTMLParser

from tests import messages

SPANISH = {"HTTP_ACCEPT_LANGUAGE": "es-MX,es;q=0.9,en;q=0.5"}
CATALOG = messages.translated()
ENTRIES = [entry for entry in CATALOG if entry.id]


def forms(text: str | tuple[str, ...]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


class Shown(HTMLParser):
    """What a person reads of a page: texts, and the attributes that are read out or shown."""

    VOID = ("input", "br", "link", "meta", "img", "hr")
    UNREAD = ("script", "style", "code", "pre", "template")

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.silent: list[bool] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.attributes += given.items()
        self.texts += [
            given[name] for name in ("title", "aria-label", "placeholder", "alt") if name in given
        ]
        if tag not in self.VOID:
            unread = tag in self.UNREAD or "material-symbols" in given.get("class", "")
            self.silent.append(unread or (given.get("lang") in ("en", "es") and tag == "button"))

    def handle_endtag(self, tag):
        if tag not in self.VOID and self.silent:
            self.silent.pop()

    def handle_data(self, data):
        if not any(self.silent):
            self.texts.append(data)


CODE = {
    str(path.relative_to(messages.BASE_DIR)): path.read_text()
    for path in messages.sources()
    if path.suffix == ".py"
}
# Words that no Spanish text has, nor any name in these tests.
ENGLISH_WORDS = set(
    re.findall(
        r"\w+",
        "the of is and it not with was are from by this there for which what who an be to been"
        " its have has will can",
    )
)
ENGLISH_TEXTS = {
    form
    for entry in ENTRIES
    for form, spanish in zip(forms(entry.id), forms(entry.string), strict=True)
    if form != spanish and not re.search(r"%\(\w+\)[sd]", form)
} - {"or", "Slug", "port", "Filter"}


def english(text: str) -> list[str]:
    """What is English in it; the names of characters, in capitals, are the same everywhere."""
    plain = " ".join(text.split())
    words = {word.lower() for word in re.findall(r"[^\W\d_]+", plain) if not word.isupper()}
    return [plain] if plain in ENGLISH_TEXTS else sorted(words & ENGLISH_WORDS)
