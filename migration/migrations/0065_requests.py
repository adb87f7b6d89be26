"""A request for a cutover or a purge of one client is a run in state *requested*, as one for many is; its table goes.

Closed requests have been entries of the audit since `0060_carried_events`. Backward the table comes again, with what is
open. Permissions keep their holders: to approve is one of runs now, and who could view requests can view runs.
"""

from django.db import migrations, models
from django.db.models.functions import Coalesce

# By the key of the sentence that says that evidence is missing: its kind, and the kind in words.
KINDS = """
(VALUES
    ('clean_streak', 'streak', 'Missing evidence: matching comparisons.'),
    ('time_in_phase', 'time', 'Missing evidence: time in the phase.'),
    ('too_few_reads', 'reads', 'Missing evidence: reads by NOVA.'),
    ('not_answered_by_aws', 'reads', 'Missing evidence: reads by NOVA.'),
    ('inactive_client', 'reads', 'Missing evidence: reads by NOVA.'),
    ('no_reader_process', 'processes', 'Missing evidence: NOVA processes seen.'),
    ('reader_failed_at_aws', 'failures', 'Missing evidence: no failure at AWS.'),
    ('copies_not_searched', 'copies', 'Missing evidence: search for copies.'),
    ('copies_found', 'copies_found', 'Missing evidence: search that finds no copies.')
) AS kinds (key, kind, words)
"""
# An override that names no kind that is known overrides nothing: of a run no kind would be any kind.
TO_RUNS = f"""
WITH asked AS (
    SELECT nextval(pg_get_serial_sequence('nova_admin.migration_run', 'id')) AS run_id, request.*, (
        SELECT coalesce(jsonb_agg(DISTINCT kind), '[]') FROM jsonb_array_elements(overridden) AS line
        JOIN {KINDS} ON kinds.key = line ->> 'key'
    ) AS override_kinds
    FROM (
        SELECT * FROM nova_admin.migration_moverequest WHERE state IN ('requested', 'waiting') ORDER BY id
    ) AS request
), runs AS (
    INSERT INTO nova_admin.migration_run (
        id, kind, state, by_id, by_name, move_from, move_to, reason, override_lines, override_reason, created_at, tries,
        adopt, include_inactive, steered_by_name, approved_by_name
    )
    SELECT run_id, 'move', 'requested', requested_by_id, requested_by_name, old, new, left(reason, 500), override_kinds,
        CASE override_kinds WHEN '[]' THEN '' ELSE override_reason END, requested_at, 60, false, false, '', ''
    FROM asked
)
INSERT INTO nova_admin.migration_runitem
    (run_id, act, client_id, slug, batch, outcome, error_class, comparison_status)
SELECT run_id, 'move', client_id, slug, 0, '', '', '' FROM asked
"""  # noqa: S608  # constants
# One of each client, as the table has it; a second one stays a run.
TO_REQUESTS = f"""
WITH asked AS (
    SELECT DISTINCT ON (item.client_id) run.*, item.client_id, item.slug
    FROM nova_admin.migration_run AS run JOIN nova_admin.migration_runitem AS item ON item.run_id = run.id
    WHERE state = 'requested' AND kind = 'move' AND wave_id IS NULL AND began_at IS NULL AND item.outcome = ''
        AND (SELECT count(*) FROM nova_admin.migration_runitem AS one WHERE one.run_id = run.id) = 1
    ORDER BY item.client_id, run.id DESC
), requests AS (
    INSERT INTO nova_admin.migration_moverequest (
        client_id, slug, old, new, state, reasons, reason, overridden, override_reason, requested_by_id,
        requested_by_name, requested_at, decided_by_name
    )
    SELECT client_id, slug, move_from, move_to, 'requested', '[]', reason, (
        SELECT coalesce(jsonb_agg(jsonb_build_object('key', key, 'values', '{{}}'::jsonb, 'text', words)), '[]')
        FROM {KINDS} WHERE override_lines ? kind
    ), override_reason, by_id, by_name, created_at, ''
    FROM asked
), items AS (
    DELETE FROM nova_admin.migration_runitem WHERE run_id IN (SELECT id FROM asked)
), plans AS (
    DELETE FROM nova_admin.migration_planrow WHERE run_id IN (SELECT id FROM asked)
)
DELETE FROM nova_admin.migration_run WHERE id IN (SELECT id FROM asked)
"""  # noqa: S608  # constants

