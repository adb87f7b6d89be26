"""Comments on a client: who leaves, reads and takes them back; what is refused; what the audit and the history keep."""

import threading

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from credentials.models import Client
from migration.clients.comments import leave_comment
from migration.models import AuditEvent, ClientComment
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_database, make_full_client, make_user
from tests.migration.clients.page.pages import page
from tests.migration.moves.clients import enter_phase
from tests.migration.pages import text

CLIENT = "/admin/credentials/client"
COMMENT = "migration.set_client_owner"
WAITING = 'Waiting for their DBA.\nAsk <Marta> & "Paco" on Monday.'


@pytest.fixture
def maria(db, client):
    user = make_user("maria", *VIEW, COMMENT)
    client.force_login(user)
    return user


def leave(browser, pk: int, typed: str):
    return browser.post(f"{CLIENT}/{pk}/comment/", {"text": typed}, follow=True)


def take_back(browser, pk: int, comment: int, **more):
    return browser.post(f"{CLIENT}/{pk}/comment/take-back/", {"comment": comment}, **more)


def audited() -> list[tuple[str, str, str, str]]:
    found = AuditEvent.objects.filter(code="comment").order_by("pk")
    return [(entry.who, entry.slug, str(entry.message), entry.reason) for entry in found]


def test_a_comment_is_shown_on_every_tab_and_told_in_the_history_newest_first(maria, client, idom):
    assert page(client, idom).context["comments"] == []
    assert "#comments" not in page(client, idom).content.decode()

    answer = leave(client, idom, WAITING.replace("\n", "\r\n"))
    leave(client, idom, "  Their DBA answered.  ")

    assert answer.redirect_chain[-1][0] == f"{CLIENT}/{idom}/change/#comments"
    assert "Added your comment." in text(answer)
    html = page(client, idom).content.decode()
    assert escape(WAITING) in html
    assert html.index("Their DBA answered.") < html.index("Waiting for")
    for tab in ("overview", "logins", "comparison", "history"):
        assert "2 comments" in text(page(client, idom, tab))
    lines = page(client, idom, "history").context["history"].lines
    assert [(line.text, line.who) for line in lines] == [
        ("Their DBA answered.", "maria"),
        (WAITING, "maria"),
    ]
    first = ClientComment.objects.earliest("pk")
    assert (first.text, first.by_name, first.slug) == (WAITING, "maria", "idom")


def test_the_audit_says_that_it_was_left_and_taken_back_and_nothing_of_its_text(
    maria, client, idom
):
    leave(client, idom, "MARKER-ONE")
    comment = ClientComment.objects.get()

    answer = take_back(client, idom, comment.pk, follow=True)

    assert "Deleted the comment." in text(answer)
    assert not ClientComment.objects.exists()
    left, taken = audited()
    assert left == ("maria", "idom", f"Left comment {comment.pk}.", "")
    assert taken[2].startswith(f"Took back comment {comment.pk}, which maria left at ")
    assert "MARKER-ONE" not in repr(list(AuditEvent.objects.values()))
    assert "MARKER-ONE" not in page(client, idom, "history").content.decode()


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "type a comment first"),
        (" \r\n\t ", "type a comment first"),
        ("é" * 501, "at most 500 characters, and this one has 501"),
        ("' \"" * 1365, "at most 500 characters, and this one has 4,095"),
    ],
)
def test_what_is_empty_or_too_long_is_refused_and_says_so(maria, client, idom, typed, why):
    answer = leave(client, idom, typed)

    assert why in text(answer)
    assert (ClientComment.objects.count(), audited()) == (0, [])


def test_the_longest_is_kept_whole_whatever_ends_its_lines(maria, client, idom):
    longest = "\r\n".join(["'" * 249, "é" * 250])

    leave(client, idom, longest)

    assert ClientComment.objects.get().text == longest.replace("\r\n", "\n")


def test_a_nul_is_no_text(maria, client, idom):
    client.raise_request_exception = False
    assert leave(client, idom, "a\0b").status_code == 400
    assert client.post(f"{CLIENT}/{idom}/comment/").status_code == 302
    assert not ClientComment.objects.exists()


@pytest.mark.parametrize(
    "typed",
    [
        "it is example-password-1, but tell nobody",
        "postgresql://user:p%40ss%20w%C3%B6rd@db.example",
        'password = "p@ss w\\u00f6rd"',
    ],
)
def test_a_secret_value_of_the_client_is_refused_and_left_nowhere(maria, client, idom, typed):
    make_database(idom, db_password_encrypted=" p@ss wörd ", is_primary=False, label="other")

    answer = leave(client, idom, typed)

    assert "holds a secret value of this client" in text(answer)
    assert not ClientComment.objects.exists()
    (entry,) = AuditEvent.objects.filter(code="refusal", slug="idom")
    assert (entry.who, entry.reason) == ("maria", "")
    assert typed not in answer.content.decode() + repr(list(AuditEvent.objects.values()))


def test_what_only_looks_like_a_value_of_another_client_is_taken(maria, client, idom):
    other = make_full_client("other")
    Client.objects.get(pk=other).databases.update(db_password="example-theirs-7")

    leave(client, idom, "They call it example-theirs-7.")

    assert ClientComment.objects.count() == 1


