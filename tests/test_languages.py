"""English and Spanish: every text has its Spanish, pages show it, and what is stored stays English."""

import ast
import re
import time
from collections.abc import Iterator
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.mofile import read_mo
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from credentials.copying import MODELS
from credentials.localization import localize, localize_html
from credentials.sentences import ROWS
from migration import sentences
from migration.models import (
    ClientMigration,
    Comparison,
    MoveRequest,
    Outcome,
    PhaseChange,
    PhaseChoices,
    Rate,
    ReadCount,
    Resolution,
    Reveal,
    Run,
)
from migration.operations.approvals import ask
from nova_credentials import sentences as shared
from nova_credentials.aws.answers import _ADVICE, ErrorClass, SecretsManagerError
from nova_credentials.messages import SENTENCES, Message, in_a_row
from nova_credentials.phases import IllegalMove, Phase, StalePhase
from tests import messages
from tests.factories import make_client, make_comparison, make_full_client, sent_form
from tests.migration.test_admin import DIFFERENT, text

SPANISH = {"HTTP_ACCEPT_LANGUAGE": "es-MX,es;q=0.9,en;q=0.5"}
CATALOG = messages.translated()
ENTRIES = [entry for entry in CATALOG if entry.id]
MARKED = messages.marked()


def forms(text: str | tuple[str, ...]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def named(entry) -> str:
    return forms(entry.id)[0][:50]


def spanish_of(entries) -> dict[tuple[str, tuple[str, ...]], tuple[str, ...]]:
    def context(entry) -> str:
        return entry.context.decode() if isinstance(entry.context, bytes) else entry.context or ""

    return {(context(entry), forms(entry.id)): forms(entry.string) for entry in entries}


# --- The catalogue


def test_every_text_that_is_marked_has_its_spanish():
    missing = [
        (entry.context, entry.id)
        for entry in MARKED
        if entry.id
        and not ((found := CATALOG.get(entry.id, entry.context)) and messages.filled(found.string))
    ]

    assert missing == []


def test_the_catalogue_holds_nothing_else():
    wanted = {(entry.context, entry.id) for entry in MARKED}

    assert {(entry.context, entry.id) for entry in ENTRIES} - wanted == set()
    assert not CATALOG.obsolete
    assert [entry.id for entry in ENTRIES if entry.fuzzy] == []


@pytest.mark.parametrize("entry", ENTRIES, ids=named)
def test_a_translation_keeps_the_placeholders_of_its_text(entry):
    def marks(text: str) -> list[str]:
        return sorted(re.findall(r"%\(\w+\)[sd]|%%|\{\w*\}|<[^>]+>", text))

    wanted = [marks(form) for form in forms(entry.id)]
    assert [marks(form) for form in forms(entry.string)] == wanted


def test_what_is_compiled_is_what_is_written():
    with messages.MO.open("rb") as file:
        compiled = [entry for entry in read_mo(file) if entry.id]

    assert spanish_of(compiled) == spanish_of(ENTRIES)


# --- What is not marked


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


# Names, and units.
SAME = {"PostgreSQL", "AWS", "s"}
TEMPLATES = sorted((messages.BASE_DIR / "templates").rglob("*.html"))


def without_tags(source: str) -> str:
    source = re.sub(r"(?s){%\s*comment.*?endcomment\s*%}", "", source)
    source = re.sub(r"(?s){%\s*blocktrans.*?endblocktrans\w*\s*%}", "", source)
    return re.sub(r"(?s){%.*?%}|{{.*?}}|{#.*?#}", " ", source)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_text_that_is_not_marked(path: Path):
    source = path.read_text()
    given = re.findall(r"""{%[^%]*\s(?:title|text|label|subtitle)=["']([^"']+)""", source)
    found = [*Shown(without_tags(source)).texts, *given]

    assert [text for text in found if set(re.findall(r"[^\W\d_]+", text)) - SAME] == []


SHOWN_AS = {"title", "description", "label", "help_text", "verbose_name", "search_help_text"}


def unmarked(source: str) -> Iterator[str]:
    """Literals where what stands there is shown to people."""
    for node in ast.walk(ast.parse(source)):
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


def whole_sentences(source: str) -> Iterator[str]:
    """Whole sentences that nothing marks: neither documentation, nor within a call of what marks them."""
    tree = ast.parse(source)
    passed = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in MARKS)
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
        if id(node) not in passed and re.fullmatch(r"(?s)\S.*[a-z]{2} .*[a-z]{2}.*[.:]", text):
            yield text


