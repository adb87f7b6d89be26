"""Comments on a client: who leaves, reads and takes them back; what is refused; what the audit and the history keep."""

import threading

import pytest
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
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
    return browser.post(f"{CLIENT}/{pk}/comment/", {"text": typed})


def take_back(browser, pk: int, comment: int):
    return browser.post(f"{CLIENT}/{pk}/comment/take-back/", {"comment": comment})


def audited() -> list[tuple[str, str, str, str]]:
    found = AuditEvent.objects.filter(code="comment").order_by("pk")
    return [(entry.who, entry.slug, str(entry.message), entry.reason) for entry in found]


def newest_message(response) -> str:
    return [str(each) for each in get_messages(response.wsgi_request)][-1]


def test_a_comment_is_shown_on_every_tab_told_in_the_history_and_taken_back(maria, client, idom):
    shown = page(client, idom)
    assert shown.context["comments"] == []
    assert "#comments" not in shown.content.decode()

    answer = leave(client, idom, WAITING.replace("\n", "\r\n"))
    leave(client, idom, "  Their DBA answered.  ")

    assert answer.url == f"{CLIENT}/{idom}/change/#comments"
    assert newest_message(answer) == "Added your comment."
    html = page(client, idom).content.decode()
    assert escape(WAITING) in html
    assert html.index("Their DBA answered.") < html.index("Waiting for")
    for tab in ("overview", "logins", "comparison", "history"):
        shown = page(client, idom, tab)
        assert "2 comments" in text(shown)
    lines = shown.context["history"].lines
    assert [(line.text, line.who) for line in lines] == [
        ("Their DBA answered.", "maria"),
        (WAITING, "maria"),
    ]
    first, second = ClientComment.objects.order_by("pk")
    assert (first.text, first.by_name, first.slug) == (WAITING, "maria", "idom")

    # A viewer reads and writes nothing.
    client.force_login(make_user("viewer", *VIEW))
    shown = page(client, idom)
    assert "Waiting for their DBA." in text(shown)
    assert "/comment/" not in shown.content.decode()
    assert leave(client, idom, "x").status_code == 403
    assert take_back(client, idom, first.pk).status_code == 403
    assert ClientComment.objects.count() == 2
    client.force_login(maria)

    answer = take_back(client, idom, second.pk)

    assert newest_message(answer) == "Deleted the comment."
    assert ClientComment.objects.get() == first
    # The audit says both, and nothing of the text.
    *left, taken = audited()
    assert left == [("maria", "idom", f"Left comment {each.pk}.", "") for each in (first, second)]
    assert taken[2].startswith(f"Took back comment {second.pk}, which maria left at ")
    assert "DBA" not in repr(list(AuditEvent.objects.values()))
    assert "Their DBA answered." not in page(client, idom, "history").content.decode()


def test_what_is_no_comment_or_holds_a_secret_value_is_refused_and_left_nowhere(
    maria, client, idom
):
    make_database(idom, db_password_encrypted=" p@ss wörd ", is_primary=False, label="other")
    for typed, why in (
        ("", "type a comment first"),
        (" \r\n\t ", "type a comment first"),
        ("é" * 501, "at most 500 characters, and this one has 501"),
        ("' \"" * 1365, "at most 500 characters, and this one has 4,095"),
    ):
        assert why in newest_message(leave(client, idom, typed))
        assert (ClientComment.objects.count(), audited()) == (0, [])
    secrets = (
        "it is example-password-1, but tell nobody",
        "postgresql://user:p%40ss%20w%C3%B6rd@db.example",
        'password = "p@ss w\\u00f6rd"',
    )
    for typed in secrets:
        answer = leave(client, idom, typed)

        assert "holds a secret value of this client" in newest_message(answer)
        assert not ClientComment.objects.exists()
        told = AuditEvent.objects.filter(code="refusal", slug="idom")
        assert [(entry.who, entry.reason) for entry in told] == [("maria", "")]
        shown = page(client, idom).content.decode()
        assert typed not in shown + repr(list(AuditEvent.objects.values()))
    client.raise_request_exception = False
    assert leave(client, idom, "a\0b").status_code == 400
    assert client.post(f"{CLIENT}/{idom}/comment/").status_code == 302
    assert not ClientComment.objects.exists()


def test_the_longest_and_what_only_looks_like_a_value_of_another_client_is_taken(
    maria, client, idom
):
    other = make_full_client("other")
    Client.objects.get(pk=other).databases.update(db_password="example-theirs-7")
    longest = "\r\n".join(["'" * 249, "é" * 250])

    leave(client, idom, longest)
    leave(client, idom, "They call it example-theirs-7.")

    kept = ClientComment.objects.order_by("pk").values_list("text", flat=True)
    assert list(kept) == [longest.replace("\r\n", "\n"), "They call it example-theirs-7."]


def test_of_a_purged_client_the_pointers_are_no_secret(stores, client):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    Client.objects.get(pk=pk).databases.update(db_password="aws-secretsmanager:nova/clients/idom")
    client.force_login(make_user("maria", *VIEW, COMMENT))

    leave(client, pk, "See aws-secretsmanager:nova/clients/idom")

    assert ClientComment.objects.count() == 1


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
        answer = take_back(client, idom, number)
        assert newest_message(answer) == "That comment no longer exists."
    assert client.post(f"{CLIENT}/999999/comment/", {"text": "x"}).status_code == 404
    assert (ClientComment.objects.count(), audited()) == (1, [])


def test_the_page_shows_the_newest_in_as_many_queries_and_leads_to_the_rest(
    maria, client, idom, monkeypatch
):
    def count_queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(client, idom)
        return len(captured)

    def leave_many(numbers) -> None:
        for number in numbers:
            ClientComment.objects.create(
                client_id=idom, slug="idom", text=f"number {number}.", by=maria
            )

    leave_many([0])
    page(client, idom)
    few = count_queries()
    leave_many(range(1, 12))
    assert count_queries() == few > 0
    monkeypatch.setattr("migration.clients.comments.COMMENTS_SHOWN", 2)

    shown = text(page(client, idom))

    assert ("number 9." in shown, "number 10." in shown) == (False, True)
    assert "Older comments are in the history" in shown
    assert "number 0." in text(page(client, idom, "history"))


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