def test_of_a_purged_client_the_pointers_are_no_secret(stores, client):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    Client.objects.get(pk=pk).databases.update(db_password="aws-secretsmanager:nova/clients/idom")
    client.force_login(make_user("maria", *VIEW, COMMENT))

    leave(client, pk, "See aws-secretsmanager:nova/clients/idom")

    assert ClientComment.objects.count() == 1


def test_a_viewer_reads_and_writes_nothing(viewer, idom):
    comment = ClientComment.objects.create(client_id=idom, slug="idom", text=WAITING)

    shown = page(viewer, idom)
    assert "Waiting for their DBA." in text(shown)
    assert "/comment/" not in shown.content.decode()
    assert viewer.post(f"{CLIENT}/{idom}/comment/", {"text": "x"}).status_code == 403
    assert take_back(viewer, idom, comment.pk).status_code == 403
    assert [row.text for row in ClientComment.objects.all()] == [WAITING]


def test_somebody_elses_is_taken_back_by_who_may_take_back_any(maria, client, idom):
    paco = make_user("paco")
    theirs = ClientComment.objects.create(client_id=idom, slug="idom", text="theirs", by=paco)
    html = page(client, idom).content.decode()
    assert "theirs" in html
    assert "take-back" not in html
    assert take_back(client, idom, theirs.pk).status_code == 403
    assert ClientComment.objects.exists()

    boss = make_user("boss", *VIEW)
    boss.groups.add(Group.objects.get(name="Administrator"))
    client.force_login(boss)
    assert "take-back" in page(client, idom).content.decode()
    take_back(client, idom, theirs.pk)

    assert not ClientComment.objects.exists()
    assert audited()[-1][0] == "boss"
    assert ", which paco left at " in audited()[-1][2]


def test_what_is_gone_or_of_another_client_is_not_taken_back(maria, client, idom):
    other = make_full_client("other")
    theirs = ClientComment.objects.create(client_id=other, slug="other", text="theirs", by=maria)

    for number in (theirs.pk, theirs.pk + 1, "x", "9" * 30, "", "-1"):
        answer = take_back(client, idom, number, follow=True)
        assert "That comment no longer exists." in text(answer)
    assert client.post(f"{CLIENT}/999999/comment/", {"text": "x"}).status_code == 404
    assert (ClientComment.objects.count(), audited()) == (1, [])


def test_the_page_shows_the_newest_and_leads_to_the_rest(maria, client, idom, monkeypatch):
    monkeypatch.setattr("migration.clients.comments.COMMENTS_SHOWN", 2)
    for number in range(3):
        leave(client, idom, f"number {number}")

    shown = text(page(client, idom))

    assert "number 0" not in shown
    assert "Older comments are in the history" in shown
    assert "number 0" in text(page(client, idom, "history"))


def test_a_comment_outlives_its_client_and_its_writer_keeps_their_name(maria, client, idom):
    leave(client, idom, "Waiting")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.client_database_credentials; DELETE FROM public.clients")

    kept = ClientComment.objects.get()

    assert (kept.slug, kept.by_name, kept.text) == ("idom", "maria", "Waiting")


def run_together(act, times: int = 2) -> None:
    """Do it in so many threads at once, each with a connection of its own."""
    gate, failed = threading.Barrier(times), []

    def run() -> None:
        try:
            gate.wait(10)
            act()
        except Exception as error:  # noqa: BLE001  # told below
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(times)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert failed == []


def test_a_button_that_is_pressed_twice_leaves_one(stores):
    pk = make_full_client("idom")
    maria, idom = make_user("maria"), Client.objects.get(pk=pk)

    run_together(lambda: leave_comment(idom, "Waiting", by=maria), 4)

    assert ClientComment.objects.count() == 1
    assert len(audited()) == 1
    leave_comment(idom, "Their DBA answered.", by=maria)
    leave_comment(idom, "Waiting", by=maria)
    assert ClientComment.objects.count() == 3


def test_two_people_at_once_take_one_back_once_and_leave_both(stores):
    pk = make_full_client("idom")
    idom = Client.objects.get(pk=pk)
    people = [make_user("maria"), make_user("paco")]
    waiting = iter(people)

    run_together(lambda: leave_comment(idom, "Waiting", by=next(waiting)))
    comment, other = ClientComment.objects.all()
    taken = []
    run_together(lambda: taken.append(ClientComment.objects.take_back(comment, by=people[0])))

    assert sorted(taken) == [False, True]
    assert list(ClientComment.objects.all()) == [other]
    assert len(audited()) == 3


def test_the_database_takes_no_longer_text_either(idom):
    with pytest.raises(IntegrityError):
        ClientComment.objects.create(client_id=idom, slug="idom", text="x" * 501)


def test_the_number_of_queries_does_not_grow_with_the_comments(maria, client, idom):
    leave(client, idom, "one")
    page(client, idom)
    with CaptureQueriesContext(connection) as few:
        page(client, idom)
    for number in range(12):
        leave(client, idom, f"number {number}")

    with CaptureQueriesContext(connection) as many:
        page(client, idom)

    assert len(few) == len(many) > 0
