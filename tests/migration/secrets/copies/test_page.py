"""The page *Copies*: the newest result of each client, and the search that a worker does."""

import io
import json
import shlex
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from migration import tasks
from migration.core.problems import Look, list_results
from migration.models import (
    ClientMigration,
    CopySearch,
    FoundCopy,
    SearchedClient,
    UnsearchedPlace,
)
from migration.secrets.copies import search_copies
from nova_credentials.phases import Phase
from tests.factories import (
    make_client,
    make_copy_search,
    make_database,
    make_full_client,
    make_many,
    make_user,
)
from tests.migration.secrets.copies.nova_tables import add_execution

PASSWORD = "example-password-1"
REPORT, START = (
    reverse("admin:migration_copysearch_report"),
    reverse("admin:migration_copysearch_start"),
)


@pytest.fixture
def browser(stores, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


def text_of(response) -> str:
    return " ".join(response.content.decode().split())


def test_a_site_that_never_searched_says_so(browser):
    make_client("idom")

    shown = text_of(browser.get(REPORT))

    assert "Not searched yet" in shown


def test_every_client_is_in_one_of_the_four_numbers(nova, browser):
    found, unsure, never = make_full_client("idom"), make_client("other"), make_client("never")
    make_database(unsure, db_password_encrypted="another-password")
    add_execution(nova, json.dumps([PASSWORD]))
    nova.execute("CREATE TABLE public.notes (pickled bytea)")
    search_copies(client_ids=[found, unsure])

    shown = browser.get(REPORT).context_data

    numbers = [shown[key] for key in ("with_copies", "clean", "uncertain", "never_searched")]
    assert numbers == [1, 0, 1, 1]
    assert [row.client_id for row in shown["clients"]] == [found, unsure]
    assert [chip["count"] for chip in shown["chips"]] == [2, 1, 0]
    assert [row.pk for row in browser.get(f"{REPORT}?show=never").context_data["never"]] == [never]


def test_who_is_clean_is_listed_where_that_is_asked_for_and_found_by_slug(browser):
    idom, other = make_full_client("idom"), make_full_client("other")
    search_copies(client_ids=[idom, other])

    def listed(query: str) -> list[int]:
        return [row.client_id for row in browser.get(REPORT + query).context_data["clients"]]

    assert listed("") == []
    assert listed("?show=clean") == [idom, other]
    assert listed("?show=clean&q=oth") == [other]
    assert listed("?show=clean&q=none") == []


def test_what_the_role_may_not_read_is_named_with_the_statement_that_grants_it(browser):
    search = search_copies(client_ids=[make_full_client("idom")])
    for place in ("public.notes.text", "public.notes.title", 'public."; DROP".x'):
        UnsearchedPlace.objects.create(search=search, place=place, reason="no_right")
    UnsearchedPlace.objects.create(search=search, place="public.blobs.x", reason="type")

    shown = browser.get(REPORT).context_data

    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_user)")
        (role,) = cursor.fetchone()
    assert len(shown["unread"]) == 4
    assert shown["grants"] == [f"GRANT SELECT ON public.notes TO {role};"]


def test_the_newest_result_of_each_client_is_shown_with_its_time_and_what_was_not_looked_at(
    nova, browser
):
    idom, other, short = make_full_client("idom"), make_client("other"), make_client("short")
    make_database(other, db_password_encrypted="another-password")
    make_database(short, db_password_encrypted="abcde")
    nova.execute("CREATE TABLE public.notes (pickled bytea)")
    search_copies(client_ids=[idom, other, short])
    add_execution(nova, json.dumps([PASSWORD]))
    nova.execute("DROP TABLE public.notes")
    newest = search_copies(client_ids=[idom, short])

    shown = text_of(browser.get(REPORT))

    assert "public.executions.result" in shown
    assert "1 row" in shown
    assert "a secret value is too short to be looked for" in shown
    assert "1 place, for every client" in shown  # of `other`, in the first search
    assert PASSWORD not in shown
    row = SearchedClient.objects.newest_of([idom, other])
    assert {slug: r.search_id == newest.pk for slug, r in ((r.slug, r) for r in row.values())} == {
        "idom": True,
        "other": False,
    }
    page = text_of(
        browser.get(reverse("admin:migration_copysearch_change", args=[row[other].search_id]))
    )
    assert "public.notes.pickled" in page
    assert "its type is not searched (bytea)" in page


