"""Moves of many clients are runs: which move, why, and who approved it."""

import django.db.models.deletion
import django.db.models.functions.text
import django.db.models.lookups
from django.conf import settings
from django.db import migrations, models

from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0022_run_plans"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
            migrations.AddField(
                model_name="run",
                name="approved_by",
                field=models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                    verbose_name="approved by",
                ),
            ),
            migrations.AddField(
                model_name="run",
                name="approved_by_name",
                field=models.CharField(
                    blank=True,
                    db_default="",
                    default="",
                    max_length=150,
                    verbose_name="approved by",
                ),
            ),
            migrations.AddField(
                model_name="run",
                name="move_from",
                field=models.CharField(
                    blank=True,
                    choices=[
                        ("postgres", "PostgreSQL"),
                        ("dual_write", "Dual write"),
                        ("dual_read", "Dual read"),
                        ("aws", "AWS (cut over)"),
                        ("purged", "Purged"),
                    ],
                    db_default="",
                    max_length=16,
                    verbose_name="from",
                ),
            ),
            migrations.AddField(
                model_name="run",
                name="move_to",
                field=models.CharField(
                    blank=True,
                    choices=[
                        ("postgres", "PostgreSQL"),
                        ("dual_write", "Dual write"),
                        ("dual_read", "Dual read"),
                        ("aws", "AWS (cut over)"),
                        ("purged", "Purged"),
                    ],
                    db_default="",
                    max_length=16,
                    verbose_name="to",
                ),
            ),
            migrations.AddField(
                model_name="run",
                name="override_lines",
                field=models.JSONField(db_default=[], default=list),
            ),
            migrations.AddField(
                model_name="run",
                name="override_reason",
                field=models.TextField(
                    blank=True, db_default="", verbose_name="reason of the override"
                ),
            ),
            migrations.AddField(
                model_name="run",
                name="reason",
                field=models.TextField(blank=True, db_default="", verbose_name="reason"),
            ),
            migrations.AddField(
                model_name="run",
                name="schedule_deletion",
                field=models.BooleanField(db_default=False, default=False),
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
                    ],
                    max_length=16,
                    verbose_name="kind",
                ),
            ),
            migrations.AlterField(
                model_name="run",
                name="state",
                field=models.CharField(
                    choices=[
                        ("requested", "Requested"),
                        ("running", "Running"),
                        ("paused", "Paused"),
                        ("stopped", "Stopped"),
                        ("finished", "Finished"),
                    ],
                    db_default="running",
                    db_index=True,
                    default="running",
                    max_length=16,
                    verbose_name="state",
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
                    ],
                    max_length=16,
                    verbose_name="outcome",
                ),
            ),
            migrations.AddConstraint(
                model_name="run",
                constraint=models.CheckConstraint(
                    condition=models.Q(
                        ("approved_by", None),
                        models.Q(("approved_by_name", ""), _negated=True),
                        _connector="OR",
                    ),
                    name="run_approved_by_is_named",
                ),
            ),
            migrations.AddConstraint(
                model_name="run",
                constraint=models.CheckConstraint(
                    condition=django.db.models.lookups.LessThanOrEqual(
                        django.db.models.functions.text.Length("reason"), 500
                    ),
                    name="run_reason_is_short",
                ),
            ),
            migrations.AddConstraint(
                model_name="run",
                constraint=models.CheckConstraint(
                    condition=django.db.models.lookups.LessThanOrEqual(
                        django.db.models.functions.text.Length("override_reason"), 500
                    ),
                    name="run_override_reason_is_short",
                ),
            ),
            migrations.AddConstraint(
                model_name="run",
                constraint=models.CheckConstraint(
                    condition=models.Q(
                        ("kind", "move"),
                        models.Q(("move_from", ""), ("move_to", "")),
                        _connector="XOR",
                    ),
                    name="run_of_moves_names_its_move",
                ),
            ),
            migrations.AddConstraint(
                model_name="run",
                constraint=models.CheckConstraint(
                    condition=models.Q(("approved_by", models.F("by")), _negated=True),
                    name="run_approved_by_another",
                ),
            ),
        ),
    ]
