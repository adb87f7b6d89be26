"""Which clients are ready for their next step, and what the list says of the others."""

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from migration.clients.filters import read_blocker
from migration.clients.list import READY_FOR, SHORT_OF_PUSH, SHORT_OF_SITE, shorten_next_step
from migration.core.aws_writes import stop_aws_writes
from migration.core.clients import all_clients
from migration.core.sentences import NOT_OURS
from migration.models import ClientGroup, ClientMigration
from migration.moves.readiness import Standing, has_next_phase, is_ready, judge_next_steps
from migration.moves.rules import BLOCKERS
from migration.runs.models import Run
from nova_credentials.messages import Message
from tests.factories import make_client, make_database, make_full_client
from tests.migration.clients.list.conftest import put_in_phase
from tests.migration.pages import CLIENTS, text
from tests.page_forms import pages_left_out


def judge_all() -> dict[str, list[str]]:
    """Slug -> the codes of the checks that fail."""
    found = dict(all_clients().values_list("pk", "slug"))
    steps = judge_next_steps(list(found))
    return {found[pk]: [line.code for line in step.shut] for pk, step in steps.items() if step.new}


def slugs_of(condition) -> set[str]:
    return set(all_clients().filter(condition).values_list("slug", flat=True))


def test_who_is_ready_is_said_alike_by_gate_list_and_sql_and_what_keeps_the_others(
    operator, clients
):
    judged = judge_all()
    assert {slug for slug, codes in judged.items() if not codes} == clients
    assert {slug: len(codes) for slug, codes in judged.items() if slug not in clients} == (
        dict.fromkeys(judged.keys() - clients, 1)
    )
    assert slugs_of(is_ready()) == clients
    assert slugs_of(has_next_phase() & ~is_ready()) == judged.keys() - clients
    page = operator.get(f"{CLIENTS}?columns=since")
    short = shorten_all(page)

    assert {slug: short[slug] for slug in ("first", "written", "read", "answered", "gone")} == {
        "first": "Ready for dual write",
        "written": "Ready for dual read",
        "read": "Ready to cut over",
        "answered": "Ready to purge",
        "gone": "Done",
    }
    assert {short[slug] for slug in ("no-login", "pending", "in-run", "met")} == {
        "Add a login", "Push pending", "In a run", "NOVA had read problems",
    }  # fmt: skip
    assert (short["few-reads"], short["streak"]) == (
        "Wait for reads: 19/20",
        "Wait for matches: 2/3",
    )
    assert (short["unanswered"], short["copies"]) == ("Wait for a read", "Search for copies")
    assert short["soon"].startswith("Wait until ")
    # On hover all of it.
    assert "NOVA&#x27;s reader: 19 of 20 reads since dual read began." in page.content.decode()
    assert "30 days" in text(page)

    # Nobody is ready while AWS writes are stopped, and each says so in a few words.
    stop_aws_writes(reason="A test")
    assert not slugs_of(is_ready())
    assert all("writes_stopped" in codes for codes in judge_all().values())
    short = shorten_all(operator.get(CLIENTS))
    assert {short[slug] for slug in clients} == {"AWS writes stopped"}


def shorten_all(page) -> dict[str, str]:
    """Slug -> what the list says of its next step."""
    return {client.slug: shorten_next_step(client) for client in page.context["cl"].result_list}


@pytest.mark.parametrize("language", ["en", "es"])
def test_what_keeps_a_client_is_said_in_five_words_at_most(language):
    said = [each.short for each in BLOCKERS.values()]

    with translation.override(language):
        texts = (READY_FOR, SHORT_OF_SITE, SHORT_OF_PUSH)
        long = [*map(str, said), *(str(text) for each in texts for text in each.values())]

    assert [words for words in long if not 1 <= len(words.split()) <= 5] == []


