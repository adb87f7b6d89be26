"""Clients of the first release work as before once their tables are carried over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.first_release.database import answer

if TYPE_CHECKING:
    from tests.first_release.database import First

EXPECTED = json.loads((Path(__file__).parent / "expected.json").read_text("utf-8"))


def statuses(first: First) -> dict[str, dict[str, Any]]:
    return {status["slug"]: status for status in answer(first, "client_status")}


SAME = ("name", "phase", "secrets", "pushed_revision")


def test_clients_stand_where_they_stood(carried):
    now = statuses(carried)

    expected = {status["slug"]: status for status in EXPECTED["client_status"]}
    assert sorted(now) == sorted(expected)
    for slug, before in expected.items():
        assert {name: now[slug][name] for name in SAME} == {name: before[name] for name in SAME}
        assert now[slug]["revision"] >= before["revision"]
        assert now[slug]["push_pending"] >= before["push_pending"]
        known, newest = before["comparison"], now[slug]["comparison"]
        assert (known is None) == (newest is None)
        if known:
            assert (newest["status"], newest["compared_at"]) == (
                known["status"],
                known["compared_at"],
            )
            assert newest["mismatches"] == known["mismatches"]


def without_codes(item: dict[str, Any]) -> dict[str, Any]:
    """Of the same, whatever the codes are keyed by."""
    # A path that somebody else's secret has is told by a code too.
    mismatches = [
        (
            each["path"][:1] if each["path"].startswith("?") else each["path"],
            each["kind"],
            each["hint"],
        )
        for each in item["mismatches"]
    ]
    return {"status": item["status"], "error_class": item["error_class"], "mismatches": mismatches}


# The first release said of it that AWS lacks it, which is no mismatch of what was never there.
NEVER_PUSHED = "never_touched"


@pytest.mark.nightly
def test_comparisons_come_out_as_before(carried):
    answer(carried, "compare_clients", "--all", "--inline")

    for expected in EXPECTED["compare"]:
        found = carried.ask(
            "SELECT status, error_class, mismatches FROM nova_admin.migration_comparison"
            " WHERE slug = %s ORDER BY id DESC LIMIT 1",
            expected["slug"],
        )
        if expected["slug"] == NEVER_PUSHED:
            assert found == []
            continue
        item = dict(zip(("status", "error_class", "mismatches"), found[0], strict=True))
        assert without_codes(item) == without_codes(expected), expected["slug"]


# What the next push makes of each client that writes both stores, and what it says of those it refuses.
PUSHES = {
    "put_unanswered": ("updated", ""),
    "dual_write_pending": ("updated", ""),
    "dual_read_pending": ("updated", ""),
    "changed_in_aws": ("failed", "somebody else wrote"),
    "refused_in_aws": ("failed", "somebody else wrote"),
    "two_primaries": ("failed", "2 database logins are primary"),
}


def test_pushes_go_on_where_they_were(carried):
    result = answer(carried, "push_pending", "--inline")

    items = {item["slug"]: item for item in result["items"]}
    for slug, (outcome, words) in PUSHES.items():
        item = items.pop(slug)
        assert (item["outcome"], words in item["message"]) == (outcome, True), item
    # Those that hold the same in both stores were only counted.
    assert {item["outcome"] for item in items.values()} <= {"unchanged"}
    now = statuses(carried)
    for before in EXPECTED["client_status"]:
        slug = before["slug"]
        refused = slug in PUSHES and PUSHES[slug][0] == "failed"
        if before["phase"] in {"dual_write", "dual_read", "aws"} and not refused:
            assert now[slug]["push_pending"] is False, slug


# One step back for each client that has one, and what its rows and AWS then are.
BACK = {
    "cut_over": "dual_read",
    "put_unanswered": "dual_read",
    "changed_in_aws": "dual_read",
    "refused_in_aws": "dual_read",
    "restored": "dual_read",
    "dual_read_clean": "dual_write",
    "dual_read_pending": "dual_write",
    "there_and_back": "dual_write",
    "dual_write_pending": "postgres",
    "two_primaries": "postgres",
    "reason_typed": "postgres",
    "warned-client": "postgres",
    "purged": "aws",
}


def password(first: First, slug: str) -> str:
    query = """
        SELECT db_password_encrypted FROM public.client_database_credentials JOIN public.clients c ON c.id = client_id
        WHERE slug = %s ORDER BY is_primary IS TRUE DESC LIMIT 1
    """
    return first.ask(query, slug)[0][0]


def test_every_client_goes_a_step_back_as_the_law_says(carried):
    before = {slug: password(carried, slug) for slug in BACK}
    assert before["purged"].startswith("aws-secretsmanager:")
    mail = """
        SELECT email_password_encrypted FROM public.client_email_credentials
        JOIN public.clients c ON c.id = client_id WHERE slug = 'changed_in_aws'
    """
    mail_before = carried.ask(mail)

    for slug, phase in BACK.items():
        (moved,) = answer(carried, "move_clients", phase, slug)
        assert (moved["moved"], moved["phase"]) == (True, phase), moved
        # Nobody wrote to it since the purge.
        assert "since the purge" not in str(moved)

    # NOVA's newest writes stand; what only AWS has came along; a purge was undone.
    for slug in ("put_unanswered", "dual_read_pending", "dual_write_pending", "cut_over"):
        assert password(carried, slug) == before[slug], slug
    assert carried.ask(mail) != mail_before
    assert password(carried, "purged").startswith("not-a-secret-")
    history = carried.ask("SELECT count(*) FROM nova_admin.migration_phasechange")
    assert history[0][0] >= len(BACK)


@pytest.mark.nightly
def test_clients_that_wrote_postgresql_alone_and_others_go_a_step_on(carried):
    answer(carried, "push_pending", "--inline")
    migrated = answer(carried, "migrate_clients", "never_touched", "went_back", "--inline")
    assert {item["slug"]: item["outcome"] for item in migrated["items"]} == {
        "never_touched": "created",
        "went_back": "restored",
    }
    refused = answer(carried, "migrate_clients", "not_ours", "--inline")
    assert [item["outcome"] for item in refused["items"]] == ["failed"]

    answer(carried, "compare_clients", "warned-client", "dual_read_clean", "--inline")
    (moved,) = answer(carried, "move_clients", "dual_read", "warned-client")
    assert moved["moved"], moved


def test_novas_next_write_is_counted(carried):
    before = statuses(carried)["cut_over"]["revision"]

    carried.run("UPDATE public.clients SET description = 'x' WHERE slug = 'cut_over'")

    assert statuses(carried)["cut_over"]["revision"] == before + 1