# On a new database there are no permissions yet: Django makes them after all schema migrations.
OLD_TYPE = "SELECT id FROM nova_admin.django_content_type WHERE app_label = 'migration' AND model = 'moverequest'"
NEW_TYPE = (
    "SELECT id FROM nova_admin.django_content_type WHERE app_label = 'migration' AND model = 'run'"
)
# Of whoever has one permission: the other one too.
GIVE = """
INSERT INTO nova_admin.auth_{of}_permissions ({of_id}, permission_id)
SELECT held.{of_id}, given.id FROM nova_admin.auth_{of}_permissions AS held
JOIN nova_admin.auth_permission AS known ON known.id = held.permission_id
JOIN nova_admin.django_content_type AS kind ON kind.id = known.content_type_id AND kind.app_label = 'migration'
JOIN nova_admin.auth_permission AS given ON given.codename = '{new}' AND given.content_type_id = ({type})
WHERE known.codename = '{old}' ON CONFLICT DO NOTHING
"""


def give(old: str, new: str, content_type: str) -> list[str]:
    tables = (("group", "group_id"), ("user_user", "user_id"))
    return [
        GIVE.format(of=of, of_id=of_id, old=old, new=new, type=content_type) for of, of_id in tables
    ]


OLD_PERMISSIONS = f"SELECT id FROM nova_admin.auth_permission WHERE content_type_id = ({OLD_TYPE})"  # noqa: S608  # constants
MOVE_PERMISSIONS = [
    f"""
    UPDATE nova_admin.auth_permission SET content_type_id = ({NEW_TYPE})
    WHERE codename = 'approve_move' AND content_type_id = ({OLD_TYPE})
    """,  # noqa: S608  # constants
    *give("view_moverequest", "view_run", NEW_TYPE),
    *(
        f"DELETE FROM nova_admin.{table} WHERE permission_id IN ({OLD_PERMISSIONS})"  # noqa: S608  # constants
        for table in ("migration_rolegrant", "auth_group_permissions", "auth_user_user_permissions")
    ),
    f"DELETE FROM nova_admin.auth_permission WHERE id IN ({OLD_PERMISSIONS})",  # noqa: S608  # constants
    f"UPDATE nova_admin.django_admin_log SET content_type_id = NULL WHERE content_type_id = ({OLD_TYPE})",  # noqa: S608  # constants
    f"DELETE FROM nova_admin.django_content_type WHERE id = ({OLD_TYPE})",  # noqa: S608  # constants
]
MOVE_PERMISSIONS_BACK = [
    """
    INSERT INTO nova_admin.django_content_type (app_label, model) SELECT 'migration', 'moverequest'
    WHERE EXISTS (SELECT FROM nova_admin.django_content_type) ON CONFLICT DO NOTHING
    """,
    f"""
    UPDATE nova_admin.auth_permission SET content_type_id = ({OLD_TYPE})
    WHERE codename = 'approve_move' AND content_type_id = ({NEW_TYPE})
    """,  # noqa: S608  # constants
    f"""
    INSERT INTO nova_admin.auth_permission (content_type_id, codename, name)
    SELECT id, 'view_moverequest', 'Can view request' FROM ({OLD_TYPE}) AS former ON CONFLICT DO NOTHING
    """,  # noqa: S608  # constants
    *give("view_run", "view_moverequest", OLD_TYPE),
]


class Migration(migrations.Migration):
    dependencies = [("migration", "0064_planned_runs")]

    operations = [
        migrations.RunSQL([TO_RUNS, *MOVE_PERMISSIONS], [TO_REQUESTS, *MOVE_PERMISSIONS_BACK]),
        migrations.DeleteModel(name="MoveRequest"),
        migrations.AlterModelOptions(
            name="run",
            options={
                "ordering": ["-id"],
                "permissions": [("approve_move", "Can approve cutovers and purges")],
                "verbose_name": "run",
                "verbose_name_plural": "runs",
            },
        ),
        # Recent activity tells what is done with a request for one client, though it is its run's.
        migrations.RemoveIndex(model_name="auditevent", name="audit_by_hand"),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                models.OrderBy(Coalesce("happened_at", "at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(
                    ("slug", ""),
                    models.Q(("correlation__startswith", "run "), _negated=True),
                    ("code__in", ["request", "approval", "cancellation"]),
                    _connector="OR",
                ),
                name="audit_by_hand",
            ),
        ),
    ]
