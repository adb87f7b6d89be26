"""Rotations, and the schedules of rotations."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import migration.core.fields
import migration.logins.models
from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [
        ("credentials", "0005_pushed_at"),
        ("migration", "0032_login_tests"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
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
                        ("test_logins", "Login tests"),
                        ("rotate", "Rotation"),
                    ],
                    db_default="",
                    default="",
                    max_length=16,
                    verbose_name="act",
                ),
            ),
            migrations.CreateModel(
                name="Rotation",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("slug", models.CharField(max_length=100, verbose_name="slug")),
                    ("credential_type", models.CharField(max_length=16, verbose_name="kind")),
                    ("label", models.CharField(max_length=100, null=True, verbose_name="label")),
                    (
                        "step",
                        models.CharField(
                            choices=[
                                ("begun", "begun"),
                                ("kept", "new secret kept in AWS"),
                                ("set", "database has the new password"),
                                ("stored", "new secret stored"),
                            ],
                            default="begun",
                            max_length=16,
                            verbose_name="step",
                        ),
                    ),
                    (
                        "outcome",
                        models.CharField(
                            blank=True,
                            choices=[
                                ("rotated", "secret rotated"),
                                ("refused", "nothing changed"),
                                ("stopped", "stopped: somebody has to look"),
                            ],
                            max_length=16,
                            verbose_name="outcome",
                        ),
                    ),
                    (
                        "version_id",
                        models.CharField(blank=True, max_length=64, verbose_name="version"),
                    ),
                    ("message", migration.core.fields.MessageField(null=True)),
                    (
                        "by_name",
                        models.CharField(
                            blank=True,
                            db_default="",
                            default="",
                            max_length=150,
                            verbose_name="user",
                        ),
                    ),
                    (
                        "begun_at",
                        models.DateTimeField(
                            default=django.utils.timezone.now, verbose_name="begun"
                        ),
                    ),
                    (
                        "tried_at",
                        models.DateTimeField(
                            default=django.utils.timezone.now, verbose_name="last tried"
                        ),
                    ),
                    ("ended_at", models.DateTimeField(null=True, verbose_name="ended")),
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
                        "client",
                        models.ForeignKey(
                            db_constraint=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="rotations",
                            to="credentials.client",
                        ),
                    ),
                ],
                options={
                    "verbose_name": "rotation",
                    "verbose_name_plural": "rotations",
                    "ordering": ["-id"],
                    "permissions": [("rotate_credential", "Can rotate credentials")],
                    "default_permissions": ("view",),
                    "indexes": [
                        models.Index(fields=["client", "-ended_at"], name="rotation_of_client")
                    ],
                    "constraints": [
                        models.UniqueConstraint(
                            condition=models.Q(("outcome", "")),
                            fields=("client",),
                            name="one_unfinished_rotation",
                        ),
                        models.CheckConstraint(
                            condition=models.Q(
                                ("outcome", ""), ("ended_at__isnull", False), _connector="XOR"
                            ),
                            name="rotation_with_outcome_ended",
                        ),
                        models.CheckConstraint(
                            condition=models.Q(
                                ("by", None),
                                models.Q(("by_name", ""), _negated=True),
                                _connector="OR",
                            ),
                            name="rotation_by_is_named",
                        ),
                    ],
                },
            ),
            migrations.CreateModel(
                name="RotationSchedule",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("days", models.PositiveSmallIntegerField(verbose_name="days")),
                    ("since", models.DateField(default=migration.logins.models.today)),
                    (
                        "by_name",
                        models.CharField(blank=True, db_default="", default="", max_length=150),
                    ),
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
                        "client",
                        models.ForeignKey(
                            db_constraint=False,
                            null=True,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="+",
                            to="credentials.client",
                        ),
                    ),
                    (
                        "group",
                        models.OneToOneField(
                            null=True,
                            on_delete=django.db.models.deletion.CASCADE,
                            related_name="rotation_schedule",
                            to="migration.clientgroup",
                        ),
                    ),
                ],
                options={
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(fields=("client",), name="one_schedule_of_client"),
                        models.CheckConstraint(
                            condition=models.Q(("client", None), ("group", None), _connector="XOR"),
                            name="schedule_of_client_or_group",
                        ),
                        models.CheckConstraint(
                            condition=models.Q(("days__range", (1, 3650))),
                            name="schedule_days_in_range",
                        ),
                        models.CheckConstraint(
                            condition=models.Q(
                                ("by", None),
                                models.Q(("by_name", ""), _negated=True),
                                _connector="OR",
                            ),
                            name="rotationschedule_by_is_named",
                        ),
                    ],
                },
            ),
        ),
    ]