def test_a_worker_does_the_search_that_the_button_starts_and_health_knows_at_once(nova, browser):
    idom = make_full_client("idom")
    add_execution(nova, json.dumps([PASSWORD]))

    shown = text_of(browser.post(START, follow=True))

    assert "begins once a worker is free" in shown
    assert START not in shown
    (queued,) = OrmQ.objects.all()
    assert (queued.task["func"], queued.task["args"]) == (
        "migration.tasks.search_copies", (CopySearch.objects.get().pk,),
    )  # fmt: skip
    tasks.search_copies(*queued.task["args"])
    tasks.search_copies(*queued.task["args"])  # as the queue may deliver it twice
    assert SearchedClient.objects.get().client_id == idom
    (problem,) = list_results(Look(), anew=(), only=["copies_found"])
    assert problem.count == 1
    assert "public.executions.result" in text_of(browser.get(REPORT))


def test_the_search_is_for_the_client_of_the_page_that_asks(nova, browser):
    idom, other = make_full_client("idom"), make_full_client("other")
    for sent, clients in ((str(idom), [idom]), ("", [idom, other]), ("x", [idom, other])):
        browser.post(START, {"client": sent})
        search = CopySearch.objects.get(finished_at=None)
        tasks.search_copies(search.pk)

        searched = SearchedClient.objects.filter(search=search)
        assert sorted(searched.values_list("client_id", flat=True)) == clients


def test_an_open_page_asks_how_far_the_search_is_and_is_loaded_anew_at_its_end(browser):
    live = reverse("admin:migration_copysearch_live")
    make_full_client("idom")
    assert browser.get(live).status_code == 204
    browser.post(START)

    waiting = browser.get(live)
    search = CopySearch.objects.get()
    CopySearch.objects.update(started_at=timezone.now(), tables=14, tables_done=3)
    reading = browser.get(f"{live}?shown=1")
    CopySearch.objects.update(started_at=None)
    tasks.search_copies(search.pk)
    done, kept = browser.get(f"{live}?shown=1"), browser.get(f"{live}?shown=1&keeps=1")

    assert f'hx-get="{live}?shown=1"' in waiting.content.decode()
    assert "3 of 14 tables" in text_of(reading)
    assert ("HX-Refresh" in reading.headers, "HX-Refresh" in done.headers) == (False, True)
    assert "hx-get" not in done.content.decode()
    assert "HX-Refresh" not in kept.headers
    assert "Reload" in text_of(kept)
    *_begun, said = get_messages(done.wsgi_request)
    assert str(said) == "The search for copies has ended: it found none."
    # Nobody waits for one that has ended.
    assert browser.get(live).status_code == 204


def test_who_waited_for_a_search_is_told_what_it_found(browser):
    pk = make_full_client("idom")
    for result, words in (
        ({"rows_found": 3}, "it found copies of the secret values of 1 client."),
        ({"not_looked_at": 1}, "it found none, but not all was searched."),
    ):
        make_copy_search(pk, **result).search.finish()

        answer = browser.get(f"{reverse('admin:migration_copysearch_live')}?shown=1")

        *_former, said = get_messages(answer.wsgi_request)
        told = f"The search for copies has ended: {words}"
        assert (said.level_tag, str(said)) == ("warning", told)


def test_who_may_not_see_searches_is_not_told_how_far_one_is(stores, client):
    client.force_login(make_user("eva", "credentials.view_client"))

    assert client.get(reverse("admin:migration_copysearch_live")).status_code == 403


def test_a_second_search_is_not_started_beside_a_running_one(browser):
    browser.post(START)

    assert "already running" in text_of(browser.post(START, follow=True))
    assert CopySearch.objects.count() == 1


def test_an_interrupted_search_is_called_so_and_another_can_be_started(browser):
    CopySearch.objects.create(
        requested_at=timezone.now() - timedelta(hours=1),
        started_at=timezone.now() - timedelta(hours=1),
    )
    assert "Interrupted" in text_of(browser.get(REPORT))

    browser.post(START)

    assert CopySearch.objects.count() == 2


def test_only_those_who_may_start_a_search_can(stores, client):
    client.force_login(make_user("viewer", "migration.view_copysearch"))

    assert START not in client.get(REPORT).content.decode()
    assert client.post(START).status_code == 403
    assert not CopySearch.objects.exists()


def fill(number: int) -> None:
    make_many(number)
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, slug FROM public.clients")
        rows = cursor.fetchall()
    search = CopySearch.objects.create(started_at=timezone.now(), finished_at=timezone.now())
    for model, columns in (
        (SearchedClient, {"searched_at": timezone.now(), "rows_found": 1, "not_looked_at": 1}),
        (FoundCopy, {"table": "public.x", "column": "y", "rows": 1}),
        (UnsearchedPlace, {"place": "z", "reason": "type"}),
    ):
        model.objects.bulk_create(
            model(search=search, client_id=pk, slug=slug, **columns) for pk, slug in rows
        )


def test_no_page_asks_more_queries_for_more_clients(browser):
    def count(address: str) -> int:
        browser.get(address)
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(address).status_code == 200
        return len(captured)

    def count_all() -> list[int]:
        newest = CopySearch.objects.first()
        page = reverse("admin:migration_copysearch_change", args=[newest.pk])
        return [
            count(url) for url in (REPORT, reverse("admin:migration_copysearch_changelist"), page)
        ]

    fill(1)
    first = count_all()
    fill(11)

    assert count_all() == first


