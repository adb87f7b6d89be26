"""A pooler that refuses a login is an outcome of its own: its code says nothing of the password. Changes no table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0041_secret_settings")]

    operations = [
        migrations.AlterField(
            "logintest",
            "outcome",
            models.CharField(
                choices=[
                    ("works", "Works"),
                    ("refused", "Login refused"),
                    ("no_database", "No such database"),
                    ("pooler", "Refused by a pooler"),
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
    ]
