"""Login tests: their results, runs of them, and the rate at which logins are tried."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [
        ("credentials", "0005_pushed_at"),
        ("migration", "0031_clients_left_out"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
            migrations.CreateModel(
                name="LoginTest",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    (
                        "kind",
                        models.CharField(
                            choices=[("database", "database"), ("email", "email"), ("aws", "aws")],
                            max_length=16,
                            verbose_name="kind",
                        ),
                    ),
                    ("credential_id", models.IntegerField(null=True, verbose_name="credential")),
                    ("label", models.CharField(blank=True, max_length=100, verbose_name="label")),
                    (
                        "store",
                        models.CharField(
                            choices=[("postgres", "PostgreSQL"), ("aws", "AWS")],
                            max_length=8,
                            verbose_name="store",
                        ),
                    ),
                    (
                        "outcome",
                        models.CharField(
                            choices=[
                                ("works", "Works"),
                                ("refused", "Login refused"),
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
                    ("service", models.CharField(blank=True, max_length=8)),
                    ("is_newest", models.BooleanField(db_default=True, default=True)),
                    (
                        "by_name",
                        models.CharField(
                            blank=True,
                            db_default="",
                            default="",
                            max_length=150,
                            verbose_name="tested by",
                        ),
                    ),
                    (
                        "by",
                        models.ForeignKey(
                            null=True,
                            on_delete=django.db.models.deletion.SET_NULL,
                            related_name="+",
                            to=settings.AUTH_USER_MODEL,
                            verbose_name="tested by",
                        ),
                    ),
                    (
                        "client",
                        models.ForeignKey(
                            db_constraint=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="login_tests",
                            to="credentials.client",
                        ),
                    ),
                    (
                        "tested_at",
                        models.DateTimeField(
                            default=django.utils.timezone.now, verbose_name="tested"
                        ),
                    ),
                ],
                options={
                    "verbose_name": "login test",
                    "verbose_name_plural": "login tests",
                    "ordering": ["-id"],
                    "permissions": [("test_login", "Can test logins")],
                    "default_permissions": ("view",),
                    "indexes": [
                        models.Index(
                            condition=models.Q(("is_newest", True)),
                            fields=["client", "store"],
                            name="newest_login_test",
                        ),
                        models.Index(
                            condition=models.Q(
                                ("is_newest", True), ("outcome", "refused"), ("store", "aws")
                            ),
                            fields=["client"],
                            name="refused_login_test",
                        ),
                        models.Index(
                            condition=models.Q(("is_newest", False)),
                            fields=["tested_at"],
                            name="old_login_test",
                        ),
                    ],
                    "constraints": [
                        models.CheckConstraint(
                            condition=models.Q(
                                ("by", None),
                                models.Q(("by_name", ""), _negated=True),
                                _connector="OR",
                            ),
                            name="logintest_by_is_named",
                        )
                    ],
                },
            ),
            migrations.AddField(
                model_name="run",
                name="stores",
                field=models.CharField(
                    blank=True,
                    choices=[("postgres", "PostgreSQL"), ("aws", "AWS"), ("both", "Both stores")],
                    db_default="",
                    max_length=8,
                ),
            ),
            migrations.AlterField(
                model_name="rate",
                name="kind",
                field=models.CharField(
                    choices=[
                        ("create", "Creates"),
                        ("write", "Updates"),
                        ("read", "Batch reads"),
                        ("login", "Logins tested"),
                    ],
                    max_length=8,
                    primary_key=True,
                    serialize=False,
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
                        ("test_logins", "Login tests"),
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
                        ("test_logins", "Login tests"),
                    ],
                    db_default="",
                    default="",
                    max_length=16,
                    verbose_name="act",
                ),
            ),
            migrations.AlterField(
                model_name="runitem",
                name="outcome",
                field=models.CharField(
                    blank=True,
                    choices=[
                        ("created", "Created"),
                        ("updated", "Updated"),
                        ("unchanged", "Unchanged"),
                        ("restored", "Restored"),
                        ("compared", "Compared"),
                        ("skipped", "Skipped"),
                        ("failed", "Failed"),
                        ("moved", "Moved"),
                        ("refused", "Refused"),
                        ("tested", "Logins work"),
                    ],
                    max_length=16,
                    verbose_name="outcome",
                ),
            ),
            migrations.AddConstraint(
                model_name="run",
                constraint=models.CheckConstraint(
                    condition=models.Q(("kind", "test_logins"), ("stores", ""), _connector="XOR"),
                    name="run_of_login_tests_names_stores",
                ),
            ),
        ),
    ]
