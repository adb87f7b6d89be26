"""What stands only in other tables becomes events of the audit, once: what histories told from there until now.

Of the time before the audit's first entry: moves, requests, resolved mismatches, reveals, login tests by people,
rotations and edits. Of any time, as no release recorded them: comparisons whose result changed, what failed or was
refused in runs, and the runs of campaigns. In one transaction, in the order in which it happened. Nothing is taken back.
"""

import json
import logging
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from credentials.models.credentials import ROW_NAMES
from migration.core.audit import (
    APPROVAL_EVENT,
    CANCELLATION_EVENT,
    REQUEST_EVENT,
    RUN_EVENT,
    SYSTEM,
    Actor,
    AuditEvent,
    EventKind,
    acting,
)
from migration.core.clients import (
    EVIDENCE_OVERRIDDEN,
    MOVE_EVENT,
    MOVED,
    OVERRIDE_EVENT,
)
from migration.core.comparisons import COMPARISON_EVENT, RESOLUTION_EVENT, describe_result
from migration.core.sentences import (
    APPROVED,
    CANCELLED_REQUEST,
    MOVE_REQUESTED,
    MOVE_REQUESTED_TO_WAIT,
)
from migration.logins.models import (
    ROTATION_ENDED,
    ROTATION_EVENT,
    SECRET_ROTATED,
    LoginTest,
)
from migration.logins.reveals import REVEAL_EVENT, REVEALED
from migration.logins.testing import LOGIN_TEST_EVENT, LOGINS_TESTED, describe_test
from migration.pushes.resolutions import ACKNOWLEDGED_UNTIL, RESOLUTIONS
from migration.pushes.saves import (
    CLIENT_ADDED,
    CLIENT_ADDED_EVENT,
    CLIENT_SAVED,
    CLIENT_SAVED_EVENT,
    FIELDS_OF_CLIENT,
    LOGIN_ADDED,
    LOGIN_CHANGED,
)
from migration.runs.engine import FAILURE_EVENT, describe_failure
from migration.runs.models import (
    MOVES_STARTED,
    REQUEST_FAILED,
    RUN_ENDED,
    RUN_ENDED_BY_STOP,
    RUN_NAMES,
)
from nova_credentials.messages import Message, in_a_row
from nova_credentials.phases import Phase

logger = logging.getLogger(__name__)

# Fetched and stored at a time: memory doesn't grow with the number of clients.
ROWS_AT_ONCE = 2000
# An act and its entry are written at once; the entry has its time a little later: of an act just before the first entry
# this may be its own.
SAME_ACT = "1 minute"
# Where an act was part of no run.
NO_RUN = "carried over"

