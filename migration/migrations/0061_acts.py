"""A plan says what its run does: the code of its act, and what its form asked."""

from django.db import migrations, models

from migration.schema_operations import ChangeTogether

CLASSES = [
    ("new", "New in AWS"),
    ("unchanged", "Unchanged"),
    ("updated", "Updated over this site's version"),
    ("overwritten", "Overwritten: somebody else's version"),
    ("left_alone", "Left alone"),
    ("failing", "Will fail"),
    ("will", "Would be done"),
    ("nothing", "Nothing to do"),
    ("refused", "Refused"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0060_carried_events"),
    ]

    operations = [
        ChangeTogether(
            migrations.AddField(
                model_name="runplan",
                name="act",
                field=models.CharField(db_default="push", default="push", max_length=32),
            ),
            migrations.AddField(
                model_name="runplan",
                name="values",
                field=models.JSONField(db_default={}, default=dict),
            ),
            migrations.AlterField(
                model_name="planrow",
                name="plan_class",
                field=models.CharField(choices=CLASSES, max_length=16),
            ),
        ),
        # On the way back, before the columns go: a former release would take such a plan for one of a push.
        migrations.RunSQL(
            migrations.RunSQL.noop,
            """
            DELETE FROM nova_admin.migration_planrow
            WHERE plan_id IN (SELECT id FROM nova_admin.migration_runplan WHERE act <> 'push');
            DELETE FROM nova_admin.migration_runplan WHERE act <> 'push';
            SET CONSTRAINTS ALL IMMEDIATE;
            """,
        ),
    ]
