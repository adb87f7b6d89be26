"""Each client's layout stands beside its phase, and a run can change it."""

from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from migration.schema_operations import ChangeTogether
from nova_credentials.tables import CLIENTS

LAYOUTS = [("client", "One secret per client"), ("service", "One secret per service")]
# A client that has secrets of both layouts, as the setting was changed: those that a push has met last.
FILL = f"""
INSERT INTO migration_clientmigration AS kept (client_id, phase, layout)
SELECT DISTINCT ON (c.id) c.id, 'postgres',
    CASE WHEN s.name = %(prefix)s || '/' || c.slug THEN 'client' ELSE 'service' END
FROM migration_secret AS s JOIN {CLIENTS} AS c ON c.id = s.client_id
WHERE s.name = %(prefix)s || '/' || c.slug
    OR s.name IN (
        %(prefix)s || '/' || c.slug || '/database', %(prefix)s || '/' || c.slug || '/email',
        %(prefix)s || '/' || c.slug || '/aws'
    )
ORDER BY c.id, s.seen_at DESC, s.name
ON CONFLICT (client_id) DO UPDATE SET layout = excluded.layout
"""  # noqa: S608  # constants


def fill_layouts(_: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    with editor.connection.cursor() as cursor:
        cursor.execute(FILL, {"prefix": settings.NOVA_SECRET_PREFIX})


class Migration(migrations.Migration):
    dependencies = [("migration", "0033_rotations")]

    # NOVA's reader reads the table of what changes last: its lock doesn't last while rows are filled.
    atomic = False

    operations = [
        ChangeTogether(
            migrations.AddField(
                model_name="run",
                name="layout",
                field=models.CharField(
                    blank=True,
                    choices=LAYOUTS,
                    db_default="",
                    max_length=16,
                ),
            ),
            migrations.AlterField(
                model_name="run",
                name="kind",
                field=models.CharField(
                    choices=[
                        ("migrate", "Migration"),
                        ("push", "Push"),
                        ("compare", "Comparison"),
                        ("move", "Moves"),
                        ("layout", "Change of layout"),
                        ("test_logins", "Login tests"),
                        ("rotate", "Rotation"),
                    ],
                    max_length=16,
                    verbose_name="kind",
                ),
            ),
            migrations.AlterField(
                model_name="runitem",
                name="act",
                field=models.CharField(
                    blank=True,
                    choices=[
                        ("push", "Push"),
                        ("compare", "Comparison"),
                        ("move", "Move"),
                        ("layout", "Change of layout"),
                        ("test_logins", "Login tests"),
                        ("rotate", "Rotation"),
                    ],
                    db_default="",
                    default="",
                    max_length=16,
                    verbose_name="act",
                ),
            ),
            migrations.AddConstraint(
                model_name="run",
                constraint=models.CheckConstraint(
                    condition=models.Q(("kind", "layout"), ("layout", ""), _connector="XOR"),
                    name="run_of_layouts_names_its_layout",
                ),
            ),
            migrations.AddField(
                model_name="clientmigration",
                name="layout",
                field=models.CharField(choices=LAYOUTS, max_length=16, null=True),
            ),
            migrations.AddField(
                model_name="clientmigration",
                name="other_secrets",
                field=models.CharField(
                    blank=True,
                    choices=[("begun", "Begun"), ("kept", "Kept")],
                    db_default="",
                    default="",
                    max_length=8,
                ),
            ),
            migrations.AddField(
                model_name="clientmigration",
                name="other_secrets_since",
                field=models.DateTimeField(null=True),
            ),
            adds=("migration_clientmigration", "layout"),
        ),
        # It locks out writers alone, and NOVA writes none of these rows.
        migrations.RunSQL(
            "CREATE INDEX IF NOT EXISTS client_other_secrets ON migration_clientmigration (other_secrets_since)"
            " WHERE NOT (other_secrets = '')",
            "DROP INDEX IF EXISTS client_other_secrets",
            state_operations=[
                migrations.AddIndex(
                    model_name="clientmigration",
                    index=models.Index(
                        condition=models.Q(("other_secrets", ""), _negated=True),
                        fields=["other_secrets_since"],
                        name="client_other_secrets",
                    ),
                )
            ],
        ),
        migrations.RunPython(fill_layouts, migrations.RunPython.noop),
    ]
