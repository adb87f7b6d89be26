"""A search whose process is gone is begun again by a worker, or called interrupted: never "none found"."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from migration import tasks
from migration.core.leases import LeaseKind, list_held
from migration.models import CopySearch, SearchedClient
from migration.secrets import copies
from migration.secrets.copies import hold_search, request_background_search, search_copies
from migration.secrets.models import SearchState
from tests.checkout import ROOT
from tests.factories import make_full_client, nova_connected, nova_uri
from tests.held_leases import held_elsewhere
from tests.migration.secrets.copies.nova_tables import add_execution

PASSWORD = "example-password-1"
REPORT = reverse("admin:migration_copysearch_report")
START = reverse("admin:migration_copysearch_start")


@pytest.fixture
def browser(stores, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


def text_of(response) -> str:
    return " ".join(response.content.decode().split())


def begun(*, minutes_ago: float = 0, **fields) -> CopySearch:
    """A search that was begun and has no process."""
    then = timezone.now() - timedelta(minutes=minutes_ago)
    given = {"requested_at": then, "started_at": then, "seen_at": then, "tries": 1}
    return CopySearch.objects.create(**given | fields)


def queued() -> list[int]:
    return [row.task["args"][0] for row in OrmQ.objects.order_by("pk")]


def test_a_worker_begins_the_search_of_a_killed_worker_again(nova, stores):
    idom = make_full_client("idom")
    add_execution(nova, json.dumps([PASSWORD]))
    search = begun(in_background=True, tables=9, tables_done=4, bytes_read=7)

    tasks.resume_dead_searches()

    search.refresh_from_db()
    assert (search.state, queued()) == (SearchState.WAITING, [search.pk])
    tasks.search_copies(search.pk)
    search.refresh_from_db()
    assert (search.state, search.tries) == (SearchState.FINISHED, 2)
    assert (search.searched_clients.get().client_id, search.found_copies.get().rows) == (idom, 1)


def test_a_search_that_was_killed_too_often_is_not_begun_again(stores):
    often = begun(in_background=True, tries=3)
    old = begun(in_background=True, minutes_ago=13 * 60)

    tasks.resume_dead_searches()

    assert queued() == []
    assert {s.pk: s.state for s in CopySearch.objects.all()} == {
        often.pk: SearchState.INTERRUPTED,
        old.pk: SearchState.INTERRUPTED,
    }
    for search in (often, old):  # as the queue may still deliver them
        tasks.search_copies(search.pk)
    assert not SearchedClient.objects.exists()


def test_a_delivery_after_the_last_try_marks_the_search(stores):
    search = begun(in_background=True, tries=3)

    tasks.search_copies(search.pk)

    search.refresh_from_db()
    assert search.state == SearchState.INTERRUPTED


def test_a_search_whose_process_lives_is_left_alone_however_silent_it_is(stores):
    search = begun(minutes_ago=60)
    with held_elsewhere(LeaseKind.SEARCH, search.pk):
        tasks.resume_dead_searches()
        search.refresh_from_db()
        assert search.interrupted_at is None

    deadline = time.monotonic() + 10
    while search.interrupted_at is None and time.monotonic() < deadline:
        tasks.resume_dead_searches()
        search.refresh_from_db()
    assert search.state == SearchState.INTERRUPTED


def test_a_search_that_waits_in_the_queue_is_left_there_and_queued_again_once_it_was_lost(stores):
    fresh = CopySearch.objects.create(in_background=True)
    lost = CopySearch.objects.create(
        in_background=True, requested_at=timezone.now() - timedelta(minutes=3)
    )

    for _ in range(3):
        tasks.resume_dead_searches()

    assert queued() == [lost.pk]
    fresh.refresh_from_db()
    assert fresh.state == SearchState.WAITING


def test_in_a_long_queue_nothing_is_queued_again(stores, monkeypatch):
    begun(in_background=True)
    monkeypatch.setattr(tasks, "MANY_TASKS", 0)

    tasks.resume_dead_searches()

    assert queued() == []


def test_an_interrupted_command_says_so_itself(nova, stores, monkeypatch):
    pk = make_full_client("idom")

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(copies.TableReader, "read_table", die)
    with pytest.raises(KeyboardInterrupt):
        search_copies(client_ids=[pk])

    search = CopySearch.objects.get()
    assert (search.state, search.finished_at) == (SearchState.INTERRUPTED, None)
    assert not search.searched_clients.exists()
    assert list_held(LeaseKind.SEARCH, 0, search.pk) == set()


def test_what_was_marked_meanwhile_stores_no_result(nova, stores, monkeypatch):
    pk = make_full_client("idom")
    plain = copies.list_places

    def mark_and_list(cursor):
        CopySearch.objects.update(interrupted_at=timezone.now())
        return plain(cursor)

    monkeypatch.setattr(copies, "list_places", mark_and_list)
    with pytest.raises(RuntimeError, match="was marked as interrupted"):
        search_copies(client_ids=[pk])

    assert CopySearch.objects.get().state == SearchState.INTERRUPTED
    assert not SearchedClient.objects.exists()


def test_the_command_names_the_searches_that_ended_unfinished_once(nova, stores, capsys):
    make_full_client("idom")
    mine, workers = begun(), begun(in_background=True)

    call_command("find_copies", "--all", "--format", "json")
    first = capsys.readouterr()
    call_command("find_copies", "--all", "--format", "json")
    second = capsys.readouterr()

    assert (first.out, second.out) == ("[]\n", "[]\n")
    assert f"search {mine.pk}, begun " in first.err
    assert "was interrupted: it has no result." in first.err
    assert f"search {workers.pk} was interrupted: it waits for a worker" in first.err
    assert queued() == [workers.pk]
    assert "interrupted" not in second.err


def test_the_pages_say_that_an_interrupted_search_has_no_result(browser):
    make_full_client("idom")
    search = begun(tables=9, tables_done=4)
    tasks.resume_dead_searches()

    report = text_of(browser.get(REPORT))
    page = text_of(browser.get(reverse("admin:migration_copysearch_change", args=[search.pk])))

    assert "The newest search was interrupted:" in report
    assert "Interrupted" in page
    assert "Its process ended when 4 of 9 tables were read. It has no result" in page
    assert "No copy was found" not in page


def test_the_page_says_that_a_search_is_begun_again(browser):
    search = begun(in_background=True)
    tasks.resume_dead_searches()

    page = text_of(browser.get(reverse("admin:migration_copysearch_change", args=[search.pk])))

    assert "begins once a worker is free" in page
    assert (
        "Its process ended before the search was finished (try 1 of 3). A worker begins it again."
        in page
    )


def test_a_new_search_takes_the_place_of_one_that_was_killed(browser):
    dead = begun(in_background=True)

    shown = text_of(browser.post(START, follow=True))

    assert "The search for copies has begun" in shown
    dead.refresh_from_db()
    assert dead.state == SearchState.INTERRUPTED
    assert queued() == [CopySearch.objects.first().pk] != [dead.pk]


def test_a_new_search_is_begun_beside_one_whose_lock_outlived_its_host(browser):
    lost = begun(in_background=True, minutes_ago=60)
    with held_elsewhere(LeaseKind.SEARCH, lost.pk):
        assert "Interrupted" in text_of(browser.get(REPORT))

        shown = text_of(browser.post(START, follow=True))

    assert "The search for copies has begun" in shown
    assert queued() == [CopySearch.objects.first().pk] != [lost.pk]


def test_two_people_who_press_at_once_start_one_search(browser):
    root = User.objects.get()
    both = Barrier(2)

    def press(_number: int) -> bool:
        try:
            connection.ensure_connection()
            both.wait()
            return request_background_search(root) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        began = list(threads.map(press, range(2)))

    assert (sorted(began), CopySearch.objects.count()) == ([False, True], 1)


def test_the_lock_of_a_search_that_waits_in_the_queue_is_not_even_tried(stores, monkeypatch):
    # A worker that takes it in the same moment would take it for another worker's, and leave it.
    CopySearch.objects.create(in_background=True)
    dead = begun(in_background=True)
    tried = []

    def hold(search_id: int):
        tried.append(search_id)
        return hold_search(search_id)

    monkeypatch.setattr(copies, "hold_search", hold)
    for _ in range(2):
        tasks.resume_dead_searches()

    assert tried == [dead.pk]


def test_a_search_whose_connection_is_cut_fails_and_is_begun_again_once(nova, stores, monkeypatch):
    make_full_client("idom")
    search = CopySearch.objects.create(in_background=True)
    plain = copies.list_places

    def cut_and_list(cursor):
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
        with nova_connected() as elsewhere:
            elsewhere.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        return plain(cursor)

    monkeypatch.setattr(copies, "list_places", cut_and_list)
    with pytest.raises(DatabaseError):
        tasks.search_copies(search.pk)
    connection.close()  # as django-q does after each task
    monkeypatch.undo()

    for _ in range(2):
        tasks.resume_dead_searches()
    assert queued() == [search.pk]
    tasks.search_copies(search.pk)
    search.refresh_from_db()
    assert (search.state, search.tries) == (SearchState.FINISHED, 2)


def test_several_who_look_at_once_queue_a_dead_search_once(stores):
    search = begun(in_background=True)
    all_four = Barrier(4)

    def look(_number: int) -> None:
        try:
            connection.ensure_connection()
            all_four.wait()
            tasks.resume_dead_searches()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(look, range(4)))

    assert queued() == [search.pk]


def test_after_kill_9_the_row_says_so_and_nobody_is_told_that_there_is_no_copy(
    nova, stores, settings
):
    make_full_client("idom")
    add_execution(nova, json.dumps([PASSWORD]))
    uri = nova_uri()
    with nova_connected() as elsewhere:
        # The search waits for this table, as for a large one.
        elsewhere.execute("LOCK TABLE public.executions IN ACCESS EXCLUSIVE MODE")
        environment = {
            "DATABASE_URL": uri,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": settings.AWS_ENDPOINT_URL,
        }
        process = subprocess.Popen(
            [sys.executable, "manage.py", "find_copies", "--all"],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "nova_admin.settings", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            deadline = time.monotonic() + 300
            while not CopySearch.objects.filter(tables__gt=0, tables_done=0).exists():
                assert time.monotonic() < deadline, process.communicate()
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
            tasks.resume_dead_searches()
            assert CopySearch.objects.get().state == SearchState.READING
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    while CopySearch.objects.open().exists():
        assert time.monotonic() < deadline
        tasks.resume_dead_searches()

    search = CopySearch.objects.get()
    assert (search.state, search.finished_at) == (SearchState.INTERRUPTED, None)
    assert not SearchedClient.objects.exists()
    connection.close()