# What is wrong with the settings is read by whoever starts the process.
MARKS = {*messages.MARKS, messages.SENTENCE, "_", "ImproperlyConfigured"}
# They speak in a terminal, during `migrate` or at the start, or to NOVA.
IN_ENGLISH = (
    "credentials/triggers.py",
    "nova_credentials/reader",
    "nova_credentials/secrets_manager.py",
    "migration/checks.py",
    "migration/management/",
    "nova_admin/",
)
CODE = {
    str(path.relative_to(messages.BASE_DIR)): path.read_text()
    for path in messages.sources()
    if path.suffix == ".py"
}


@pytest.mark.parametrize("path", [path for path in CODE if "embedded" not in path])
def test_code_has_no_text_that_is_not_marked_where_it_is_shown(path):
    assert list(unmarked(CODE[path])) == []


@pytest.mark.parametrize("path", [path for path in CODE if not path.startswith(IN_ENGLISH)])
def test_code_has_no_sentence_that_is_not_marked(path):
    assert list(whole_sentences(CODE[path])) == []


def test_such_a_text_would_be_found():
    assert list(unmarked("messages.error(request, 'Not marked')\nx = {'title': 'Nor this'}")) == [
        "Not marked",
        "Nor this",
    ]
    found = whole_sentences(
        '"""Documentation of it."""\nx = f"Not marked by {who}."\ny = Sentence("k", "It is marked.")'
    )
    assert list(found) == ["Not marked by …."]
    assert "Not marked" in Shown(without_tags("<p>{{ x }}</p><p>Not marked</p>")).texts


# --- Sentences that are stored, printed or raised


# A value of each kind: in English and in Spanish.
VALUES = {
    "n": (65_536, "65,536", "65\xa0536"),
    "day": (date(2026, 12, 24), "2026-12-24", "24 de diciembre de 2026"),
    "rows": ((ROWS["email"](id="3"),), "mail login 3", "acceso a correo 3"),
    "result": (sentences.STATUSES["mismatch"](), "Mismatch", "Discrepancia"),
    "run": (sentences.RUNS["push"](id="1234"), "Push 1234", "Envío 1234"),
    "error": (sentences.NOT_PUSHED_INACTIVE(), "Inactive.", "Inactivo."),
    # A name, or whatever it is, that sounds like a sentence of ours.
    "name": ("Inactive.", "Inactive.", "Inactive."),
}
WHOLE = SENTENCES.values()


def value_of(name: str) -> tuple:
    if name == "ago":
        return timezone.now() - timedelta(minutes=5, seconds=30), "5 minutes", "5\xa0minutos"
    return VALUES.get(name, ("Match", "Match", "Match"))


@pytest.mark.parametrize("sentence", WHOLE, ids=lambda sentence: sentence.key)
def test_a_sentence_is_shown_in_spanish_with_its_values(sentence):
    values = {name: value_of(name) for name in sentence.value_names}
    message = Message.from_json(
        sentence(**{name: value for name, (value, _, _) in values.items()}).to_json()
    )

    assert str(message) == sentence.template % {name: en for name, (_, en, _) in values.items()}
    (found,) = (entry for entry in ENTRIES if sentence.template in forms(entry.id))
    with override("es"):
        spanish = forms(found.string)[-1]
        assert localize(message) == spanish % {name: es for name, (_, _, es) in values.items()}


def test_a_sentence_of_one_and_a_list_are_shown_in_spanish():
    with override("es"):
        assert localize(sentences.HAS_LOGINS(n=1)) == "Tiene 1 acceso."
        assert localize(sentences.MISSING_IN_AWS(names=("a", "b"))) == (
            "AWS no tiene ningún valor con el nombre a o b."
        )
        assert localize(sentences.NO_VALUE_IN_AWS(rows=(ROWS["aws"](id="1"), "b"))) == (
            "AWS no tiene ningún valor para acceso a AWS 1, b."
        )


def test_every_key_is_declared_once_and_is_the_name_of_its_constant():
    found: dict[str, list[str]] = {}
    for source in CODE.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("Sentence("):
                (name,) = node.targets
                key = ast.literal_eval(node.value.args[0])
                found.setdefault(key, []).append(ast.unparse(name).lower())

    assert {key: names for key, names in found.items() if names != [key]} == {}
    labels = {sentence.key for table in LABELS for sentence in table[0].values()}
    assert set(SENTENCES) == set(found) | labels


