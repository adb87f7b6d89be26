"""By which slug a client's secrets are named stands beside its phase: NOVA may change the slug."""

from django.db import migrations, models

from migration.schema_operations import ChangeTogether


def make_index(column: str) -> migrations.RunSQL:
    """Index a column where it is set. It locks out writers alone, for as long as reading the table takes."""
    name = f"client_{column}"
    return migrations.RunSQL(
        f"CREATE INDEX IF NOT EXISTS {name} ON migration_clientmigration ({column}) WHERE {column} IS NOT NULL",
        f"DROP INDEX IF EXISTS {name}",
        state_operations=[
            migrations.AddIndex(
                model_name="clientmigration",
                index=models.Index(
                    condition=models.Q((f"{column}__isnull", False)), fields=[column], name=name
                ),
            )
        ],
    )


class Migration(migrations.Migration):
    dependencies = [("migration", "0049_run_began_at")]

    # NOVA's reader reads the table: the lock of the new columns doesn't last while the indexes are made.
    atomic = False

    operations = [
        ChangeTogether(
            *(
                migrations.AddField(
                    model_name="clientmigration",
                    name=name,
                    field=models.CharField(max_length=512, null=True),
                )
                for name in ("secret_slug", "other_slug")
            ),
            adds=("migration_clientmigration", "secret_slug"),
        ),
        make_index("secret_slug"),
        make_index("other_slug"),
    ]
