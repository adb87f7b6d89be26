"""What the first release noted of each client, in tables of its own, becomes events of the audit, once."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.first_release.database import First

BY_CODE = """
SELECT code, count(*)::int FROM nova_admin.migration_auditevent WHERE happened_at IS NOT NULL GROUP BY code
"""
CARRIED = """
SELECT happened_at, code, client_id, slug, who, reason, origin, correlation, facts::jsonb
FROM nova_admin.migration_auditevent WHERE happened_at IS NOT NULL ORDER BY id
"""


def count_changed(rows: list[dict]) -> int:
    """The results that differ from the client's result before, where the first one is no news if it is a match."""
    changed = 0
    checked = [row for row in rows if row["status"] != "unchecked"]
    of_client = sorted(checked, key=lambda row: (row["client_id"], row["id"]))
    for _client, found in groupby(of_client, key=lambda row: row["client_id"]):
        before = ("match", [])
        for row in found:
            result = (row["status"], row["mismatches"])
            changed += result != before
            before = result
    return changed


def test_each_thing_that_happened_is_one_event_in_its_order(migrated_first: First):
    rows = migrated_first.rows("nova_admin")
    # As the dump has them.
    requests = {"done": 2, "cancelled": 1, "failed": 1, "requested": 1, "waiting": 1}
    runs = {row["id"]: row for row in rows["migration_run"]}
    failed = [row for row in rows["migration_runitem"] if row["outcome"] in ("failed", "refused")]
    of_people = [row for row in failed if runs[row["run_id"]]["by_name"]]

    carried = dict(migrated_first.ask(BY_CODE))

    assert carried["move"] == len(rows["migration_phasechange"])
    assert carried.get("override", 0) == sum(
        bool(row["overridden"]) for row in rows["migration_phasechange"]
    )
    assert carried["request"] == sum(requests.values())
    assert carried["approval"] == requests["done"]
    assert carried["cancellation"] == requests["cancelled"] + requests["failed"]
    assert carried["resolution"] == len(rows["migration_resolution"])
    assert carried["reveal"] == len(rows["migration_reveal"])
    assert carried["client_saved"] == len(rows["django_admin_log"])
    assert carried["comparison"] == count_changed(rows["migration_comparison"]) > 0
    assert len(of_people) <= carried["failure"] <= len(failed)
    events = migrated_first.ask(CARRIED)
    moments = [event[0] for event in events]
    assert moments == sorted(moments)
    for happened_at, _code, client_id, slug, who, *_rest, origin, correlation, facts in events:
        moment = happened_at.isoformat(timespec="microseconds")
        assert origin == f"carried over from {moment}"
        assert client_id
        assert slug
        assert who
        assert facts["key"]
        assert correlation == "carried over" or correlation.startswith("run ")
    assert "not-a-secret" not in json.dumps([event[-1] for event in events])


def test_they_say_who_did_what_why_and_in_which_run(migrated_first: First):
    rows = migrated_first.rows("nova_admin")
    moves = {(each[0], each[2]): each for each in migrated_first.ask(CARRIED) if each[1] == "move"}

    for row in rows["migration_phasechange"]:
        event = moves[datetime.fromisoformat(row["changed_at"]), row["client_id"]]
        run = f"run {row['run_id']}" if row["run_id"] else "carried over"
        assert event[3:6] == (row["slug"], row["by_name"] or "system", row["reason"])
        assert event[7] == run


def test_they_are_carried_over_once_and_are_what_any_release_verifies(migrated_first: First):
    before = migrated_first.ask(CARRIED)
    assert migrated_first.manage("audit", "verify").returncode == 0

    back = migrated_first.manage("migrate", "--no-color", "migration", "0053")
    assert back.returncode == 0, back.stderr
    assert migrated_first.migrate().returncode == 0

    assert migrated_first.ask(CARRIED) == before
    assert migrated_first.manage("audit", "verify").returncode == 0