LABELS = (
    (sentences.STATUSES, Comparison.Status.choices),
    (sentences.OUTCOMES, Outcome.choices),
    (sentences.REQUEST_STATES, MoveRequest.State.choices),
    (shared.PHASES, PhaseChoices.choices),
    (sentences.RUNS, [(kind.value, f"{kind.label} %(id)s") for kind in Run.Kind]),
    (ROWS, [(kind, f"{model._meta.verbose_name} %(id)s") for kind, model in MODELS.items()]),
)


@pytest.mark.parametrize(("declared", "choices"), LABELS)
def test_a_label_within_a_sentence_is_the_one_that_pages_show(declared, choices):
    with override("en"):
        labels = {key: str(label) for key, label in choices}

    assert {key: sentence.template for key, sentence in declared.items()} == labels


@pytest.mark.parametrize("code", [*_ADVICE, "AccessDeniedException", "ThrottlingException"])
@pytest.mark.parametrize("error_class", ErrorClass)
def test_an_error_of_aws_is_told_in_spanish(code, error_class):
    error = SecretsManagerError(error_class, code, "PutSecretValue", "nova/clients/idom")
    with override("es"):
        found = localize(error.message)

    assert found.startswith(f"PutSecretValue falló para el secreto 'nova/clients/idom' con {code}:")
    assert english(found) == []


def test_refusals_of_a_move_are_told_in_spanish():
    with override("es"):
        assert localize(IllegalMove("idom", Phase.DUAL_READ, Phase.PURGED).message) == (
            "idom está en dual_read: puede pasar a aws o dual_write, no a purged."
        )
        assert localize(StalePhase("idom", Phase.AWS, Phase.PURGED).message).startswith(
            "idom ya no está en aws"
        )


def test_a_sentence_of_an_earlier_release_is_left_and_marked_as_english():
    with override("es"):
        assert localize_html(Message.of_text("<b>Inactive.")) == (
            '<span lang="en">&lt;b&gt;Inactive.</span>'
        )
        assert localize_html(sentences.NOT_PUSHED_INACTIVE()) == "Inactivo."
        assert localize_html(None) == ""


# --- What somebody typed


# Sentences of ours, alone, in a row, and after other words: none of them may be taken for one.
TYPED = [
    "Customer asked for it. Inactive.",
    "As agreed by phone with ops (asked for by the CFO)",
    "Migration 12",
    "No credentials.",
    "Match",
]


@pytest.mark.parametrize("typed", TYPED)
def test_what_somebody_typed_stays_as_it_is_on_every_page(stores, root, client, typed):
    pk = make_full_client("idom")
    url = reverse("admin:credentials_client_move", args=[pk])
    sent = {"new": "dual_write", "seen": "postgres", "reason": typed}
    assert client.post(url, sent, **SPANISH).status_code == 302
    user = User.objects.get(username="root")
    make_comparison(pk, "mismatch", slug="idom", mismatches=[DIFFERENT])
    Resolution.objects.create(client_id=pk, slug="idom", kind="to_aws", by=user, reason=typed)
    asked = ask_for_cutover(pk, user, reason=typed)
    Reveal.objects.create(
        client_id=pk, slug="idom", kind="database", credential_id=1, field="db_password", by=user,
        username="root", reason=typed,
    )  # fmt: skip

    assert PhaseChange.objects.get().reason == typed
    page = text(client.get(reverse("admin:credentials_client_change", args=[pk]), **SPANISH))
    assert f"Movido de PostgreSQL a Escritura doble por root: {typed.removesuffix('.')}" in page
    assert page.count(typed.removesuffix(".")) >= 4
    assert typed in text(client.get("/admin/", **SPANISH))
    shown = client.get(reverse("admin:migration_moverequest_change", args=[asked.pk]), **SPANISH)
    assert typed in text(shown)


def ask_for_cutover(pk: int, by: User, *, reason: str) -> MoveRequest:
    return MoveRequest.objects.create(
        client_id=pk, slug="idom", old="dual_read", new="aws", requested_by=by, reason=reason
    )


