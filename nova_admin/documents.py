"""Serves docs/*.md and its pictures to whoever is logged in. No HTML in a document is believed.

A document of docs/LANGUAGE/ is shown in place of the English one of its name; its headings keep the English anchors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.generic import TemplateView, View
from django.views.generic.base import TemplateResponseMixin
from markdown_it import MarkdownIt
from markdown_it.token import Token

from migration.core.pages import read_search
from migration.templatetags.migration_pages import note_english, read_title

NAME = re.compile(r"[a-z][a-z_-]*\.(?:md|png|svg)")
PICTURES = {".png": "image/png", ".svg": "image/svg+xml"}
HEADING = re.compile(r"#{1,4} ")
# Of Markdown: what a reader of plain text is not shown, links, and the code that ends a heading.
PLAIN = re.compile(r"[`*|#]|-{3,}")
CODE_AT_END = re.compile(r" `\w+`$")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
MOST_FOUND = 30
# What tests and tools find in the files is for nobody to read.
COMMENT = re.compile(r"^<!--.*?-->\n", re.MULTILINE)
# The documents by what somebody comes for, most used first.
TOPICS = {
    gettext_lazy("Start here"): ("start", "people"),
    gettext_lazy("Migrate clients"): ("migrate", "nova"),
    gettext_lazy("Secrets"): ("secrets",),
    gettext_lazy("Run the site"): ("runbooks", "run", "settings"),
    gettext_lazy("Security and reference"): ("security", "audit", "commands", "reliability"),
}
# Their first headings, in the language of the index.
TITLES = {
    "start": gettext_lazy("Install the site"),
    "people": gettext_lazy("People and roles"),
    "migrate": gettext_lazy("Take clients to AWS"),
    "nova": gettext_lazy("NOVA's side: reader, tables, copies"),
    "secrets": gettext_lazy("Secrets, logins and keys"),
    "runbooks": gettext_lazy("When something is wrong"),
    "run": gettext_lazy("Run the site"),
    "settings": gettext_lazy("Settings"),
    "security": gettext_lazy("Security"),
    "audit": gettext_lazy("The audit"),
    "commands": gettext_lazy("Commands"),
    "reliability": gettext_lazy("Reliability"),
    "architecture": gettext_lazy("Architecture"),
    "performance": gettext_lazy("Performance"),
}
# One sentence each, for the index.
SUMMARIES = {
    "start": gettext_lazy(
        "From an empty server to the first login, and how to remove it all again."
    ),
    "people": gettext_lazy("Invite somebody, what each role may do, second factors, lost phones."),
    "migrate": gettext_lazy(
        "The five phases, what each step checks, campaigns, mismatches, the way back."
    ),
    "nova": gettext_lazy(
        "What NOVA installs, how its writes are counted, new columns, copies of values."
    ),
    "secrets": gettext_lazy(
        "How secrets are named in AWS, login tests, rotation, keys, permissions, cost."
    ),
    "runbooks": gettext_lazy("Every problem that Health can show: what it means and what to do."),
    "run": gettext_lazy("Health checks, notices, backups, upgrades, several hosts."),
    "settings": gettext_lazy("Each setting of the environment, with its default."),
    "security": gettext_lazy(
        "Who can reach what, what is never stored, and what an attacker could do."
    ),
    "audit": gettext_lazy(
        "What is recorded, how it is protected, and how to verify and export it."
    ),
    "commands": gettext_lazy("Each command with its options."),
    "reliability": gettext_lazy("What was tried: kills, outages, full disks, and what came of it."),
    "architecture": gettext_lazy("How the code is laid out."),
    "performance": gettext_lazy("How fast it is, and how that was measured."),
}
# Told below the last topic.
FOR_DEVELOPERS = ("architecture", "performance")
# Former documents, and where people who kept their address are led.
MOVED = {
    "phases.md": "migrate.md",
    "tour.md": "migrate.md#where-to-look",
    "campaigns.md": "migrate.md#campaigns",
    "import.md": "migrate.md#import",
    "leaving.md": "migrate.md#offboarding",
    "reader.md": "nova.md",
    "nova-tables.md": "nova.md#nova-changes-its-tables",
    "counting.md": "nova.md#how-writes-are-counted",
    "copies.md": "nova.md#copies-of-secret-values",
    "roles.md": "people.md",
    "login.md": "people.md",
    "layouts.md": "secrets.md#layouts",
    "logins.md": "secrets.md#login-tests",
    "rotation.md": "secrets.md#rotation",
    "secret-settings.md": "secrets.md#kms-key-and-regions",
    "keys.md": "secrets.md#keys",
    "iam.md": "secrets.md#permissions-in-aws",
    "cost.md": "secrets.md#cost",
    "production.md": "start.md",
    "deploy.md": "start.md",
    "embedded.md": "start.md#try-it",
    "operating.md": "run.md#health",
    "notices.md": "run.md#notices",
    "backup.md": "run.md#backup",
    "upgrading.md": "run.md#upgrade",
    "scaling.md": "run.md#several-hosts",
    "aws-writes.md": "run.md#duplicates-of-the-database",
}


class DocumentListView(TemplateView):
    """The page with the titles of all documents, by topic."""

    template_name = "admin/documents.html"

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        searched = read_search(self.request)
        return super().get_context_data(
            **admin.site.each_context(self.request),
            title=_("Help"),
            searched=searched,
            found=list(islice(search_documents(searched), MOST_FOUND)) if searched else [],
            topics=[(topic, _list_documents(names)) for topic, names in TOPICS.items()],
            for_developers=_list_documents(FOR_DEVELOPERS),
            **kwargs,
        )


class DocumentView(TemplateResponseMixin, View):
    """The page of one document; sends a picture of the documents where the address names one."""

    template_name = "admin/document.html"

    def get(self, request: HttpRequest, name: str) -> HttpResponseBase:
        if name in MOVED:
            return HttpResponseRedirect(MOVED[name])
        path = find_file(name)
        if path.suffix in PICTURES:
            return HttpResponse(path.read_bytes(), PICTURES[path.suffix])
        return self.render_to_response(
            {
                **admin.site.each_context(request),
                "title": read_title(path),
                "above": [(_("Help"), reverse("documents"))],
                "document": render_document(path, path.stat().st_mtime_ns),
                "headings": [each for each in list_headings(path) if each.level > 1],
                "language": find_language(path),
            }
        )


class ListedDocument(NamedTuple):
    """A document in the index, and the language in which it is read here."""

    name: str
    title: str
    summary: str
    language: str


def _list_documents(names: tuple[str, ...]) -> list[ListedDocument]:
    listed = [
        ListedDocument(
            f"{name}.md",
            str(TITLES[name]),
            str(SUMMARIES[name]),
            find_language(find_file(f"{name}.md")),
        )
        for name in names
    ]
    # First what is in the reader's own language, where not all is.
    return sorted(listed, key=lambda each: each.language == "en")


def find_language(path: Path) -> str:
    """Return the language of a document."""
    return path.parent.name if path.parent.parent == _folder() else "en"


class FoundSection(NamedTuple):
    """A section of a document that has all the words that were looked for."""

    document: str
    heading: str
    url: str
    excerpt: str
    language: str


def search_documents(searched: str) -> Iterator[FoundSection]:
    """Yield the sections with these words, those that have one in their heading first."""
    words = searched.casefold().split()
    below = []
    for name in [name for names in (*TOPICS.values(), FOR_DEVELOPERS) for name in names]:
        path = find_file(f"{name}.md")
        for heading, text in _split_into_sections(path):
            shown = heading.plain
            if not all(word in f"{shown} {text}".casefold() for word in words):
                continue
            url = f"{name}.md" if heading.level == 1 else f"{name}.md#{heading.anchor}"
            plain = " ".join(PLAIN.sub("", LINK.sub(r"\1", text)).split())
            section = FoundSection(
                str(TITLES[name]), shown, url, _cut_around(plain, words[0]), find_language(path)
            )
            if any(word in shown.casefold() for word in words):
                yield section
            else:
                below.append(section)
    yield from below


def _cut_around(text: str, word: str) -> str:
    """Return the part of the text around the first of the word, or its beginning."""
    begin = max(0, text.casefold().find(word) - 60)
    begin = text.rfind(" ", 0, begin) + 1 if begin else 0
    return f"{'… ' if begin else ''}{Truncator(text[begin:]).chars(180)}"


class Heading(NamedTuple):
    """A heading of a document, and the name by which links lead to it."""

    level: int
    text: str
    anchor: str

    @property
    def plain(self) -> str:
        """Return it as it is read, without the code that ends it."""
        return PLAIN.sub("", CODE_AT_END.sub("", self.text))


def list_headings(path: Path) -> list[Heading]:
    """Return the headings of a document. One that is translated has the anchors of the English one."""
    lines = [line for line in _read_lines(path) if HEADING.match(line)]
    original = path.parent.parent / path.name
    names = lines
    if find_language(path) != "en":
        names = [line for line in _read_lines(original) if HEADING.match(line)]
    return [
        Heading(line.index(" "), line.lstrip("# "), make_anchor(name.lstrip("# ")))
        for line, name in zip(lines, names, strict=True)
    ]


def _split_into_sections(path: Path) -> Iterator[tuple[Heading, str]]:
    headings, text = iter(list_headings(path)), ""
    heading: Heading | None = None
    for line in _read_lines(path):
        if HEADING.match(line):
            if heading:
                yield heading, text
            heading, text = next(headings), ""
        else:
            text += f"{line}\n"
    if heading:
        yield heading, text


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a document, without those of its blocks of code."""
    lines, is_code = [], False
    for line in COMMENT.sub("", path.read_text(encoding="utf-8")).splitlines():
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code:
            lines.append(line)
    return lines