# The first entry, and up to when others were recorded by a release that records them: a site that went back to a former
# release, and comes again, carries over what happened meanwhile.
BOUNDS = """
SELECT
    coalesce((
        SELECT at FROM nova_admin.migration_auditevent
        WHERE happened_at IS NULL AND at BETWEEN 'epoch' AND now() + interval '1 day'
        ORDER BY id LIMIT 1
    ), now()),
    coalesce(max(coalesce(happened_at, at)) FILTER (WHERE code = 'comparison'), 'epoch'),
    coalesce(max(coalesce(happened_at, at)) FILTER (WHERE code = 'failure'), 'epoch'),
    coalesce(max(coalesce(happened_at, at)) FILTER (WHERE code = 'run' AND correlation LIKE 'campaign %%'), 'epoch')
FROM nova_admin.migration_auditevent
WHERE code IN ('comparison', 'failure', 'run') AND coalesce(happened_at, at) BETWEEN 'epoch' AND now() + interval '1 day'
"""
# Each row has: when, its code, its place among those of the same time, client, slug, who, reason, run, and its facts.
BEFORE_THE_AUDIT = """
SELECT changed_at AS happened_at, 'move' AS code, id AS place, client_id, slug, by_name AS who, reason, run_id,
    jsonb_build_object(
        'old', old, 'new', new, 'note', note, 'overridden', overridden, 'override_reason', override_reason
    ) AS facts
FROM nova_admin.migration_phasechange
UNION ALL
SELECT requested_at, 'request', id, client_id, slug, requested_by_name, reason, NULL,
    jsonb_build_object('old', old, 'new', new, 'waits_for', CASE state WHEN 'waiting' THEN reasons ELSE '[]' END)
FROM nova_admin.migration_moverequest
UNION ALL
SELECT decided_at, CASE state WHEN 'cancelled' THEN 'cancellation' ELSE 'approval' END, id, client_id, slug,
    decided_by_name, reason, NULL, jsonb_build_object('old', old, 'new', new, 'who', requested_by_name)
FROM nova_admin.migration_moverequest WHERE state IN ('done', 'cancelled')
UNION ALL
SELECT resolved_at, 'resolution', id, client_id, slug, by_name, reason, NULL,
    jsonb_build_object('kind', kind, 'until', until, 'message', message)
FROM nova_admin.migration_resolution
UNION ALL
SELECT revealed_at, 'reveal', id, client_id, slug, username, reason, NULL,
    jsonb_build_object('kind', kind, 'row', credential_id, 'field', field)
FROM nova_admin.migration_reveal
UNION ALL
SELECT tested_at, 'login_test', min(test.id), client_id, coalesce(client.slug, '?'), by_name, '', NULL,
    jsonb_agg(jsonb_build_object(
        'kind', kind, 'credential_id', credential_id, 'label', label, 'store', store, 'outcome', outcome,
        'service', service
    ) ORDER BY test.id)
FROM nova_admin.migration_logintest AS test LEFT JOIN public.clients AS client ON client.id = client_id
WHERE by_name <> '' GROUP BY tested_at, client_id, client.slug, by_name
UNION ALL
SELECT ended_at, 'rotation', id, client_id, slug, by_name, '', NULL, jsonb_build_object(
    'kind', credential_type, 'label', label, 'rotated', outcome = 'rotated', 'message', message
)
FROM nova_admin.migration_rotation WHERE outcome <> ''
UNION ALL
SELECT action_time, CASE action_flag WHEN 1 THEN 'client_added' ELSE 'client_saved' END, log.id, object_id::int,
    coalesce(client.slug, object_repr), username, '', NULL, to_jsonb(change_message)
FROM nova_admin.django_admin_log AS log JOIN nova_admin.auth_user AS person ON person.id = user_id
JOIN nova_admin.django_content_type AS kind ON kind.id = content_type_id
LEFT JOIN public.clients AS client ON client.id::text = object_id
WHERE app_label = 'credentials' AND model = 'client' AND action_flag IN (1, 2) AND object_id ~ '^[0-9]{1,9}$'
"""
# Of the schedule's runs sweeps are told by their results alone, and a failure that comes again once a day.
NEVER_RECORDED = """
SELECT compared_at, 'comparison', changed.id, changed.client_id, changed.slug, run.by_name, '', run.id,
    jsonb_build_object('status', status, 'mismatches', mismatches, 'message', message)
FROM (
    SELECT comparison.*, lag(status) OVER in_turn AS former_status, lag(mismatches) OVER in_turn AS former_mismatches
    FROM nova_admin.migration_comparison AS comparison WHERE status <> 'unchecked'
    WINDOW in_turn AS (PARTITION BY client_id ORDER BY id)
) AS changed LEFT JOIN nova_admin.migration_run AS run ON run.id = run_id
WHERE compared_at > %(compared)s
    AND (status <> coalesce(former_status, 'match') OR mismatches <> coalesce(former_mismatches, '[]'))
UNION ALL
SELECT finished_at, 'failure', id, client_id, slug, by_name, reason, run_id,
    jsonb_build_object('kind', kind, 'outcome', outcome, 'message', message, 'class', error_class)
FROM (
    SELECT item.*, run.kind, run.by_name, run.reason,
        kind IN ('push', 'rotate', 'compare') AND run.by_name = '' AND tries = 1 AND wave_id IS NULL AS is_of_schedule,
        row_number() OVER (
            PARTITION BY client_id, kind, outcome, error_class, message ->> 'key', date_trunc('day', item.finished_at)
            ORDER BY item.id
        ) AS number
    FROM nova_admin.migration_runitem AS item JOIN nova_admin.migration_run AS run ON run.id = run_id
    WHERE outcome IN ('failed', 'refused') AND item.finished_at > %(failed)s
) AS failed
WHERE NOT is_of_schedule OR (number = 1 AND kind <> 'compare')
UNION ALL
SELECT decided_at, 'cancellation', id, client_id, slug, decided_by_name, reason, NULL,
    jsonb_build_object('old', old, 'new', new, 'who', requested_by_name, 'failed', reasons)
FROM nova_admin.migration_moverequest AS request
WHERE state = 'failed' AND NOT EXISTS (
    SELECT FROM nova_admin.migration_auditevent AS known
    WHERE known.client_id = request.client_id AND known.code = 'cancellation'
        AND coalesce(known.happened_at, known.at) BETWEEN decided_at AND decided_at + interval '1 minute'
)
UNION ALL
SELECT at, 'run', id, NULL, '', CASE WHEN ended THEN '' ELSE by_name END, CASE WHEN ended THEN '' ELSE reason END, id,
    jsonb_build_object(
        'kind', kind, 'old', move_from, 'new', move_to, 'campaign', campaign_id, 'ended', ended, 'state', state,
        'counts', counts
    )
FROM (
    SELECT run.*, wave.campaign_id, of_run.*, (
        SELECT jsonb_build_object(
            'n', count(*), 'failed', count(*) FILTER (WHERE outcome = 'failed'),
            'refused', count(*) FILTER (WHERE outcome = 'refused'),
            'left', count(*) FILTER (
                WHERE outcome = 'skipped'
                    AND message ->> 'key' IN ('run_stopped', 'run_interrupted', 'run_withdrawn')
            ),
            'differ', count(*) FILTER (
                WHERE comparison_status IN ('mismatch', 'missing_in_aws', 'missing_in_postgres')
            )
        ) FROM nova_admin.migration_runitem WHERE run_id = run.id
    ) AS counts
    FROM nova_admin.migration_run AS run JOIN nova_admin.migration_wave AS wave ON wave.id = wave_id
    CROSS JOIN LATERAL (VALUES (run.created_at, false), (run.finished_at, true)) AS of_run (at, ended)
    WHERE at > %(of_campaigns)s
) AS of_campaigns
"""
EVENTS = f"""
SELECT happened_at, code, client_id, slug, who, reason, run_id, facts::text FROM (
    SELECT * FROM ({BEFORE_THE_AUDIT}) AS act
    WHERE happened_at < %(begun)s AND NOT EXISTS (
        SELECT FROM nova_admin.migration_auditevent AS known
        WHERE known.client_id = act.client_id AND known.code = act.code
            AND (known.happened_at = act.happened_at OR (
                act.happened_at > %(begun)s::timestamptz - interval '{SAME_ACT}' AND known.happened_at IS NULL
                AND known.at BETWEEN act.happened_at AND act.happened_at + interval '{SAME_ACT}'
            ))
    )
    UNION ALL
    {NEVER_RECORDED}
) AS event WHERE happened_at BETWEEN 'epoch' AND now() + interval '1 day' ORDER BY happened_at, place
"""  # noqa: S608  # constants


