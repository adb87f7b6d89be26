"""Notices: the outbox, its deliveries, the ways of each event, and what holds for a time."""

import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import migration.core.fields
from migration.schema_operations import ChangeTogether

ID = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0037_newest_login_tests"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
            migrations.CreateModel(
                name="NoticeRule",
                fields=[
                    ("event", models.CharField(max_length=32, primary_key=True, serialize=False)),
                    ("by_mail", models.BooleanField(default=True)),
                    ("by_webhook", models.BooleanField(default=True)),
                ],
                options={"default_permissions": ()},
            ),
            migrations.CreateModel(
                name="Condition",
                fields=[
                    ("id", ID.clone()),
                    ("event", models.CharField(max_length=32)),
                    ("subject", models.CharField(max_length=100)),
                    ("facts", migration.core.fields.MessageField(null=True)),
                    ("began_at", models.DateTimeField(default=django.utils.timezone.now)),
                    ("seen_at", models.DateTimeField(default=django.utils.timezone.now)),
                ],
                options={
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("event", "subject"), name="one_condition_a_subject"
                        )
                    ],
                },
            ),
            migrations.CreateModel(
                name="Notice",
                fields=[
                    ("id", ID.clone()),
                    ("event", models.CharField(max_length=32)),
                    ("key", models.CharField(max_length=200, unique=True)),
                    ("facts", migration.core.fields.MessageField(null=True)),
                    ("digest", models.CharField(blank=True, db_default="", max_length=200)),
                    ("number", models.PositiveIntegerField(db_default=1, default=1)),
                    ("names", models.JSONField(db_default=[], default=list)),
                    (
                        "created_at",
                        models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                    ),
                    ("handed_out_at", models.DateTimeField(null=True)),
                    (
                        "recipient",
                        models.ForeignKey(
                            null=True,
                            on_delete=django.db.models.deletion.SET_NULL,
                            related_name="+",
                            to=settings.AUTH_USER_MODEL,
                        ),
                    ),
                    (
                        "run",
                        models.ForeignKey(
                            db_constraint=False,
                            null=True,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="+",
                            to="migration.run",
                        ),
                    ),
                ],
                options={
                    "verbose_name": "notice",
                    "verbose_name_plural": "notices",
                    "ordering": ["-id"],
                    "permissions": [("set_notices", "Can set and test the notices")],
                    "default_permissions": (),
                    "indexes": [
                        models.Index(
                            condition=models.Q(("handed_out_at", None)),
                            fields=["id"],
                            name="notice_to_hand_out",
                        ),
                        models.Index(fields=["created_at"], name="notice_by_time"),
                    ],
                },
            ),
            migrations.CreateModel(
                name="NoticeDelivery",
                fields=[
                    ("id", ID.clone()),
                    (
                        "way",
                        models.CharField(
                            choices=[("mail", "Mail"), ("webhook", "Webhook")], max_length=8
                        ),
                    ),
                    ("target", models.CharField(max_length=64)),
                    ("host", models.CharField(max_length=255)),
                    (
                        "state",
                        models.CharField(
                            choices=[
                                ("waiting", "Waiting"),
                                ("sent", "Sent"),
                                ("given_up", "Given up"),
                            ],
                            default="waiting",
                            max_length=8,
                        ),
                    ),
                    ("outcome", models.CharField(blank=True, max_length=16)),
                    ("status", models.PositiveSmallIntegerField(null=True)),
                    ("tries", models.PositiveSmallIntegerField(default=0)),
                    ("tried_at", models.DateTimeField(null=True)),
                    (
                        "next_try_at",
                        models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                    ),
                    (
                        "notice",
                        models.ForeignKey(
                            on_delete=django.db.models.deletion.CASCADE,
                            related_name="deliveries",
                            to="migration.notice",
                        ),
                    ),
                    (
                        "user",
                        models.ForeignKey(
                            null=True,
                            on_delete=django.db.models.deletion.CASCADE,
                            related_name="+",
                            to=settings.AUTH_USER_MODEL,
                        ),
                    ),
                ],
                options={
                    "ordering": ["-id"],
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("notice", "target"), name="one_delivery_a_recipient"
                        )
                    ],
                    "indexes": [
                        models.Index(
                            condition=models.Q(("state", "waiting")),
                            fields=["next_try_at"],
                            name="delivery_to_try",
                        ),
                        models.Index(fields=["target", "-tried_at"], name="delivery_of_recipient"),
                    ],
                },
            ),
        )
    ]
