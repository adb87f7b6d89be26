"""One newest test of each login; an unknown database is an outcome of its own, which shuts the gates too."""

from django.db import migrations, models

from migration.schema_operations import ChangeTogether

# Of two that were stored at once, the one whose values were read last.
KEEP_NEWEST = """
UPDATE migration_logintest older SET is_newest = false
WHERE older.is_newest AND EXISTS (
    SELECT FROM migration_logintest newer
    WHERE newer.is_newest AND newer.client_id = older.client_id AND newer.store = older.store
      AND newer.kind = older.kind AND newer.label = older.label
      AND newer.credential_id IS NOT DISTINCT FROM older.credential_id
      AND (newer.tested_at, newer.id) > (older.tested_at, older.id)
)
"""


class Migration(migrations.Migration):
    dependencies = [("migration", "0036_rotation_secret_name")]

    operations = [
        ChangeTogether(
            migrations.RunSQL(KEEP_NEWEST, migrations.RunSQL.noop),
            migrations.RemoveIndex("logintest", "refused_login_test"),
            migrations.AddIndex(
                "logintest",
                models.Index(
                    condition=models.Q(
                        ("is_newest", True),
                        ("outcome__in", ("no_database", "refused")),
                        ("store", "aws"),
                    ),
                    fields=["client"],
                    name="refused_login_test",
                ),
            ),
            migrations.AddConstraint(
                "logintest",
                models.UniqueConstraint(
                    condition=models.Q(("is_newest", True)),
                    fields=("client", "store", "kind", "credential_id", "label"),
                    name="one_newest_login_test",
                    nulls_distinct=False,
                ),
            ),
            migrations.AlterField(
                "logintest",
                "outcome",
                models.CharField(
                    choices=[
                        ("works", "Works"),
                        ("refused", "Login refused"),
                        ("no_database", "No such database"),
                        ("unreachable", "Unreachable"),
                        ("no_such_host", "No such host"),
                        ("tls_problem", "TLS problem"),
                        ("timed_out", "Timed out"),
                        ("not_allowed", "Address not allowed"),
                        ("unsafe", "Password not asked for safely"),
                        ("unexpected", "Unexpected answer"),
                        ("not_testable", "Can't be tested"),
                    ],
                    max_length=16,
                    verbose_name="outcome",
                ),
            ),
        )
    ]
