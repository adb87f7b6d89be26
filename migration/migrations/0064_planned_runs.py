"""A plan is a run that isn't started: open plans go on as runs, and started ones belong to their runs."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from migration.schema_operations import ChangeTogether

STATES = [
    ("planning", "Being planned"),
    ("planned", "Planned"),
    ("requested", "Requested"),
    ("running", "Running"),
    ("paused", "Paused"),
    ("stopped", "Stopped"),
    ("finished", "Finished"),
    ("discarded", "Discarded"),
]

# One that doesn't say what was seen of each client, as of releases before 0.3.0, is made anew. Releases had plans of
# pushes alone.
CARRY_OVER = """
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
SET act = plan.act, planned_at = made_at, look = plan.look, plan_counts = counts, former_plan = plan.id
FROM nova_admin.migration_runplan AS plan WHERE plan.run_id = run.id;

INSERT INTO nova_admin.migration_run (
    kind, act, chosen, planned_at, look, plan_counts, former_plan, state, finished_at,
    overwrite, override_lines, adopt, include_inactive, by_id, by_name, created_at, worked_at
)
SELECT 'migrate', act, chosen, made_at, look, counts, id,
    CASE state WHEN 'making' THEN 'planning' WHEN 'ready' THEN 'planned' ELSE state END,
    CASE state WHEN 'discarded' THEN worked_at END,
    is_overwriting, CASE WHEN is_overwriting THEN '["overwrite"]'::jsonb ELSE '[]' END,
    false, false, by_id, by_name, created_at, worked_at
FROM nova_admin.migration_runplan, LATERAL (
    SELECT overwrite OR coalesce("values" -> 'override' ? 'overwrite', false) AS is_overwriting
) AS asked
WHERE act = 'push' AND state IN ('making', 'ready', 'discarded') ORDER BY id;

UPDATE nova_admin.migration_planrow SET run_id = run.id
FROM nova_admin.migration_run AS run WHERE former_plan = plan_id;
DELETE FROM nova_admin.migration_planrow WHERE run_id IS NULL;
SET CONSTRAINTS ALL IMMEDIATE;
"""
CARRY_BACK = """
UPDATE nova_admin.migration_run AS run SET former_plan = numbered.id
FROM (
    SELECT id AS run_id, row_number() OVER (ORDER BY id) + (
        SELECT coalesce(max(former_plan), 0) FROM nova_admin.migration_run
    ) AS id
    FROM nova_admin.migration_run
    WHERE former_plan IS NULL AND (state IN ('planning', 'planned', 'discarded') OR look IS NOT NULL)
) AS numbered
WHERE numbered.run_id = run.id;

INSERT INTO nova_admin.migration_runplan (
    id, run_id, act, "values", chosen, state, made_at, look, counts, differences,
    overwrite, adopt, include_inactive, by_id, by_name, created_at, worked_at
)
SELECT former_plan, CASE WHEN is_started THEN id END, act,
    jsonb_build_object('override', override_lines), chosen,
    CASE WHEN is_started THEN 'started' WHEN state = 'planning' THEN 'making' WHEN state = 'planned' THEN 'ready'
        ELSE state END,
    planned_at, look, plan_counts, '[]',
    overwrite, adopt, include_inactive, by_id, by_name, created_at, worked_at
FROM nova_admin.migration_run, LATERAL (
    SELECT state NOT IN ('planning', 'planned', 'discarded') AS is_started
) AS stands
WHERE former_plan IS NOT NULL;
SELECT setval(pg_get_serial_sequence('nova_admin.migration_runplan', 'id'), max(id))
FROM nova_admin.migration_runplan HAVING max(id) IS NOT NULL;

UPDATE nova_admin.migration_planrow SET plan_id = former_plan, run_id = NULL
FROM nova_admin.migration_run AS run WHERE run.id = run_id;
DELETE FROM nova_admin.migration_run WHERE state IN ('planning', 'planned', 'discarded');
SET CONSTRAINTS ALL IMMEDIATE;
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
    dependencies = [
        ("migration", "0063_adoptions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
            migrations.AddField(
                "run", "act", models.CharField(blank=True, db_default="", default="", max_length=32)
            ),
            migrations.AddField("run", "chosen", models.JSONField(null=True)),
            migrations.AddField("run", "planned_at", models.DateTimeField(null=True)),
            migrations.AddField("run", "look", models.UUIDField(null=True)),
            migrations.AddField(
                "run", "plan_counts", models.JSONField(db_default={}, default=dict)
            ),
            migrations.AddField(
                "run", "former_plan", models.BigIntegerField(null=True, unique=True)
            ),
            migrations.AlterField(
                "run",
                "state",
                models.CharField(
                    choices=STATES,
                    db_default="running",
                    db_index=True,
                    default="running",
                    max_length=16,
                    verbose_name="state",
                ),
            ),
            migrations.AddField("planrow", "run", make_row_of("run", null=True)),
            # On the way back it has no value yet.
            migrations.AlterField("planrow", "plan", make_row_of("runplan", null=True)),
        ),
        migrations.RunSQL(CARRY_OVER, CARRY_BACK),
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
    ]
