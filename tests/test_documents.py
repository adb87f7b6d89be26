"""The documentation on the site: for whoever is logged in, its links lead somewhere, and no HTML in it is believed."""

import re

import pytest
from django.conf import settings
from django.utils import translation

from migration.templatetags.help_words import WORDS
from migration.templatetags.migration_pages import link_documents
from nova_admin.documents import MOVED, list_headings, make_anchor, read_title, render_document
from tests.factories import VIEW, make_comparison, make_full_client, make_user
from tests.migration.pages import DIFFERENT, EXTRA, REPORT, page_of

DOCUMENTS = sorted(path.name for path in (settings.BASE_DIR / "docs").glob("*.md"))
FILES = sorted((settings.BASE_DIR / "docs").rglob("*.md"))
LIST = "/admin/docs/"
# What is written in italics and is no text of a page: words that are stressed or explained, and what is said elsewhere.
NO_TEXTS = """
X-Forwarded headers of 10.0.0.5 are not believed
"""


@pytest.fixture
def reader(client, db):
    client.force_login(make_user("reader"))
    return client


def test_the_list_names_every_document_and_every_link_leads_somewhere(reader):
    listed = re.findall(r'href="([a-z_-]+\.md)"', reader.get(LIST).content.decode())
    answers = {name: reader.get(LIST + name) for name in listed}
    assert {answer.status_code for answer in answers.values()} == {200}
    pages = {name: answer.content.decode() for name, answer in answers.items()}
    targets = {
        (name, *link.partition("#")[::2])
        for name, page in pages.items()
        for link in re.findall(r'(?:href|src)="([^"]*)"', page.split("<article")[1])
        if not link.startswith(("https://", "/"))
    }

    assert sorted(listed) == DOCUMENTS
    assert len(reader.get(LIST).context["topics"]) == 5
    assert len(targets) > 40
    for name, target, anchor in targets:
        is_there = not target or target in pages or reader.get(LIST + target).status_code == 200
        assert is_there, (name, target)
        assert not anchor or f'id="{anchor}"' in pages[target or name], (name, target, anchor)
    picture = reader.get(f"{LIST}dashboard.png")
    assert picture.headers["Content-Type"] == "image/png"
    assert reader.get(f"{LIST}phases.svg").headers["Content-Type"] == "image/svg+xml"
    # A diagram as text is drawn by the code's host, and not here.
    assert not [name for name, page in pages.items() if "language-mermaid" in page]


@pytest.mark.parametrize("name", MOVED)
def test_a_former_document_leads_to_where_its_text_is(reader, name):
    assert name not in DOCUMENTS

    answer = reader.get(LIST + name)
    page, _mark, anchor = answer.url.partition("#")

    shown = reader.get(LIST + page).content.decode()
    assert answer.status_code == 302
    assert not anchor or f'id="{anchor}"' in shown


def test_every_link_in_a_file_leads_to_a_file_and_a_heading():
    """Those that pages leave out too, as to the studies."""
    links = [
        (path, *link)
        for path in FILES
        for link in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", path.read_text())
    ]

    assert len(links) > 60
    for path, name, anchor in links:
        target = path.parent / name if name else path
        assert target.exists(), (path.name, name)
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in map(make_anchor, headings), (path.name, name, anchor)


def test_only_who_may_enter_the_site_reads_it(client, db):
    client.force_login(make_user("guest", is_staff=False))

    for address in (LIST, f"{LIST}migrate.md", f"{LIST}dashboard.png"):
        assert client.get(address).url.startswith("/admin/login/")


@pytest.mark.parametrize(
    "name", ["..%2F.env", "none.md", "%2Fetc%2Fpasswd", "migrate.md%00", "..%2FREADME.md"]
)
def test_nothing_else_is_served(reader, name):
    assert reader.get(LIST + name).status_code in (400, 404)


def test_no_html_of_a_document_is_believed(tmp_path):
    document = tmp_path / "evil.md"
    document.write_text(
        "# Title\n\n<script>alert(1)</script> <b onclick='x'>b</b>\n\n[a](javascript:alert(1)) [b](../.env)"
        " [c](data:text/html,x) [d](migrate.md) ![e](https://evil.example/x.png)\n\n    <i>code</i>\n"
    )

    html = render_document(document, 0)

    assert "Title" not in html
    assert not re.search(r"<(script|b|i|img)\b", html)
    assert re.findall(r'href="([^"]*)"', html) == ["migrate.md"]


def test_each_word_is_explained_by_a_paragraph_and_a_document(client, db):
    client.force_login(make_user("viewer", *VIEW))
    pk = make_full_client("idom")
    unknown = EXTRA | {"path": "?a240b44e"}
    comparison = make_comparison(pk, "mismatch", slug="idom", mismatches=[DIFFERENT, unknown])
    pages = (
        REPORT,
        page_of("migration_comparison", comparison.pk),
        page_of("credentials_client", pk),
    )

    shown = " ".join(client.get(page).content.decode() for page in pages)

    for word, _text, document in WORDS.values():
        assert f">{word}</summary>" in shown
        assert f'href="{LIST}{document}"' in shown
        assert document in DOCUMENTS


def simplify(text: str) -> str:
    """The text as names of pages and buttons are compared: what is filled in is …"""
    one_line = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"%\(\w+\)[sd]", "…", re.sub(r"(?<=\S)[….:]+$", "", one_line)).lower()


def list_shown_texts(language: str) -> set[str]:
    entry = r"msgid(?:_plural)?" if language == "en" else r"msgstr(?:\[\d\])?"
    found = re.findall(
        rf'^{entry} ((?:"(?:[^"\\]|\\.)*"\n)+)',
        (settings.BASE_DIR / "locale/es/LC_MESSAGES/django.po").read_text(),
        re.MULTILINE,
    )
    return {
        simplify("".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text)).replace('\\"', '"'))
        for text in found
    }