def test_a_long_reason_of_repeated_sentences_is_refused_and_an_old_one_costs_nothing(
    stores, root, client
):
    """Of 300 of them the page failed for everybody who reads Spanish, and 60 kB took it 20 seconds."""
    pk = make_full_client("idom")
    typed = "Inactive. No credentials. " * 300
    url = reverse("admin:credentials_client_move", args=[pk])
    sent = {"new": "dual_write", "seen": "postgres", "reason": typed}
    refused = client.post(url, sent, follow=True, **SPANISH)
    assert "No se hizo nada: un motivo admite hasta 500 caracteres, y este tiene 7" in text(refused)
    assert not PhaseChange.objects.exists()

    for old in (typed, "Its secret is to be deleted. " * 2_100):
        PhaseChange.objects.create(
            client_id=pk, slug="idom", old="aws", new="dual_read", note=Message.of_text(old)
        )
        began = time.perf_counter()
        page = client.get(reverse("admin:credentials_client_change", args=[pk]), **SPANISH)
        assert page.status_code == 200
        assert f'<span lang="en">{old}</span>' in page.content.decode()
        assert client.get("/admin/", **SPANISH).status_code == 200
        assert time.perf_counter() - began < 10


# --- The language of a page


def language_of(response) -> str:
    return re.search(r'<html lang="([\w-]+)"', response.content.decode())[1]


@pytest.fixture
def root(db, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("es", "es"), ("es-AR,es;q=0.8", "es"), ("en-GB", "en"), ("de, es;q=0.5", "es"), ("de", "en")],
)
def test_the_browser_chooses_the_language(client, db, accepted, language):
    response = client.get("/admin/login/", HTTP_ACCEPT_LANGUAGE=accepted)

    assert language_of(response) == language
    assert ("Iniciar sesión" in text(response)) == (language == "es")
    assert response["Content-Language"] == language


def test_the_switch_wins_over_the_browser_and_stays(db):
    browser = Browser(enforce_csrf_checks=True)
    page = browser.get("/admin/login/?next=/admin/", **SPANISH)
    form = re.search(r'(?s)<form[^>]+action="/i18n/setlang/".*?</form>', page.content.decode())[0]
    sent = dict(re.findall(r'name="(\w+)" value="([^"]+)"', form)) | {"language": "en"}

    answer = browser.post("/i18n/setlang/", sent, **SPANISH)

    assert answer.url == "/admin/login/?next=/admin/"
    assert language_of(browser.get("/admin/login/", **SPANISH)) == "en"
    browser.force_login(User.objects.create_superuser("root"))
    assert language_of(browser.get("/admin/", **SPANISH)) == "en"


def test_the_switch_leads_to_no_other_site_and_wants_its_token(db):
    browser = Browser(enforce_csrf_checks=True)
    assert browser.post("/i18n/setlang/", {"language": "es"}).status_code == 403

    answer = Browser().post("/i18n/setlang/", {"language": "es", "next": "https://evil.example/"})
    assert answer.url == "/"


@pytest.mark.parametrize("name", ["credentials_client", "migration_run", "auth_user"])
def test_the_switch_is_on_lists_and_forms(root, name):
    there = make_full_client("idom") if name == "credentials_client" else 0
    pages = [reverse(f"admin:{name}_changelist")]
    pages += [reverse(f"admin:{name}_change", args=[there])] if there else []
    for page in pages:
        html = root.get(page).content.decode()
        assert html.count('action="/i18n/setlang/"') == 1, page
        assert f'name="next" value="{page}"' in html


def test_from_the_answer_to_a_form_the_switch_leads_where_a_link_may(root):
    page = root.post(reverse("admin:credentials_client_add"), {}).content.decode()

    assert re.search(r'name="next" value="([^"]+)"', page)[1] == "/admin/"


def test_an_answer_is_kept_apart_by_language(root):
    assert "Accept-Language" in root.get("/admin/")["Vary"]


# --- Pages in Spanish


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


NOTES = {
    "dual_read": sentences.MOVED_BY_RUN(run=sentences.RUNS["migrate"](id="7")),
    "aws": sentences.ASKED_FOR_BY(who="ana"),
    "purged": in_a_row(
        sentences.COPIED_TO_POSTGRES(), sentences.ONLY_IN_POSTGRES(rows=(ROWS["email"](id="3"),))
    ),
}


