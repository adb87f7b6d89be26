"""Items know what their run does, so that a client's newest push, comparison and move are found by an index."""

from django.db import migrations, models

from migration.schema_operations import ChangeTogether

FILL = """
UPDATE migration_runitem AS item SET act = CASE run.kind WHEN 'migrate' THEN 'push' ELSE run.kind END
FROM migration_run AS run WHERE run.id = item.run_id
"""


class Migration(migrations.Migration):
    dependencies = [
        ("credentials", "0005_pushed_at"),
        ("migration", "0023_move_runs"),
    ]

    operations = [
        migrations.AddField(
            model_name="runitem",
            name="act",
            field=models.CharField(
                blank=True,
                choices=[("push", "Push"), ("compare", "Comparison"), ("move", "Move")],
                db_default="",
                default="",
                max_length=16,
                verbose_name="act",
            ),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        ChangeTogether(
            migrations.AddIndex(
                model_name="runitem",
                index=models.Index(
                    condition=models.Q(("outcome__in", ("failed", "refused"))),
                    fields=["client", "act"],
                    name="item_failed",
                ),
            ),
            migrations.AddIndex(
                model_name="runitem",
                index=models.Index(
                    models.F("client"),
                    models.F("act"),
                    models.OrderBy(models.F("finished_at"), descending=True, nulls_last=True),
                    models.OrderBy(models.F("id"), descending=True),
                    condition=models.Q(("outcome", ""), _negated=True),
                    name="item_newest",
                ),
            ),
        ),
    ]
