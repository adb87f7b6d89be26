"""Where a client stands, its next step, and how many queries its page asks."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from credentials.models import Client
from migration.core.audit import Actor, AuditEvent, acting
from migration.core.pages import ClientTab
from migration.models import (
    ClientMigration,
    PhaseChange,
    ReadCount,
    Resolution,
    Reveal,
    RunItem,
)
from migration.runs.models import Run
from migration.secrets.layouts import LAYOUT_EVENT
from nova_credentials.comparison import compare_documents, list_paths
from nova_credentials.messages import Message
from nova_credentials.phases import Phase
from tests.factories import (
    make_client,
    make_comparison,
    make_database,
    make_full_client,
    make_reader_process,
    update,
)
from tests.migration.clients.page.pages import page
from tests.migration.pages import DIFFERENT, text

LINE = list(Phase)


# Where it stands


def test_the_page_says_in_words_where_the_client_stands_and_what_its_next_step_is(viewer, idom):
    make_reader_process()
    titles = (
        "Next step: Dual write",
        "Next step: Dual read",
        "Next step: AWS (cut over)",
        "Next step: Purged",
        "Last phase reached",
    )
    for here, (phase, title) in enumerate(zip(LINE, titles, strict=True)):
        ClientMigration.objects.update_or_create(client_id=idom, defaults={"phase": phase})

        shown = page(viewer, idom)

        assert title in text(shown)
        steps = re.findall(r"(?s)<li class=\"border flex flex-col.*?</li>", shown.content.decode())
        assert len(steps) == 5
        assert ['aria-current="step"' in step for step in steps] == [n == here for n in range(5)]
        for number, step in enumerate(steps):
            said = "Completed" if number < here else "Current" if number == here else "Later"
            assert said in step
        # Before dual read no page says that NOVA does not read the client.
        words = text(page(viewer, idom, "comparison"))
        is_counted = phase not in (Phase.POSTGRES, Phase.DUAL_WRITE)
        assert ("NOVA's reader has not read it yet." in words) == is_counted
        assert ("reads are shown once the client is in dual read." in words) != is_counted


def test_what_a_first_push_wants_is_told_before_it(viewer):
    make_database(twice := make_full_client("twice"))
    make_database(large := make_client("a"), db_password_encrypted="x" * 66_000)
    for pk, words in (
        (make_full_client("idom"), "All checks pass."),
        (make_client("empty"), "No login yet"),
        (make_full_client("b d"), "does not allow a space"),
        (twice, "2 database logins are primary"),
        (large, "bytes; Secrets Manager takes up to 65,536."),
    ):
        assert words in text(page(viewer, pk))


def test_the_checklist_names_each_condition_that_is_not_met_and_why_a_push_is_refused(viewer, idom):
    ClientMigration.objects.create(client_id=idom, phase=Phase.DUAL_READ)
    ReadCount.objects.create(client_id=idom, last_mismatch_at=timezone.now())

    words = text(page(viewer, idom))

    for condition in (
        "A push is pending",
        "Not compared yet. Compare it first",
        "No run is working on this client",
        "NOVA's reader found a mismatch",
    ):
        assert condition in words
    assert "are primary" not in words
    make_database(idom)
    words = text(page(viewer, idom))
    assert "2 database logins are primary" in words
    assert "See the logins" in words


def test_the_page_does_not_wait_for_aws(viewer, idom, monkeypatch):
    def asked(*_, **__):
        raise AssertionError("the page asked AWS")

    monkeypatch.setattr("nova_credentials.aws.secrets_manager._call_aws", asked)
    ClientMigration.objects.create(client_id=idom, phase=Phase.DUAL_READ)

    pages = {tab: page(viewer, idom, tab).content.decode() for tab in ClientTab}

    html = pages[ClientTab.COMPARISON]
    assert f'hx-get="/admin/credentials/client/{idom}/versions/"' in html
    assert f'href="/admin/credentials/client/{idom}/versions/"' in html


def test_reads_are_counted_by_the_reader(viewer, idom):
    ReadCount.objects.create(
        client_id=idom, reads=1205, matches=1204, mismatches=1, aws_failures=2,
        last_read_at=timezone.now(), last_mismatch_at=timezone.now() - timedelta(hours=2),
    )  # fmt: skip

    words = text(page(viewer, idom, "comparison"))

    assert "NOVA's reader: 1,205 reads, last" in words
    assert "1,204 compared both stores and found them equal." in words
    assert "1 mismatched, last 2 hours ago" in words
    assert "AWS failed 2 times" in words


def test_the_comparison_is_told_field_by_field(viewer, idom):
    make_comparison(idom, "mismatch", slug="idom", mismatches=[DIFFERENT])

    response = page(viewer, idom, "comparison")

    document = Client.objects.get(pk=idom).build_document()
    same = set(list_paths(document)) - {"database.password"}
    assert set(response.context["same_fields"]) == same
    assert f"{len(same)} fields are the same" in text(response)
    assert "0a1b2c3d" in text(response)


def test_a_login_that_is_missing_as_a_whole_has_no_field_that_is_the_same(viewer, idom):
    missing = DIFFERENT | {"path": "email", "kind": "missing"}
    make_comparison(idom, "mismatch", slug="idom", mismatches=[missing])

    same = page(viewer, idom, "comparison").context["same_fields"]

    assert "database.host" in same
    assert not [path for path in same if path.startswith("email")]


def test_nothing_is_called_the_same_that_was_not_looked_at(viewer, idom):
    for status in ("unchecked", "missing_in_aws", "missing_in_postgres"):
        make_comparison(idom, status, slug="idom")

        shown = page(viewer, idom, "comparison")

        assert shown.context["same_fields"] == []
        assert "the same" not in text(shown)


def test_the_fields_are_named_as_a_comparison_names_them():
    document = {
        "other_databases": [{"host": "a", "port": 1}],
        "client_name": "x",
        "database": {"port": 1, "host": None},
    }
    other = {
        "other_databases": [{"host": "b", "port": 2}],
        "client_name": "y",
        "database": {"port": 2, "host": ""},
    }

    named = [mismatch.path for mismatch in compare_documents(document, other, key=b"k")]

    assert list(list_paths(document)) == named


# Queries


def fill(pk: int, number: int) -> None:
    """So many of everything that the page tells of, and so many logins."""
    user = User.objects.first()
    PhaseChange.objects.bulk_create(
        PhaseChange(client_id=pk, slug="idom", old="aws", new="dual_read", by=user)
        for _ in range(number)
    )
    runs = Run.objects.bulk_create(Run(kind=Run.Kind.PUSH, by=user) for _ in range(number))
    RunItem.objects.bulk_create(
        RunItem(run=run, client_id=pk, slug="idom", batch=0, outcome="updated") for run in runs
    )
    for run in runs:
        with acting(Actor("worker on nova-1", f"run {run.pk}")):
            told = Message.from_text_without_key("It has another layout now.")
            AuditEvent.objects.record(LAYOUT_EVENT, told, by=user, client_id=pk, slug="idom")
    for n in range(number):
        make_comparison(pk, "mismatch", mismatches=[DIFFERENT | {"hint": str(n)}])
        make_database(pk, label=f"more {n}", is_primary=False)
    Resolution.objects.bulk_create(
        Resolution(client_id=pk, slug="idom", kind="check", by=user) for _ in range(number)
    )
    asked = Run.objects.bulk_create(
        Run(kind="move", state="requested", move_from="dual_read", move_to="aws", by=user)
        for _ in range(number)
    )
    RunItem.objects.bulk_create(
        RunItem(run=run, client_id=pk, slug="idom", batch=0) for run in asked
    )
    Reveal.objects.bulk_create(
        Reveal(client_id=pk, slug="idom", kind="database", credential_id=1, field="db_password")
        for _ in range(number)
    )


NIGHTLY = [pytest.param(phase, marks=pytest.mark.nightly) for phase in (Phase.POSTGRES, Phase.AWS)]


@pytest.mark.parametrize("phase", [Phase.DUAL_READ, *NIGHTLY])
def test_the_page_asks_as_many_queries_at_ten_rows_as_at_one(root, idom, phase, monkeypatch):
    # On a slow machine it would be asked again between two pages.
    monkeypatch.setattr("migration.core.aws_writes.KNOWN_FOR_SECONDS", 1e6)
    ClientMigration.objects.create(client_id=idom, phase=phase)
    ReadCount.objects.create(client_id=idom)
    fill(idom, 1)

    def queries() -> list[int]:
        return [count_queries(tab) for tab in ClientTab]

    def count_queries(tab: ClientTab) -> int:
        page(root, idom, tab)
        with CaptureQueriesContext(connection) as captured:
            assert page(root, idom, tab).status_code == 200
        return len(captured)

    first = queries()
    fill(idom, 9)

    # The last page of a history asks whether the audit was trimmed.
    for tab, before, now in zip(ClientTab, first, queries(), strict=True):
        assert now <= before, tab


def test_a_row_of_a_purged_client_is_no_value_on_the_page(viewer, idom):
    ClientMigration.objects.create(client_id=idom, phase=Phase.PURGED)
    row = Client.objects.get(pk=idom).databases.get()
    update("client_database_credentials", row.pk, db_password_encrypted="MARKER-FIVE")
    make_comparison(idom, "match")

    for tab in ClientTab:
        assert "MARKER" not in page(viewer, idom, tab).content.decode()
