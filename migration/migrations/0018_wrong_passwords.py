"""A record of every wrong password: at the login, at a reveal and wherever else one is asked for."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0017_kept_names")]

    operations = [
        migrations.CreateModel(
            name="WrongPassword",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("username", models.CharField(blank=True, max_length=150, verbose_name="user")),
                ("address", models.CharField(blank=True, max_length=200, verbose_name="address")),
                (
                    "place",
                    models.CharField(
                        choices=[
                            ("login", "login page"),
                            ("reveal", "reveal of a secret value"),
                            ("password_change", "change of the own password"),
                            ("users", "change to users and groups"),
                            ("second_factor", "page of the own second factor"),
                        ],
                        max_length=16,
                        verbose_name="page",
                    ),
                ),
                (
                    "typed_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="typed"),
                ),
                ("session", models.CharField(blank=True, max_length=64)),
                ("shut_out", models.BooleanField(default=False, verbose_name="shut out")),
                ("let_in_at", models.DateTimeField(null=True, verbose_name="let in again")),
                (
                    "let_in_by",
                    models.CharField(blank=True, max_length=150, verbose_name="let in by"),
                ),
            ],
            options={
                "verbose_name": "wrong password",
                "verbose_name_plural": "wrong passwords",
                "ordering": ["-id"],
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        condition=models.Q(("session", ""), _negated=True),
                        fields=["session"],
                        name="wrong_in_session",
                    ),
                    models.Index(fields=["typed_at"], name="wrong_by_time"),
                ],
            },
        ),
    ]