def make_world() -> dict[str, int]:
    """Something of everything that a page can tell, under large numbers."""
    root = User.objects.get(username="root")
    ids = {phase: make_full_client(f"idom_{phase}") for phase in Phase}
    ids["broken"] = make_client("café norte", name="Norte")
    error = SecretsManagerError(
        ErrorClass.PERMISSION, "AccessDeniedException", "GetSecretValue", "nova/clients/x"
    )
    for phase in list(Phase)[1:]:
        pk, slug = ids[phase], f"idom_{phase}"
        ClientMigration.objects.create(client_id=pk, phase=phase)
        PhaseChange.objects.create(
            client_id=pk,
            slug=slug,
            old="postgres",
            new=phase,
            reason="CHG-1",
            note=NOTES.get(phase),
            by=root,
        )
        ReadCount.objects.create(
            client_id=pk, reads=12_345, matches=12_000, mismatches=345, aws_failures=2,
            last_read_at=timezone.now(), last_mismatch_at=timezone.now() - timedelta(minutes=3),
        )  # fmt: skip
    make_comparison(ids["dual_write"], "missing_in_aws", slug="idom_dual_write",
        message=sentences.MISSING_IN_AWS(names=("nova/clients/idom_dual_write",)))  # fmt: skip
    make_comparison(ids["dual_read"], "mismatch", slug="idom_dual_read", mismatches=[DIFFERENT])
    make_comparison(
        ids["aws"], "unchecked", slug="idom_aws", message=error.message, error_class="permission"
    )
    make_comparison(ids["purged"], "match", slug="idom_purged")
    for kind, message in (
        ("check", sentences.STATUSES["mismatch"]()),
        ("to_aws", sentences.OUTCOMES["updated"]()),
        ("to_postgres", None),
    ):
        Resolution.objects.create(
            client_id=ids["aws"],
            slug="idom_aws",
            kind=kind,
            message=message,
            by=root,
            reason="CHG-3",
        )
    run = Run.objects.create(kind=Run.Kind.MIGRATE, by=root)
    run.add_items([(ids[phase], f"idom_{phase}") for phase in Phase])
    failed, skipped, waits, *_others = run.items.order_by("pk")
    run.items.filter(pk=failed.pk).update(
        outcome=Outcome.FAILED,
        error_class="permission",
        message=error.message,
        finished_at=timezone.now(),
    )
    run.items.filter(pk=skipped.pk).update(
        outcome=Outcome.SKIPPED, message=sentences.NOT_PUSHED_EMPTY(), finished_at=timezone.now()
    )
    run.items.filter(pk=waits.pk).update(
        error_class="throttled", message=sentences.POSTPONED(),
        next_try_at=timezone.now(), attempts=1,
    )  # fmt: skip
    Rate.objects.set_rates({Rate.Kind.WRITE: 2.5, Rate.Kind.READ: 1234.5})
    return ids | {"run": run.pk}


@pytest.fixture
def world(stores, client, settings) -> dict[str, int]:
    settings.NOVA_REQUIRE_APPROVAL = True
    root = User.objects.create_superuser("root", password="example-password-9")
    client.force_login(root)
    ids = make_world()
    asker = User.objects.create_superuser("asker")
    with override("es"):  # as within a request
        asked = ask(client_id=ids["dual_read"], new=Phase.AWS, by=asker, reason="CHG-4")
    return ids | {"request": asked.pk, "comparison": Comparison.objects.order_by("pk").last().pk}


def addresses(world: dict[str, int]) -> Iterator[str]:
    yield from ("/admin/", "/admin/login/", "/admin/password_change/")
    for name in (
        "credentials_client",
        "migration_run",
        "migration_comparison",
        "migration_moverequest",
        "auth_user",
        "auth_group",
    ):
        yield reverse(f"admin:{name}_changelist")
    report = reverse("admin:migration_comparison_report")
    yield from (report, f"{report}?status=unchecked", f"{report}?status=mismatch&state=open")
    for phase in (*Phase, "broken"):
        yield reverse("admin:credentials_client_change", args=[world[phase]])
        yield reverse("admin:credentials_client_versions", args=[world[phase]])
    for old, new in (("aws", "purged"), ("dual_read", "aws"), ("dual_write", "dual_read")):
        yield reverse("admin:credentials_client_dialog", args=[world[old], new])
    yield reverse("admin:credentials_client_add")
    yield reverse("admin:credentials_client_add_form")
    yield reverse("admin:credentials_client_history", args=[world["aws"]])
    yield reverse("admin:auth_user_add")
    yield reverse("admin:migration_run_change", args=[world["run"]])
    yield reverse("admin:migration_run_live", args=[world["run"]])
    yield reverse("admin:migration_comparison_change", args=[world["comparison"]])
    yield reverse("admin:migration_moverequest_change", args=[world["request"]])


