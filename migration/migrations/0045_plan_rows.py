"""Sites of 100,000 clients: a plan's clients have a row each, and a batch finds its own items and moves by an index."""

import django.db.models.deletion
from django.db import migrations, models

from migration.schema_operations import ChangeTogether

CARRY_OVER = """
UPDATE migration_runplan SET look = gen_random_uuid() WHERE made_at IS NOT NULL;
INSERT INTO migration_planrow (plan_id, look, client_id, plan_class, content)
    SELECT plan.id, plan.look, (client ->> 'id')::int, client ->> 'class', client
    FROM migration_runplan AS plan, jsonb_array_elements(plan.rows) AS client
    WHERE plan.look IS NOT NULL
    ORDER BY 1, 3;
UPDATE migration_runplan SET counts = jsonb_build_object(
    'clients', jsonb_array_length(rows),
    'classes', (
        SELECT coalesce(jsonb_object_agg(name, number), '{}') FROM (
            SELECT client ->> 'class' AS name, count(*) AS number FROM jsonb_array_elements(rows) AS client GROUP BY 1
        ) AS classes
    ),
    'writes', (
        SELECT coalesce(jsonb_object_agg(name, number), '{}') FROM (
            SELECT written.value AS name, count(*) AS number
            FROM jsonb_array_elements(rows) AS client, jsonb_each_text(client -> 'writes') AS written GROUP BY 1
        ) AS writes
    ),
    'present', (
        SELECT count(*) FROM jsonb_array_elements(rows) AS client, jsonb_object_keys(client -> 'versions')
    ),
    'spared', (
        SELECT count(*) FROM jsonb_array_elements(rows) AS client WHERE client #>> '{message,key}' = 'left_alone'
    )
) WHERE look IS NOT NULL;
SET CONSTRAINTS ALL IMMEDIATE
"""
CARRY_BACK = """
UPDATE migration_runplan AS plan SET rows = coalesce((
    SELECT jsonb_agg(content ORDER BY client_id) FROM migration_planrow AS client
    WHERE client.plan_id = plan.id AND client.look = plan.look
), '[]')
"""


class Migration(migrations.Migration):
    dependencies = [("migration", "0044_refused_by_pooler")]

    operations = [
        ChangeTogether(
            migrations.AddField(
                model_name="runplan", name="look", field=models.UUIDField(null=True)
            ),
            migrations.AddField(
                model_name="runplan",
                name="counts",
                field=models.JSONField(db_default={}, default=dict),
            ),
            migrations.CreateModel(
                name="PlanRow",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("look", models.UUIDField()),
                    ("client_id", models.IntegerField()),
                    (
                        "plan_class",
                        models.CharField(
                            choices=[
                                ("new", "New in AWS"),
                                ("unchanged", "Unchanged"),
                                ("updated", "Updated over this site's version"),
                                ("overwritten", "Overwritten: somebody else's version"),
                                ("left_alone", "Left alone"),
                                ("failing", "Will fail"),
                            ],
                            max_length=16,
                        ),
                    ),
                    ("content", models.JSONField()),
                    (
                        "plan",
                        models.ForeignKey(
                            db_index=False,
                            on_delete=django.db.models.deletion.CASCADE,
                            related_name="every_row",
                            to="migration.runplan",
                        ),
                    ),
                ],
                options={
                    "default_permissions": (),
                    "indexes": [
                        models.Index(
                            fields=["plan", "look", "plan_class", "client_id"],
                            name="planrow_class",
                        )
                    ],
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("plan", "look", "client_id"), name="one_row_a_client_and_look"
                        )
                    ],
                },
            ),
            migrations.AlterField(
                model_name="phasechange",
                name="run",
                field=models.ForeignKey(
                    db_index=False,
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="phase_changes",
                    to="migration.run",
                ),
            ),
            migrations.AddIndex(
                model_name="phasechange",
                index=models.Index(fields=["run", "client"], name="move_of_run"),
            ),
            migrations.RemoveIndex(model_name="runitem", name="item_outcome"),
            migrations.RemoveIndex(model_name="runitem", name="open_item_batch"),
            migrations.AddIndex(
                model_name="runitem",
                index=models.Index(fields=["run", "outcome", "batch"], name="item_outcome"),
            ),
            migrations.AddIndex(
                model_name="runitem",
                index=models.Index(
                    condition=models.Q(("outcome", "")), fields=["client"], name="open_item_client"
                ),
            ),
            migrations.AlterField(
                model_name="runitem",
                name="run",
                field=models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="items",
                    to="migration.run",
                ),
            ),
        ),
        migrations.RunSQL(CARRY_OVER, CARRY_BACK),
        migrations.RemoveField(model_name="runplan", name="rows"),
    ]
