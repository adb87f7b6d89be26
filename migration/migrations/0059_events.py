"""When an event happened, where that was before it was written; and the orders in which histories read events."""

from django.db import migrations, models
from django.db.models.functions import Coalesce


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0058_open_items_by_client"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            [
                # Backward it stays: the audit is never changed, and a release that doesn't know it writes none.
                migrations.RunSQL(
                    "ALTER TABLE nova_admin.migration_auditevent ADD COLUMN IF NOT EXISTS happened_at timestamptz",
                    migrations.RunSQL.noop,
                ),
            ],
            [
                migrations.AddField(
                    model_name="auditevent",
                    name="happened_at",
                    field=models.DateTimeField(null=True),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                models.F("client_id"),
                models.OrderBy(Coalesce("happened_at", "at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("client_id__isnull", False)),
                name="audit_history",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["correlation", "slug", "-id"], name="audit_of_group"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                models.OrderBy(Coalesce("happened_at", "at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(
                    ("slug", ""),
                    models.Q(("correlation__startswith", "run "), _negated=True),
                    _connector="OR",
                ),
                name="audit_by_hand",
            ),
        ),
    ]