def _folder() -> Path:
    folder: Path = settings.BASE_DIR / "docs"
    return folder


def find_file(name: str) -> Path:
    """Return the file of this name, in the page's language where there is one; raise Http404 where there is none."""
    if NAME.fullmatch(name):
        for folder in (_folder() / (get_language() or "en").partition("-")[0], _folder()):
            if (folder / name).is_file():
                return folder / name
    raise Http404


@lru_cache(maxsize=64)
def render_document(path: Path, _written_ns: int) -> SafeString:
    """Return the document as HTML, without its first heading, which is the page's."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(COMMENT.sub("", path.read_text(encoding="utf-8")))
    if tokens and tokens[0].tag == "h1":
        tokens = tokens[3:]
    headings = iter([each for each in list_headings(path) if each.level > 1])
    for opening in tokens:
        if opening.type == "heading_open":
            opening.attrSet("id", next(headings).anchor)
        if opening.type in ("fence", "code_block"):
            opening.attrSet("tabindex", "0")
    for token in tokens:
        if token.children:
            token.children = list(drop_dead_links(token.children))
            name_links(token.children, path.parent)
            token.children = list(mark_english_links(token.children, find_language(path)))
    html = markdown.renderer.render(tokens, markdown.options, {})
    # A wide table scrolls in itself, and the keyboard has to come to it.
    html = html.replace("<table>", '<div class="scrolls" tabindex="0"><table>')
    shown: SafeString = mark_safe(html.replace("</table>", "</table></div>"))  # noqa: S308  # it escapes what it is given
    return shown


def drop_dead_links(tokens: list[Token]) -> Iterator[Token]:
    """Yield the tokens without links that lead nowhere here (text stays), and pictures not in docs/."""
    is_kept = True
    for token in tokens:
        if token.type == "link_open":
            # One that is translated lies below the others.
            href = str(token.attrGet("href") or "").removeprefix("../")
            token.attrSet("href", href)
            is_kept = is_document_or_https_address(href)
            token.attrSet("rel", "noopener noreferrer")
        if token.type == "image":
            picture = str(token.attrGet("src") or "").removeprefix("../")
            if not NAME.fullmatch(picture):
                continue
            token.attrSet("src", picture)
        if token.type not in ("link_open", "link_close") or is_kept:
            yield token


def name_links(tokens: list[Token], folder: Path) -> None:
    """Have a link that says only the name of a document's file say its title."""
    for opening, text in pairwise(tokens):
        name = re.fullmatch(r"([\w-]+\.md)(#[\w-]+)?", text.content)
        if opening.type != "link_open" or not name:
            continue
        places = (folder / name[1], folder.parent / name[1])
        text.content = next((read_title(each) for each in places if each.is_file()), text.content)


def mark_english_links(tokens: list[Token], language: str) -> Iterator[Token]:
    """Yield the tokens of a document, with a word after each link to one that isn't in its language, but in English."""
    note = ""
    for token in tokens:
        yield token
        if token.type == "link_open":
            name = str(token.attrGet("href")).partition("#")[0]
            is_document = name.endswith(".md") and NAME.fullmatch(name)
            note = note_english(name, language) if is_document else ""
        elif token.type == "link_close" and note:
            yield Token("html_inline", "", 0, content=note)


def is_document_or_https_address(href: str) -> bool:
    """Say whether a link leads to a document, a picture, a place on its own page, or another site."""
    name = href.partition("#")[0]
    return not name or bool(NAME.fullmatch(name)) or href.startswith("https://")


def make_anchor(heading: str) -> str:
    """Return the name by which links lead to a heading: the code that ends one in words, else as GitHub makes it."""
    if code := re.fullmatch(r"[^`]+ `(\w+)`", heading):
        heading = code[1]
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