def test_a_search_of_many_clients_with_copies_is_shown_page_by_page(browser):
    fill(60)
    newest = CopySearch.objects.first()
    page = reverse("admin:migration_copysearch_change", args=[newest.pk])

    shown = [browser.get(page, {"page": n}).context_data["clients"] for n in (1, 2)]

    assert list(map(len, shown)) == [50, 10]
    assert len({row.slug for rows in shown for row in rows}) == 60
    assert "Page 1 of 2" in text_of(browser.get(page))


def test_old_searches_are_forgotten_but_for_each_clients_newest(nova, stores):
    idom, other = make_full_client("idom"), make_full_client("other")
    kept, _gone = search_copies(client_ids=[other]), search_copies(client_ids=[idom])
    CopySearch.objects.update(requested_at=timezone.now() - timedelta(days=91))

    before = timezone.now()
    newest = search_copies(client_ids=[idom])

    assert set(CopySearch.objects.values_list("pk", flat=True)) == {kept.pk, newest.pk}
    # It is the evidence of a purge too.
    found = SearchedClient.objects.newest_of([idom])[idom]
    assert (found.search_id, found.rows_found, found.not_looked_at) == (newest.pk, 0, 0)
    assert before <= found.searched_at <= timezone.now()


# The command that redacts


@pytest.fixture
def found(nova, stores):
    """Copies of two clients, one read from AWS, in a column of the history, in another table and in code."""
    search = CopySearch.objects.create(started_at=timezone.now(), finished_at=timezone.now())

    def found(slug: str, phase: Phase, *columns: str) -> None:
        pk = make_client(slug)
        ClientMigration.objects.create(client_id=pk, phase=phase)
        SearchedClient.objects.create(
            search=search, client_id=pk, slug=slug, searched_at=timezone.now(), rows_found=1
        )
        for column in columns:
            table, _dot, name = column.rpartition(".")
            FoundCopy.objects.create(
                search=search, client_id=pk, slug=slug, table=table, column=name, rows=1
            )

    return found


RESULT, CONTEXT = "public.executions.result", "public.chain_of_work.input_context"


def test_the_page_has_the_command_that_redacts_the_copies_it_shows(found, browser):
    found("idom", Phase.AWS, RESULT, "public.notes.body", "public.code_cache.code")
    found("other", Phase.PURGED, CONTEXT)

    shown = text_of(browser.get(REPORT))

    command = "python manage.py find_copies {} --redact --column {}"
    assert command.format("idom other", f"{CONTEXT} {RESULT}") in shown
    assert command.format("idom", "public.notes.body") in shown
    assert "--column public.code_cache" not in shown


def test_the_command_is_one_that_the_command_line_takes(found, browser, monkeypatch):
    found("idom", Phase.AWS, RESULT)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    command = browser.get(REPORT).context_data["commands"].history

    call_command(*shlex.split(command)[2:])  # finds nothing, so it ends well


def test_clients_still_read_from_postgresql_are_named_and_in_no_command(found, browser):
    found("idom", Phase.DUAL_READ, RESULT)

    shown = text_of(browser.get(REPORT))

    assert "Not before they are in the phase AWS" in shown
    assert "idom (Dual read)" in shown
    assert "--redact" not in shown


def test_no_name_that_a_shell_would_not_take_as_it_is_gets_into_a_command(found, browser):
    names = [
        ("-all", RESULT),
        ("a;reboot", RESULT),
        ("idom", "public.notes; reboot.body"),
        ("idom2", "public.notes\n.body"),
        ("idom3", "public.a.b.c"),
    ]
    for slug, column in names:
        found(slug, Phase.AWS, column)

    commands = browser.get(REPORT).context_data["commands"]

    assert (commands.history, commands.others) == ("", "")
    assert sorted(commands.unwritten) == sorted(names)


def test_what_is_in_no_command_is_named_on_the_page(found, browser):
    found("a b;$(reboot)\u202e", Phase.AWS, RESULT, 'public.no\ntes."b`ody`')
    found("idom", Phase.AWS, CONTEXT)

    shown = text_of(browser.get(REPORT))

    assert f"find_copies idom --redact --column {CONTEXT}<" in shown
    said = shown.partition("In no command, ")[2]
    assert r"a b;$(reboot)\u202e: <code>public.executions.result</code>" in said
    assert r"<code>public.no\ntes.&quot;b`ody`</code>" in said


def test_where_nothing_can_be_replaced_the_page_has_no_such_card(found, browser):
    found("idom", Phase.AWS, "public.code_cache.code")

    assert "by pointers" not in text_of(browser.get(REPORT))
