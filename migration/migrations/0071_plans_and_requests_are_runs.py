"""A plan is a run that isn't started: open plans go on as runs, and started ones belong to their runs.

A request for a cutover or a purge of one client is a run in state *requested*, as one for many is. Closed requests are
entries of the audit since `0060_carried_events`. Backward the tables come again, with what is open. Permissions keep
their holders: to approve is one of runs now, and who could view requests can view runs.
"""

import django.db.models.deletion
from django.db import migrations, models

from migration.schema_operations import ChangeTogether, add_fields

# One that doesn't say what was seen of each client is made anew. 0.2.0 has plans of pushes alone.
PLANS_TO_RUNS = """
DELETE FROM nova_admin.migration_planrow AS of_another_look
USING nova_admin.migration_runplan AS plan
WHERE plan.id = plan_id AND of_another_look.look IS DISTINCT FROM plan.look;

UPDATE nova_admin.migration_runplan AS plan
SET state = 'making', look = NULL, made_at = NULL, counts = '{}'
WHERE state IN ('checking', 'differs') OR state = 'ready' AND EXISTS (
    SELECT FROM nova_admin.migration_planrow WHERE plan_id = plan.id AND NOT content ? 'seen'
);
DELETE FROM nova_admin.migration_planrow
USING nova_admin.migration_runplan AS plan
WHERE plan.id = plan_id AND plan.look IS NULL;

UPDATE nova_admin.migration_runplan AS plan
SET counts = counts || jsonb_build_object('only_moved', (
    SELECT count(*) FROM nova_admin.migration_planrow
    WHERE plan_id = plan.id AND look = plan.look AND plan_class = 'unchanged' AND content ->> 'phase' = 'postgres'
))
WHERE look IS NOT NULL AND NOT counts ? 'only_moved';

UPDATE nova_admin.migration_run AS run
SET act = 'push', planned_at = made_at, look = plan.look, plan_counts = counts, former_plan = plan.id
FROM nova_admin.migration_runplan AS plan WHERE plan.run_id = run.id;

INSERT INTO nova_admin.migration_run (
    kind, act, chosen, planned_at, look, plan_counts, former_plan, state, finished_at,
    overwrite, override_lines, adopt, include_inactive, by_id, by_name, created_at, worked_at
)
SELECT 'migrate', 'push', chosen, made_at, look, counts, id,
    CASE state WHEN 'making' THEN 'planning' WHEN 'ready' THEN 'planned' ELSE state END,
    CASE state WHEN 'discarded' THEN worked_at END,
    overwrite, CASE WHEN overwrite THEN '["overwrite"]'::jsonb ELSE '[]' END,
    false, false, by_id, by_name, created_at, worked_at
FROM nova_admin.migration_runplan WHERE state IN ('making', 'ready', 'discarded') ORDER BY id;

UPDATE nova_admin.migration_planrow SET run_id = run.id
FROM nova_admin.migration_run AS run WHERE former_plan = plan_id;
DELETE FROM nova_admin.migration_planrow WHERE run_id IS NULL;
SET CONSTRAINTS ALL IMMEDIATE;
"""
RUNS_TO_PLANS = """
UPDATE nova_admin.migration_run AS run SET former_plan = numbered.id
FROM (
    SELECT id AS run_id, row_number() OVER (ORDER BY id) + (
        SELECT coalesce(max(former_plan), 0) FROM nova_admin.migration_run
    ) AS id
    FROM nova_admin.migration_run
    WHERE act = 'push' AND former_plan IS NULL AND (state IN ('planning', 'planned', 'discarded') OR look IS NOT NULL)
) AS numbered
WHERE numbered.run_id = run.id;

INSERT INTO nova_admin.migration_runplan (
    id, run_id, chosen, state, made_at, look, counts, differences,
    overwrite, adopt, include_inactive, by_id, by_name, created_at, worked_at
)
SELECT former_plan, CASE WHEN is_started THEN id END, chosen,
    CASE WHEN is_started THEN 'started' WHEN state = 'planning' THEN 'making' WHEN state = 'planned' THEN 'ready'
        ELSE state END,
    planned_at, look, plan_counts, '[]',
    overwrite, adopt, include_inactive, by_id, by_name, created_at, worked_at
FROM nova_admin.migration_run, LATERAL (
    SELECT state NOT IN ('planning', 'planned', 'discarded') AS is_started
) AS stands
WHERE act = 'push' AND former_plan IS NOT NULL;
SELECT setval(pg_get_serial_sequence('nova_admin.migration_runplan', 'id'), max(id))
FROM nova_admin.migration_runplan HAVING max(id) IS NOT NULL;

UPDATE nova_admin.migration_planrow SET plan_id = former_plan, run_id = NULL
FROM nova_admin.migration_run AS run WHERE run.id = run_id AND act = 'push';
DELETE FROM nova_admin.migration_planrow WHERE plan_id IS NULL;
DELETE FROM nova_admin.migration_run WHERE state IN ('planning', 'planned', 'discarded');
SET CONSTRAINTS ALL IMMEDIATE;
"""

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
REQUESTS_TO_RUNS = f"""
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
RUNS_TO_REQUESTS = f"""
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
DELETE FROM nova_admin.migration_run WHERE id IN (SELECT id FROM asked);
SET CONSTRAINTS ALL IMMEDIATE;
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

