"""Plans: what a run would do with each client, kept with the run; and runs that overwrite what somebody else wrote."""

import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0021_groups"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
            migrations.AddField(
                model_name="run",
                name="overwrite",
                field=models.BooleanField(
                    db_default=False,
                    default=False,
                    verbose_name="overwrite what somebody else wrote",
                ),
            ),
            migrations.CreateModel(
                name="RunPlan",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("adopt", models.BooleanField(default=False)),
                    ("overwrite", models.BooleanField(default=False)),
                    ("include_inactive", models.BooleanField(default=False)),
                    ("chosen", models.JSONField(null=True)),
                    (
                        "state",
                        models.CharField(
                            choices=[
                                ("making", "Being made"),
                                ("ready", "Ready"),
                                ("checking", "Being looked at again"),
                                ("differs", "No longer as planned"),
                                ("started", "Started"),
                                ("discarded", "Discarded"),
                            ],
                            default="making",
                            max_length=16,
                            verbose_name="state",
                        ),
                    ),
                    (
                        "by_name",
                        models.CharField(blank=True, db_default="", default="", max_length=150),
                    ),
                    (
                        "started_by_name",
                        models.CharField(blank=True, db_default="", default="", max_length=150),
                    ),
                    ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                    ("made_at", models.DateTimeField(null=True)),
                    ("rows", models.JSONField(default=list)),
                    ("differences", models.JSONField(default=list)),
                    ("checked_at", models.DateTimeField(null=True)),
                    (
                        "worked_at",
                        models.DateTimeField(
                            db_default=django.db.models.functions.datetime.Now(),
                            default=django.utils.timezone.now,
                        ),
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
                        "run",
                        models.OneToOneField(
                            null=True,
                            on_delete=django.db.models.deletion.SET_NULL,
                            related_name="plan",
                            to="migration.run",
                        ),
                    ),
                    (
                        "started_by",
                        models.ForeignKey(
                            null=True,
                            on_delete=django.db.models.deletion.SET_NULL,
                            related_name="+",
                            to=settings.AUTH_USER_MODEL,
                        ),
                    ),
                ],
                options={
                    "ordering": ["-id"],
                    "default_permissions": (),
                    "constraints": [
                        models.CheckConstraint(
                            condition=models.Q(
                                ("by", None),
                                models.Q(("by_name", ""), _negated=True),
                                _connector="OR",
                            ),
                            name="runplan_by_is_named",
                        ),
                        models.CheckConstraint(
                            condition=models.Q(
                                ("started_by", None),
                                models.Q(("started_by_name", ""), _negated=True),
                                _connector="OR",
                            ),
                            name="runplan_started_by_is_named",
                        ),
                    ],
                },
            ),
        ),
    ]
