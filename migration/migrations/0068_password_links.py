"""Links by which people choose their own passwords; what a wrong password for a change to people is called."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

PLACES = [
    ("login", "login page"),
    ("reveal", "reveal of a secret value"),
    ("password_change", "change of the own password"),
    ("users", "change to people"),
    ("second_factor", "page of the own second factor"),
]
WHAT = [
    ("account", "New account"),
    ("password", "Password"),
    ("factor", "Second factor"),
    ("address", "Mail"),
]


def name_of(user: str) -> models.CheckConstraint:
    condition = models.Q((user, None), ~models.Q((f"{user}_name", "")), _connector="OR")
    return models.CheckConstraint(condition=condition, name=f"passwordlink_{user}_is_named")


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0067_notice_recipients"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="wrongpassword",
            name="place",
            field=models.CharField(choices=PLACES, max_length=16, verbose_name="page"),
        ),
        migrations.AlterField(
            model_name="passwordreset",
            name="what",
            field=models.CharField(choices=WHAT, max_length=16),
        ),
        migrations.CreateModel(
            name="PasswordLink",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "user_name",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=150,
                        verbose_name="user",
                    ),
                ),
                (
                    "by_name",
                    models.CharField(blank=True, db_default="", default="", max_length=150),
                ),
                ("digest", models.CharField(max_length=64)),
                ("made_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [name_of("user"), name_of("by")],
            },
        ),
    ]
