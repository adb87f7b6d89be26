"""Who works on a client, a batch or a search holds a row of the site's instead of a lock that any role can take."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0019_audit_events")]

    operations = [
        migrations.CreateModel(
            name="Lease",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.SmallIntegerField(
                        choices=[(1, "Client"), (2, "Batch"), (3, "Search"), (4, "Audit")]
                    ),
                ),
                ("key", models.BigIntegerField()),
                ("pid", models.IntegerField(null=True)),
                ("session_key", models.BigIntegerField(null=True)),
                ("taken_at", models.DateTimeField(null=True)),
            ],
            options={"default_permissions": ()},
        ),
        migrations.AddConstraint(
            model_name="lease",
            constraint=models.UniqueConstraint(fields=["kind", "key"], name="one_lease"),
        ),
        # Nothing of it is written to the WAL, and a crash of PostgreSQL empties it. Each row is changed twice a push:
        # with room on its page the index stays as it is.
        migrations.RunSQL(
            "ALTER TABLE migration_lease SET UNLOGGED; ALTER TABLE migration_lease SET (fillfactor = 50)",
            migrations.RunSQL.noop,
        ),
    ]