def test_no_page_shows_english_where_spanish_is_wanted(world, client):
    found = {}
    for address in addresses(world):
        response = client.get(address, follow=True, **SPANISH)
        assert response.status_code == 200, address
        shown = Shown(response.content.decode()).texts
        found[address] = [(text.strip(), rest) for text in shown if (rest := english(text))]

    assert {address: texts for address, texts in found.items() if texts} == {}


def test_a_refused_form_is_told_in_spanish(world, client):
    add = reverse("admin:credentials_client_add")
    sent = {
        "name": "Sur",
        "slug": "sur/este",
        "email-sender_whitelist": "xx",
        "email-email_user": "x",
    }
    refused = client.post(add, sent, **SPANISH)
    shown = Shown(refused.content.decode()).texts

    assert [text for text in shown if english(text)] == []
    assert "con una «/» en el slug" in text(refused)
    chosen = {"action": "cut_over", "_selected_action": [world["dual_read"], world["aws"]]}
    bulk = client.post(reverse("admin:credentials_client_changelist"), chosen, **SPANISH)
    assert [text for text in Shown(bulk.content.decode()).texts if english(text)] == []


def test_numbers_within_attributes_keep_their_point(world, client):
    for address in addresses(world):
        page = Shown(client.get(address, follow=True, **SPANISH).content.decode())
        numbers = (
            "value",
            "style",
            "width",
            "height",
            "x",
            "y",
            "viewbox",
            "max",
            "min",
            "step",
            "placeholder",
        )
        assert [
            (name, value)
            for name, value in page.attributes
            if (name in numbers and re.search(r"\d,\d", value))
            or (name in ("href", "action", "hx-get", "value") and "\xa0" in value)
        ] == [], address
    run = client.get(reverse("admin:migration_run_change", args=[world["run"]]), **SPANISH)
    assert 'value="2.5"' in run.content.decode()
    assert "12\xa0345" in client.get(
        reverse("admin:credentials_client_change", args=[world["aws"]]), **SPANISH
    ).content.decode().replace("&nbsp;", "\xa0")


def test_what_is_stored_is_english_whoever_asked_for_it(world, client):
    asked = MoveRequest.objects.get(pk=world["request"])
    assert asked.reasons
    for reason in asked.reasons:
        assert reason.text == str(reason)
        with override("es"):
            assert localize(reason) != reason.text
            assert english(localize(reason)) == []

    resolve = reverse("admin:credentials_client_resolve", args=[world["dual_write"]])
    answer = client.post(resolve, {"kind": "check"}, follow=True, **SPANISH)

    assert Resolution.objects.first().message == sentences.STATUSES["missing_in_aws"]()
    assert "Comprobado de nuevo. Falta en AWS" in text(answer)


def test_a_time_in_a_reason_that_was_stored_ages(world, client):
    asked = MoveRequest.objects.get(pk=world["request"])
    newest = Comparison.objects.newest().get(client_id=asked.client_id)
    (stored,) = (r for r in asked.reasons if r.key == sentences.NEWEST_COMPARISON.key)
    assert stored.values["ago"] == newest.compared_at
    assert stored.text == "Newest comparison: Mismatch, 0 minutes ago."

    later = newest.compared_at - timedelta(hours=3)
    asked.reasons = [sentences.NEWEST_COMPARISON(result=newest.result, ago=later)]
    asked.save()

    page = client.get(reverse("admin:migration_moverequest_changelist"), **SPANISH)
    assert "Última comparación: Discrepancia, hace 3 horas." in text(page)


def test_a_client_that_is_added_in_spanish_is_logged_for_both_languages(root):
    add = reverse("admin:credentials_client_add")
    typed = {
        "name": "Sur",
        "slug": "sur",
        "aws-access_key_id": "AKIAEXAMPLE",
        "aws-secret_access_key": "example-secret-1",
        "aws-region": "us-east-1",
    }
    sent = sent_form(root.get(add).content.decode(), "onboard_form") | typed

    added = root.post(add, sent, follow=True, **SPANISH)

    assert "Se añadió Sur, con: acceso a AWS." in text(added)
    history = reverse("admin:credentials_client_history", args=[added.context["original"].pk])
    assert "acceso a AWS" not in text(root.get(history))