# The columns that the table has here, which the model's own statement may go beyond.
COLUMNS = (
    *("id", "at", "happened_at", "code", "who", "origin", "client_id", "slug", "reason", "facts"),
    *("correlation", "key", "signature"),
)
STORE = f"""
INSERT INTO nova_admin.migration_auditevent ({", ".join(COLUMNS)})
SELECT {", ".join(COLUMNS)} FROM jsonb_to_recordset(%s::jsonb) AS new (
    id uuid, at timestamptz, happened_at timestamptz, code text, who text, origin text, client_id int, slug text,
    reason text, facts text, correlation text, key text, signature text
)
"""  # noqa: S608  # constants


def carry_over(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        cursor.execute(BOUNDS)
        names = ("begun", "compared", "failed", "of_campaigns")
        bounds = dict(zip(names, cursor.fetchone(), strict=True))
    with connection.chunked_cursor() as cursor:
        cursor.execute(EVENTS, bounds)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            events = [event for row in rows for event in list_events(*row)]
            values = [{name: getattr(event, name) for name in COLUMNS} for event in events]
            with connection.cursor() as writing:
                writing.execute(STORE, [json.dumps(values, default=str)])


def list_events(
    happened_at: datetime, code: str, client_id: int | None, *row: Any
) -> list[AuditEvent]:
    """Return the events of a row of EVENTS; none of one that isn't as this site wrote it."""
    try:
        return list(make_events(happened_at, code, client_id, *row))
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError):
        logger.warning("Not carried over: %s of client %s, which can't be read", code, client_id)
        return []


def make_events(
    happened_at: datetime,
    code: str,
    client_id: int | None,
    slug: str,
    who: str | None,
    reason: str,
    run_id: int | None,
    facts: str,
) -> Iterator[AuditEvent]:
    """Yield the events that a row of EVENTS tells."""
    row = json.loads(facts)
    correlation = f"run {run_id}" if run_id else NO_RUN
    if code == "run":
        correlation = f"campaign {row['campaign']}"
    with acting(Actor("", correlation)):
        for kind, told, why in describe(code, slug, reason, run_id, row):
            yield AuditEvent.make_signed(
                kind,
                told,
                by=who or SYSTEM,
                client_id=client_id,
                slug=slug,
                reason=why,
                happened_at=happened_at,
            )