@pytest.mark.parametrize("language", ["en", "es"])
def test_pages_and_buttons_that_documents_name_are_called_so(language):
    """In italics stands what a page shows; a part of a text is at least three words long."""
    shown = list_shown_texts(language)
    stressed = {simplify(text) for text in NO_TEXTS.split("/")} if language == "en" else set()
    files = [path for path in FILES if (path.parent.name == "es") == (language == "es")]
    files += [settings.BASE_DIR / "README.md"] if language == "en" else []
    named = {
        (path.name, simplify(name))
        for path in files
        for name in re.findall(
            r"(?<![\w*])\*(?!\*)([^*\n]+(?:\n[^*\n]+)?)\*(?!\*)",
            re.sub(r"```.*?```|`[^`]*`", "…", path.read_text(), flags=re.DOTALL),
        )
    }
    # "Move back to …" is "Move back to PostgreSQL" on a page.
    parts = (text.split("…") for text in shown if re.search("\\w.*…|….*\\w", text))
    forms = [re.compile(".+".join(map(re.escape, each))) for each in parts]
    alerts = (settings.BASE_DIR / "deploy/alerts.yaml").read_text()
    if language == "en":
        named |= {
            ("alerts.yaml", simplify(name))
            for name in re.findall(r'page "([^"]+)"', alerts, re.IGNORECASE)
        }

    unknown = {
        (file, name)
        for file, name in named
        if name not in shown | stressed
        and not (name.count(" ") >= 2 and any(name in text for text in shown))
        and not any(filled.fullmatch(name) for filled in forms)
    }

    assert len(named) > 30
    assert unknown == set()
    assert stressed <= {name for _file, name in named}


def test_files_that_documents_name_are_there():
    root = settings.BASE_DIR
    documents = [root / "README.md", root / "CONTRIBUTING.md", *FILES]
    folders = (
        "credentials|deploy|locale|migration|nova_admin|nova_credentials|static|templates|tests"
    )
    named = {
        (path.name, name.rstrip("./"))
        for path in documents
        for name in re.findall(rf"`((?:{folders})/[\w./*-]+)[` ]", path.read_text())
    }

    assert len(named) > 50
    assert [each for each in named if not any(root.glob(each[1]))] == []


TRANSLATED = sorted((settings.BASE_DIR / "docs/es").glob("*.md"))


@pytest.mark.parametrize("path", TRANSLATED, ids=lambda path: path.name)
def test_a_translated_document_has_every_heading_command_and_link_of_the_english_one(path):
    original = path.parent.parent / path.name

    def skeleton(document):
        text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
        links = [link.removeprefix("../") for link in re.findall(r"\]\(([^)]*)\)", text)]
        own = [f"{path.name}{link}" if link.startswith("#") else link for link in links]
        return (
            [each.level for each in list_headings(document)],
            [each.anchor for each in list_headings(document)],
            sorted(own),
            re.findall(r"```.*?```", document.read_text(), re.DOTALL),
        )

    assert skeleton(path) == skeleton(original)


def test_who_reads_spanish_is_shown_what_there_is_in_spanish(reader):
    reader.cookies["django_language"] = "es"
    for path in TRANSLATED:
        page = reader.get(LIST + path.name)
        assert page.context["language"] == "es"
        assert read_title(path) in page.content.decode()
    others = reader.get(LIST).context["topics"]
    spoken = {each.name: each.language for _topic, documents in others for each in documents}
    assert {name for name, language in spoken.items() if language == "es"} == {
        path.name for path in TRANSLATED
    }
    # Of each topic those in the reader's language are first.
    for _topic, documents in others:
        languages = [each.language for each in documents]
        assert languages == sorted(languages, reverse=True)


def test_a_link_to_a_page_in_english_says_so_on_a_page_that_is_not():
    says = ">Instalar el sitio</a> <small>en inglés</small>"
    with translation.override("es"):
        assert says in link_documents("docs/start.md, docs/people.md")
        assert link_documents("docs/people.md").endswith("</a>")
    html = render_document(settings.BASE_DIR / "docs/es/runbooks.md", 0)
    assert says in html
    for name, after in re.findall(r'<a href="([a-z-]+\.md)[^>]*>[^<]*</a>(.{17})', html):
        is_english = not (settings.BASE_DIR / "docs/es" / name).is_file()
        assert (after == " <small>en inglés") == is_english
    assert "en inglés" not in render_document(settings.BASE_DIR / "docs/runbooks.md", 0)
    assert link_documents("docs/start.md").endswith("</a>")


def test_sections_are_found_by_their_words_first_those_that_are_called_so(reader):
    found = reader.get(LIST, {"q": "watch time"}).context["found"]
    assert ("migrate.md#campaigns", "Campaigns") in [(each.url, each.heading) for each in found]
    by_heading = reader.get(LIST, {"q": "WORKER taking"}).context["found"][0]
    assert by_heading.url == "runbooks.md#no_worker"
    assert reader.get(LIST, {"q": "no-such-word-anywhere"}).context["found"] == []
    assert "Nothing found" in reader.get(LIST, {"q": "<b>"}).content.decode()


def test_a_heading_in_words_has_its_code_as_anchor_and_a_link_says_a_title(tmp_path):
    (tmp_path / "one.md").write_text("# First things\n")
    two = tmp_path / "two.md"
    two.write_text("# Two\n\n### It stands still `still_there`\nSee [one.md](one.md#x).\n")
    shown = render_document(two, 0)

    assert '<h3 id="still_there">' in shown
    assert ">First things</a>" in shown