def test_what_a_push_would_refuse_a_run_met_or_an_inactive_client_lacks_is_said(operator, stores):
    make_full_client("a/b"), make_full_client("a b"), make_full_client("a" * 100)
    make_database(make_full_client("twice"))
    make_database(make_client("large"), db_password_encrypted="x" * 66_000)
    all_clients().filter(pk=make_full_client("off")).update(is_active=False)
    pk, failed = make_full_client("idom"), make_full_client("failed")
    assert "Last error" not in operator.get(CLIENTS).content.decode()
    other = Message.from_text_without_key("Some longer reason")
    for client_id, slug, why in (
        (pk, "idom", NOT_OURS(name="nova/clients/idom")),
        (failed, "failed", other),
    ):
        run = Run.objects.create(kind=Run.Kind.MIGRATE)
        run.add_items([(client_id, slug)])
        run.items.update(
            outcome="failed", error_class="conflict", message=why, finished_at=timezone.now()
        )
    ClientMigration.objects.create(client_id=pk)
    revision = all_clients().with_revision().get(pk=pk).revision
    ClientMigration.objects.filter(pk=pk).update(refused_revision=revision)
    ClientGroup.objects.get_or_add("Wave 1").put_clients(all_clients())

    page = operator.get(f"{CLIENTS}?columns=groups")

    assert shorten_all(page) == {
        "a/b": "Change the slug",
        "a b": "Change the slug",
        "a" * 100: "Ready for dual write",
        "twice": "Keep one primary login",
        "large": "Shorten its logins",
        "off": "Activate or offboard it",
        # Its secret is somebody else's.
        "idom": "Adopt the secret",
        "failed": "Ready for dual write",
    }
    assert 'aria-label="Last error" title="Conflict: Some longer reason"' in page.content.decode()
    assert "Wave 1" in text(page)
    assert "Wave 1" not in text(operator.get(CLIENTS))
    assert sorted(slugs_at(operator, "ready")) == ["a" * 100, "failed"]
    assert slugs_at(operator, "inactive") == ["off"]


def slugs_at(browser, standing: str) -> list[str]:
    with pages_left_out():
        found = browser.get(f"{CLIENTS}?next={standing}").context_data["cl"]
    assert found.result_count == len(found.result_list)
    return [client.slug for client in found.result_list]


def test_the_queries_do_not_grow_with_the_clients_of_a_phase(operator, wanted):
    def fill(number: int) -> None:
        for _ in range(number):
            slug = uuid4().hex[:12]
            for phase in ("dual_write", "dual_read", "aws", "purged"):
                put_in_phase(f"{slug}-{phase}", phase)
            make_full_client(slug)

    fill(1)
    first = count_queries(operator)
    fill(4)

    assert count_queries(operator) == first


def count_queries(browser) -> int:
    browser.get(CLIENTS)
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(CLIENTS).status_code == 200
    return len(captured)


def test_who_only_waits_and_who_is_in_aws_is_not_blocked_in_list_filter_and_dashboard(
    operator, clients, settings
):
    expected = {"ready": len(clients)}
    for client in operator.get(CLIENTS).context["cl"].result_list:
        if client.standing not in ("ready", "last"):
            expected[client.standing.value] = expected.get(client.standing.value, 0) + 1
    assert expected.keys() == {"ready", "waits", "blocked", "in_aws"}
    assert {each: len(slugs_at(operator, each)) for each in expected} == expected
    dashboard = operator.get("/admin/").context
    with pages_left_out():
        listed = operator.get(f"{CLIENTS}?{dashboard['blocked_query']}").context_data["cl"]
        settings.NOVA_PURGE_AFTER_DAYS = 60
        later = operator.get(CLIENTS).context_data["cl"].result_list
    assert listed.result_count == dashboard["blocked"] > 0
    assert {client.standing for client in listed.result_list} == {"blocked"}
    (unsearched,) = (client for client in later if client.slug == "unsearched")
    assert shorten_next_step(unsearched).startswith("Purge from ")


def test_each_reason_is_a_value_of_the_filter_and_another_one_of_clients_in_aws():
    for code, blocker in BLOCKERS.items():
        if code:
            standings, found = read_blocker(code)
            assert found is blocker
            assert Standing.IN_AWS not in standings
            assert read_blocker(f"aws_{code}") == ((Standing.IN_AWS,), blocker)


def test_what_a_client_in_aws_lacks_before_its_purge_makes_it_in_aws_and_not_blocked():
    kept_by = {"inactive", "never_compared", "too_old", "streak", "time", "reads", "copies"}

    found = {each.code for each in BLOCKERS.values() if each.before_purge}

    assert found == kept_by