def describe(
    code: str, slug: str, reason: str, run_id: int | None, row: Any
) -> Iterator[tuple[EventKind, Message, str]]:
    """Yield the kind of each event, what happened, and why as somebody typed it."""
    if code == "move":
        phases = name_phases(row)
        moved = in_a_row(MOVED(**phases), read_message(row["note"]))
        yield MOVE_EVENT, moved, reason
        if row["overridden"]:
            lines = tuple(map(Message.from_json, row["overridden"]))
            told = EVIDENCE_OVERRIDDEN(new=phases["new"], lines=lines)
            yield OVERRIDE_EVENT, told, row["override_reason"]
    elif code == "request":
        told = MOVE_REQUESTED(**name_phases(row))
        if lines := tuple(map(Message.from_json, row["waits_for"])):
            told = MOVE_REQUESTED_TO_WAIT(reasons=lines, **name_phases(row))
        yield REQUEST_EVENT, told, reason
    elif code == "cancellation":
        who = row["who"] or "?"
        told = CANCELLED_REQUEST(who=who, **name_phases(row))
        if row.get("failed") is not None:
            why = in_a_row(*map(Message.from_json, row["failed"])) or "?"
            told = REQUEST_FAILED(who=who, why=why, **name_phases(row))
        yield CANCELLATION_EVENT, told, reason
    elif code == "approval":
        yield APPROVAL_EVENT, APPROVED(who=row["who"] or "?", **name_phases(row)), reason
    elif code == "resolution":
        done = RESOLUTIONS[row["kind"]]()
        if row["until"]:
            done = ACKNOWLEDGED_UNTIL(until=date.fromisoformat(row["until"]))
        yield RESOLUTION_EVENT, in_a_row(done, read_message(row["message"])), reason
    elif code == "reveal":
        name = ROW_NAMES[row["kind"]](id=str(row["row"]))
        yield REVEAL_EVENT, REVEALED(field=row["field"], row=name), reason
    elif code == "login_test":
        tests = tuple(describe_test(LoginTest(**test)) for test in row)
        yield LOGIN_TEST_EVENT, LOGINS_TESTED(results=tests), ""
    elif code == "rotation":
        login = " › ".join(filter(None, (slug, row["kind"], row["label"])))
        told = SECRET_ROTATED(login=login, kind=row["kind"])
        if not row["rotated"]:
            why = read_message(row["message"]) or ""
            told = ROTATION_ENDED(login=login, kind=row["kind"], why=why)
        yield ROTATION_EVENT, told, ""
    elif code in ("client_added", "client_saved"):
        is_new = code == "client_added"
        if changes := list_changes(row) or ((slug,) if is_new else ()):
            kind = CLIENT_ADDED_EVENT if is_new else CLIENT_SAVED_EVENT
            yield kind, (CLIENT_ADDED if is_new else CLIENT_SAVED)(changes=changes), ""
    elif code == "comparison":
        message = read_message(row["message"])
        yield COMPARISON_EVENT, describe_result(row["status"], row["mismatches"], message), ""
    elif code == "failure":
        run = RUN_NAMES[row["kind"]](id=str(run_id))
        why = read_message(row["message"]) or row["class"]
        yield FAILURE_EVENT, describe_failure(run, row["outcome"], why), reason
    elif code == "run":
        yield RUN_EVENT, describe_run(run_id, row), reason


def describe_run(run_id: int | None, row: Any) -> Message:
    """Say that a campaign's run began, or how it ended."""
    run, counts = RUN_NAMES[row["kind"]](id=str(run_id)), row["counts"]
    left = counts.pop("left")
    if not row["ended"]:
        return MOVES_STARTED(run=run, n=counts["n"], **name_phases(row))
    if row["state"] == "stopped":
        return RUN_ENDED_BY_STOP(run=run, left=left, **counts)
    return RUN_ENDED(run=run, **counts)


def read_message(stored: Any) -> Message | None:
    return Message.from_json(stored) if stored else None


def name_phases(row: Any) -> dict[str, Message]:
    return {name: Phase(row[name]).label for name in ("old", "new")}


def list_changes(text: str) -> tuple[Message | str, ...]:
    """Return what Django's log says was changed: fields by their labels, logins by their kind and id."""
    try:
        acts = [(verb, act) for part in json.loads(text) for verb, act in part.items()]
        return tuple(
            describe_change(verb, act.get("object", ""), ", ".join(act["fields"]))
            for verb, act in acts
            if act.get("fields")
        )
    except (ValueError, TypeError, AttributeError, LookupError):
        return (text,) if text else ()  # a sentence, as it is


def describe_change(verb: str, row: str, fields: str) -> Message:
    if not row:
        return FIELDS_OF_CLIENT(fields=fields)
    return (LOGIN_ADDED if verb == "added" else LOGIN_CHANGED)(row=row, fields=fields)


class Migration(migrations.Migration):
    dependencies = [("migration", "0059_notices_and_problems")]

    operations = [migrations.RunPython(carry_over, migrations.RunPython.noop)]
