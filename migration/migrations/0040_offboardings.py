"""Clients that left NOVA, or are about to."""

import django.db.models.deletion
import django.db.models.functions.text
import django.db.models.lookups
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

PHASES = [
    ("postgres", "PostgreSQL"),
    ("dual_write", "Dual write"),
    ("dual_read", "Dual read"),
    ("aws", "AWS (cut over)"),
    ("purged", "Purged"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("credentials", "0005_pushed_at"),
        ("migration", "0039_notices"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Offboarding",
            fields=[
                (
                    "client",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="offboarding",
                        serialize=False,
                        to="credentials.client",
                    ),
                ),
                ("slug", models.CharField(max_length=100, verbose_name="slug")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("offboarding", "Being offboarded"),
                            ("offboarded", "Offboarded"),
                            ("coming_back", "Coming back"),
                        ],
                        default="offboarding",
                        max_length=16,
                        verbose_name="state",
                    ),
                ),
                ("former_phase", models.CharField(choices=PHASES, max_length=16)),
                ("deletions", models.JSONField(db_default={}, default=dict)),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
                (
                    "by_name",
                    models.CharField(
                        blank=True, db_default="", default="", max_length=150, verbose_name="user"
                    ),
                ),
                (
                    "begun_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="begun"),
                ),
                ("ended_at", models.DateTimeField(null=True, verbose_name="offboarded")),
                (
                    "by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "offboarding",
                "verbose_name_plural": "offboardings",
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=django.db.models.lookups.LessThanOrEqual(
                            django.db.models.functions.text.Length("reason"), 500
                        ),
                        name="offboarding_reason_is_short",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("by", None),
                            models.Q(("by_name", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="offboarding_by_is_named",
                    ),
                ],
            },
        ),
    ]
