"""The audit: entries, the links of their chain, checkpoints; and triggers that refuse to change any of them."""

import django.db.models.functions.text
import django.db.models.lookups
from django.db import migrations, models

from migration.schema_operations import ChangeTogether
from migration.site import audit


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0018_wrong_passwords"),
    ]

    operations = [
        ChangeTogether(
            migrations.CreateModel(
                name="AuditCheckpoint",
                fields=[
                    ("position", models.BigIntegerField(primary_key=True, serialize=False)),
                    ("link_signature", models.CharField(max_length=64)),
                    ("made_at", models.DateTimeField()),
                    ("who", models.CharField(max_length=150)),
                    ("exported", models.CharField(max_length=64)),
                    ("key", models.CharField(max_length=16)),
                    ("signature", models.CharField(max_length=64)),
                ],
                options={
                    "ordering": ["-position"],
                    "default_permissions": (),
                },
            ),
            migrations.CreateModel(
                name="AuditLink",
                fields=[
                    ("position", models.BigIntegerField(primary_key=True, serialize=False)),
                    ("event_id", models.UUIDField(unique=True)),
                    ("key", models.CharField(max_length=16)),
                    ("signature", models.CharField(max_length=64)),
                ],
                options={
                    "ordering": ["position"],
                    "default_permissions": (),
                },
            ),
            migrations.CreateModel(
                name="AuditEvent",
                fields=[
                    ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                    ("at", models.DateTimeField(verbose_name="time")),
                    ("code", models.CharField(max_length=32, verbose_name="what")),
                    ("who", models.CharField(max_length=150, verbose_name="who")),
                    ("origin", models.CharField(blank=True, max_length=200, verbose_name="from")),
                    ("client_id", models.IntegerField(null=True, verbose_name="client")),
                    ("slug", models.CharField(blank=True, max_length=100, verbose_name="slug")),
                    ("reason", models.TextField(blank=True, verbose_name="reason")),
                    ("facts", models.TextField()),
                    ("correlation", models.CharField(max_length=40)),
                    ("key", models.CharField(max_length=16)),
                    ("signature", models.CharField(max_length=64)),
                ],
                options={
                    "verbose_name": "audit entry",
                    "verbose_name_plural": "audit entries",
                    "ordering": ["-id"],
                    "default_permissions": ("view",),
                    "indexes": [
                        models.Index(fields=["slug", "-id"], name="audit_of_client"),
                        models.Index(fields=["who", "-id"], name="audit_of_user"),
                        models.Index(fields=["code", "-id"], name="audit_of_code"),
                    ],
                    "constraints": [
                        models.CheckConstraint(
                            condition=django.db.models.lookups.LessThanOrEqual(
                                django.db.models.functions.text.Length("reason"), 500
                            ),
                            name="auditevent_reason_is_short",
                        )
                    ],
                },
            ),
        ),
        migrations.RunSQL(
            [audit.MAKE_FUNCTION, *map(audit.make_triggers_sql, audit.TABLES)],
            [audit.DROP_FUNCTION],
        ),
    ]