# On the way back: a former release has no word for these. Adoptions are pushes to it, which leave alone what isn't
# ours; of runs that copied, what they did stays recorded.
LEAVE_KNOWN_KINDS = """
UPDATE nova_admin.migration_run SET kind = 'push' WHERE kind = 'adopt';
DELETE FROM nova_admin.migration_runitem WHERE act IN ('to_aws', 'to_postgres');
DELETE FROM nova_admin.migration_run WHERE kind IN ('to_aws', 'to_postgres');
"""


def make_row_of(model: str, **options: object) -> models.ForeignKey:
    """Return the field by which a row of a plan names whose it is."""
    related_name = "every_row" if model == "runplan" else "+"
    return models.ForeignKey(
        to=f"migration.{model}",
        on_delete=django.db.models.deletion.CASCADE,
        related_name=related_name,
        db_index=False,
        **options,
    )


class Migration(migrations.Migration):
    replaces = [
        ("migration", "0056_copies_in_runs"),
        ("migration", "0061_acts"),
        ("migration", "0063_adoptions"),
        ("migration", "0064_planned_runs"),
        ("migration", "0065_requests"),
    ]

    dependencies = [("migration", "0060_carried_events")]

    operations = [
        migrations.RunSQL(migrations.RunSQL.noop, LEAVE_KNOWN_KINDS),
        ChangeTogether(
            *add_fields(
                "run",
                act=models.CharField(max_length=32, blank=True, default="", db_default=""),
                chosen=models.JSONField(null=True),
                planned_at=models.DateTimeField(null=True),
                look=models.UUIDField(null=True),
                plan_counts=models.JSONField(default=dict, db_default={}),
                former_plan=models.BigIntegerField(null=True, unique=True),
            ),
            *add_fields("planrow", run=make_row_of("run", null=True)),
            # On the way back it has no value yet.
            migrations.AlterField("planrow", "plan", make_row_of("runplan", null=True)),
        ),
        migrations.RunSQL(PLANS_TO_RUNS, RUNS_TO_PLANS),
        migrations.RemoveConstraint("planrow", "one_row_a_client_and_look"),
        migrations.RemoveIndex("planrow", "planrow_class"),
        migrations.RemoveField("planrow", "plan"),
        migrations.AlterField("planrow", "run", make_row_of("run")),
        migrations.AddIndex(
            "planrow",
            models.Index(fields=["run", "look", "plan_class", "client_id"], name="planrow_class"),
        ),
        migrations.AddConstraint(
            "planrow",
            models.UniqueConstraint(
                fields=["run", "look", "client_id"], name="one_row_a_client_and_look"
            ),
        ),
        migrations.DeleteModel("RunPlan"),
        migrations.RunSQL(
            [REQUESTS_TO_RUNS, *MOVE_PERMISSIONS], [RUNS_TO_REQUESTS, *MOVE_PERMISSIONS_BACK]
        ),
        migrations.DeleteModel("MoveRequest"),
        migrations.AlterModelOptions(
            "run",
            {
                "ordering": ["-id"],
                "permissions": [("approve_move", "Can approve cutovers and purges")],
                "verbose_name": "run",
                "verbose_name_plural": "runs",
            },
        ),
    ]
