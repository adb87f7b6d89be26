"""Searches for copies of unmistakable passwords and redacts them, then looks for them everywhere else."""

import io
import json

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from credentials.models import DatabaseCredential
from migration import tasks
from migration.core import aws_store
from migration.models import CopySearch
from migration.secrets import copies
from migration.secrets.copies import gather_values_and_note_purged, make_needles, search_copies
from migration.secrets.redaction import plan_redaction
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_user, update
from tests.migration.moves.clients import enter_phase
from tests.migration.secrets.copies.nova_tables import add_execution, add_step, novas_tables
from tests.test_no_secret_escapes import (
    MARKERS,
    Haystack,
    add_pickles,
    add_tables,
    command,
    everything_logged,
    page,
    seed,
    work_off_the_queue,
)


@pytest.fixture
def browser(stores, client):
    client.force_login(User.objects.create_superuser("root", password="example-login-password"))
    return client


def test_a_search_and_a_redaction_leave_no_value_behind(browser, monkeypatch):
    pk, haystack = seed(), Haystack()
    for row in DatabaseCredential.objects.exclude(client_id=pk):  # what they share would be left
        update("client_database_credentials", row.pk, db_password_encrypted="MARKER-ONE of another")
    enter_phase(pk, Phase.AWS)
    everything = {"context": [*MARKERS.values()]}
    with everything_logged(haystack), novas_tables() as nova:
        execution = add_execution(nova, json.dumps(everything))
        add_step(
            nova, execution, input_context=json.dumps(everything), code_executed=repr(everything)
        )
        command(haystack, "find_copies", "--all")
        command(haystack, "find_copies", "idom", "--format", "json")
        for answer in ("n\n", "y\n"):
            monkeypatch.setattr("sys.stdin", io.StringIO(answer))
            command(haystack, "find_copies", "--all", "--redact")
        page(haystack, browser, reverse("admin:migration_copysearch_start"), {})
        work_off_the_queue(haystack)
        gathered = gather_values_and_note_purged([pk], sm=aws_store.secrets_manager())
        plan = plan_redaction(client_ids=[pk], columns=["executions.result"])
        haystack.add("reprs", repr((gathered, make_needles(gathered), plan)))
        left = nova.execute(
            "SELECT result::text, input_context::text FROM public.executions, public.chain_of_work"
        )
        redacted = left.fetchone()
    for viewer in (None, make_user("viewer", *VIEW, "migration.view_copysearch")):
        if viewer:
            browser.force_login(viewer)
        for place in ("changelist", "report"):
            page(haystack, browser, reverse(f"admin:migration_copysearch_{place}"))
        for search in CopySearch.objects.all():
            page(haystack, browser, reverse("admin:migration_copysearch_change", args=[search.pk]))
    add_tables(haystack)
    add_pickles(haystack)

    assert haystack.found() == []
    # It did look and it did redact.
    assert "public.executions.result" in haystack.text("output of find_copies")
    assert "rows redacted" in haystack.text("output of find_copies")
    assert all("aws-secretsmanager:nova/clients/idom" in text for text in redacted)
    assert "MARKER" not in "".join(redacted)
    assert "public.chain_of_work" in haystack.text(
        f"page {reverse('admin:migration_copysearch_report')}"
    )
    assert "table migration_foundcopy" in haystack.pieces
    assert not [place for place in haystack.pieces if place.startswith("exception")]


def test_postgresqls_own_words_on_a_row_that_can_t_be_read_do_not_show_it(browser, monkeypatch):
    # No statement of the site's converts a value, but for this one.
    pk, haystack = seed(), Haystack(novas_words="ERROR:  invalid input syntax for type integer: ")
    piece = copies.PIECE.replace("SELECT {columns}", "SELECT result::text::int, {columns}")
    assert piece != copies.PIECE
    with everything_logged(haystack), novas_tables() as nova:
        for name in ("chain_of_work", "workflows", "code_cache", "client_credentials"):
            nova.execute(f"DROP TABLE public.{name}")
        add_execution(nova, json.dumps([*MARKERS.values()]))
        monkeypatch.setattr(copies, "PIECE", piece)
        command(haystack, "find_copies", "--all")
        search = search_copies(client_ids=[pk])
        places = {p.place: (p.reason, p.detail) for p in search.unsearched_places.all()}
    add_tables(haystack)

    assert places["public.executions"] == ("read_failed", "22P02")
    assert "public.executions: reading it failed (22P02)" in haystack.text("output of find_copies")
    assert haystack.found() == []


def test_a_task_that_fails_leaves_no_value_behind(browser, monkeypatch):
    pk, haystack = seed(), Haystack()

    def fail(*_, **__):
        raise RuntimeError("something else")

    with everything_logged(haystack):
        monkeypatch.setattr("migration.secrets.copies.list_places", fail)
        search = CopySearch.objects.create()
        assert tasks.enqueue_search(search)
        with pytest.raises(RuntimeError):
            work_off_the_queue(haystack)
        command(haystack, "find_copies", "--all")
    update("clients", pk, name="as before")
    add_tables(haystack)
    add_pickles(haystack)

    assert haystack.found() == []
