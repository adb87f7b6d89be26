"""Which secrets differ from the settings, for lists and numbers; and what a run began to change, for the audit."""

from django.db import migrations, models

import migration.core.fields
from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [("migration", "0045_plan_rows")]

    operations = [
        ChangeTogether(
            migrations.AddField(
                model_name="secret",
                name="differs",
                field=models.BooleanField(db_default=False, default=False),
            ),
            migrations.AddField(
                model_name="secret",
                name="compared_with",
                field=models.CharField(db_default="", default="", max_length=16),
            ),
            migrations.AddField(
                model_name="secret", name="tried_at", field=models.DateTimeField(null=True)
            ),
            migrations.AddField(
                model_name="secret",
                name="begun",
                field=migration.core.fields.MessageField(null=True),
            ),
            migrations.AddField(
                model_name="secret",
                name="begun_on",
                field=models.JSONField(null=True),
            ),
            migrations.AddIndex(
                model_name="secret",
                index=models.Index(
                    condition=models.Q(("differs", True)), fields=["client"], name="secret_differs"
                ),
            ),
        )
    ]
