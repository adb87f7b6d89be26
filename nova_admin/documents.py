"""Serves docs/*.md and its pictures to whoever is logged in. No HTML in a document is believed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from django.conf import settings
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.generic import TemplateView, View
from django.views.generic.base import TemplateResponseMixin
from markdown_it import MarkdownIt
from markdown_it.token import Token

NAME = re.compile(r"[a-z][a-z_-]*\.(?:md|png|svg)")
PICTURES = {".png": "image/png", ".svg": "image/svg+xml"}
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
        return super().get_context_data(
            **admin.site.each_context(self.request),
            title=_("Help"),
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
            }
        )


def _list_documents(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(f"{name}.md", str(TITLES[name])) for name in names]


def _folder() -> Path:
    folder: Path = settings.BASE_DIR / "docs"
    return folder


def find_file(name: str) -> Path:
    """Return the file of this name in docs/; raise Http404 where there is none."""
    path = _folder() / name
    if not NAME.fullmatch(name) or not path.is_file():
        raise Http404
    return path


def read_title(path: Path) -> str:
    """Return the first heading of a document."""
    with path.open(encoding="utf-8") as lines:
        return next((line[2:].strip() for line in lines if line.startswith("# ")), path.stem)


@lru_cache(maxsize=64)
def render_document(path: Path, _written_ns: int) -> SafeString:
    """Return the document as HTML, without its first heading, which is the page's."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(COMMENT.sub("", path.read_text(encoding="utf-8")))
    if tokens and tokens[0].tag == "h1":
        tokens = tokens[3:]
    for opening, content in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", make_anchor(content.content))
        if opening.type in ("fence", "code_block"):
            opening.attrSet("tabindex", "0")
    for token in tokens:
        if token.children:
            token.children = list(drop_dead_links(token.children))
            name_links(token.children, path.parent)
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
            is_kept = is_document_or_https_address(str(token.attrGet("href") or ""))
            token.attrSet("rel", "noopener noreferrer")
        if token.type == "image" and not NAME.fullmatch(str(token.attrGet("src") or "")):
            continue
        if token.type not in ("link_open", "link_close") or is_kept:
            yield token


def name_links(tokens: list[Token], folder: Path) -> None:
    """Have a link that says only the name of a document's file say its title."""
    for opening, text in pairwise(tokens):
        name = re.fullmatch(r"([\w-]+\.md)(#[\w-]+)?", text.content)
        if opening.type == "link_open" and name and (folder / name[1]).is_file():
            text.content = read_title(folder / name[1])


def is_document_or_https_address(href: str) -> bool:
    """Say whether a link leads to a document, a picture, a place on its own page, or another site."""
    name = href.partition("#")[0]
    return not name or bool(NAME.fullmatch(name)) or href.startswith("https://")


def make_anchor(heading: str) -> str:
    """Return the name by which links lead to a heading: the code that ends one in words, else as GitHub makes it."""
    if code := re.fullmatch(r"[^`]+ `(\w+)`", heading):
        heading = code[1]
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
