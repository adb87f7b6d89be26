"""The database notes what all hosts share, and a worker its release, its schema and why it takes no tasks."""

from django.db import migrations, models

import migration.core.fields
from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [("migration", "0051_asked_and_sealed")]

    operations = [
        ChangeTogether(
            migrations.AddField(
                model_name="databaseclaim",
                name="facts",
                field=models.JSONField(null=True),
            ),
            migrations.AddField(
                model_name="worker",
                name="idle_because",
                field=migration.core.fields.MessageField(null=True),
            ),
            migrations.AddField(
                model_name="worker",
                name="release",
                field=models.CharField(db_default="", max_length=50),
            ),
            migrations.AddField(
                model_name="worker",
                name="schema",
                field=models.CharField(db_default="", max_length=100),
            ),
        ),
    ]
