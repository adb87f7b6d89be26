"""The tables of release 0.1.0. Labels and choices are those of the last schema migration: no table depends on them."""

from datetime import UTC, datetime

from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Now
from django.utils import timezone

from migration.schema_operations import (
    ID,
    ChangeTogether,
    create_model,
    of_client,
    to_client,
    to_user,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PHASES = [
    ("postgres", "PostgreSQL"),
    ("dual_write", "Dual write"),
    ("dual_read", "Dual read"),
    ("aws", "AWS (cut over)"),
    ("purged", "Purged"),
]
STATUSES = [
    ("match", "Match"),
    ("mismatch", "Mismatch"),
    ("missing_in_aws", "Missing in AWS"),
    ("missing_in_postgres", "Missing in PostgreSQL"),
    ("unchecked", "Could not check"),
]


class Migration(migrations.Migration):
    initial = True

    replaces = [
        ("migration", "0001_initial"),
        ("migration", "0002_read_count"),
        ("migration", "0003_moves"),
        ("migration", "0004_dashboard"),
        ("migration", "0005_steered_runs"),
        ("migration", "0006_approvals_and_reveals"),
    ]

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("credentials", "0002_first_release"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
            create_model(
                "Run",
                id=ID,
                kind=models.CharField(
                    "kind",
                    max_length=16,
                    choices=[
                        ("migrate", "Migration"),
                        ("push", "Push"),
                        ("compare", "Comparison"),
                        ("move", "Moves"),
                        ("layout", "Change of layout"),
                        ("test_logins", "Login tests"),
                        ("rotate", "Rotation"),
                        ("secret_settings", "Key and regions"),
                        ("adopt", "Adoptions"),
                        ("to_aws", "Copies to AWS"),
                        ("to_postgres", "Copies to PostgreSQL"),
                    ],
                ),
                adopt=models.BooleanField("adopt secrets that are not ours", default=False),
                include_inactive=models.BooleanField("include inactive clients", default=False),
                created_at=models.DateTimeField("created", default=timezone.now),
                finished_at=models.DateTimeField("finished", null=True),
                by=to_user("created by"),
                state=models.CharField(
                    "state",
                    max_length=16,
                    db_index=True,
                    default="running",
                    db_default="running",
                    choices=[
                        ("planning", "Being planned"),
                        ("planned", "Planned"),
                        ("requested", "Requested"),
                        ("running", "Running"),
                        ("paused", "Paused"),
                        ("stopped", "Stopped"),
                        ("finished", "Finished"),
                        ("discarded", "Discarded"),
                    ],
                ),
                steered_at=models.DateTimeField(null=True),
                steered_by=to_user(),
                tries=models.PositiveSmallIntegerField(default=1, db_default=1),
                worked_at=models.DateTimeField(default=timezone.now, db_default=Now()),
                options={"verbose_name": "run", "verbose_name_plural": "runs", "ordering": ["-id"]},
            ),
            create_model(
                "Comparison",
                id=ID,
                slug=models.CharField("slug", max_length=100),
                status=models.CharField("status", max_length=20, db_index=True, choices=STATUSES),
                error_class=models.CharField("error class", max_length=16, blank=True),
                message=models.TextField("message"),
                mismatches=models.JSONField("mismatches", default=list),
                revision=models.BigIntegerField("revision", default=0),
                compared_at=models.DateTimeField("compared", default=timezone.now),
                client=to_client("comparisons"),
                run=models.ForeignKey(
                    "migration.run", models.SET_NULL, null=True, related_name="comparisons"
                ),
                options={
                    "verbose_name": "comparison",
                    "verbose_name_plural": "comparisons",
                    "ordering": ["-id"],
                    "indexes": [
                        models.Index(fields=["client", "-id"], name="comparison_of_client"),
                        models.Index(
                            fields=["slug"],
                            name="comparison_slug",
                            opclasses=["varchar_pattern_ops"],
                        ),
                    ],
                },
            ),
            create_model(
                "ClientMigration",
                client=of_client("client_migration"),
                phase=models.CharField(
                    "phase", max_length=16, db_index=True, default="postgres", choices=PHASES
                ),
                phase_changed_at=models.DateTimeField("phase since", null=True),
                comparison=models.OneToOneField(
                    "migration.comparison",
                    models.SET_NULL,
                    null=True,
                    related_name="newest_of",
                    verbose_name="newest comparison",
                ),
                clean_streak=models.PositiveIntegerField(
                    "matches in a row", default=0, db_default=0
                ),
                refused_revision=models.BigIntegerField(null=True),
                comparison_status=models.CharField(max_length=20, null=True, db_index=True),
                compared_at=models.DateTimeField(null=True),
                options={
                    "permissions": [
                        ("move_client", "Can move clients between phases"),
                        ("purge_client", "Can purge clients"),
                        ("resolve_mismatch", "Can resolve mismatches"),
                    ]
                },
            ),
            create_model(
                "PhaseChange",
                id=ID,
                slug=models.CharField(max_length=100),
                old=models.CharField("from", max_length=16, choices=PHASES),
                new=models.CharField("to", max_length=16, choices=PHASES),
                reason=models.TextField("reason", blank=True),
                changed_at=models.DateTimeField(default=timezone.now),
                by=to_user(),
                client=to_client("phase_changes"),
                comparison=models.ForeignKey(
                    "migration.comparison", models.SET_NULL, null=True, related_name="+"
                ),
                run=models.ForeignKey(
                    "migration.run", models.SET_NULL, null=True, related_name="phase_changes"
                ),
                reads_before=models.JSONField(default=dict, db_default={}),
                options={
                    "ordering": ["-id"],
                    "indexes": [
                        models.Index(
                            condition=models.Q(run=None), fields=["-id"], name="move_by_hand"
                        )
                    ],
                },
            ),
            create_model(
                "RunItem",
                id=ID,
                slug=models.CharField("slug", max_length=100),
                batch=models.PositiveIntegerField(),
                outcome=models.CharField(
                    "outcome",
                    max_length=16,
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
                    blank=True,
                ),
                error_class=models.CharField(
                    "error class",
                    max_length=16,
                    choices=[
                        ("data", "data"),
                        ("permission", "permission"),
                        ("throttled", "throttled"),
                        ("unavailable", "unavailable"),
                        ("conflict", "conflict"),
                        ("schema", "schema"),
                    ],
                    blank=True,
                ),
                message=models.TextField("message"),
                comparison_status=models.CharField(
                    "comparison", max_length=20, choices=STATUSES, blank=True
                ),
                finished_at=models.DateTimeField("finished", null=True),
                client=to_client("run_items"),
                run=models.ForeignKey("migration.run", models.CASCADE, related_name="items"),
                attempts=models.PositiveSmallIntegerField(default=0, db_default=0),
                next_try_at=models.DateTimeField(null=True),
                options={
                    "verbose_name": "item",
                    "verbose_name_plural": "items",
                    "ordering": ["id"],
                    "indexes": [
                        models.Index(fields=["run", "outcome"], name="item_outcome"),
                        models.Index(
                            condition=models.Q(outcome=""),
                            fields=["run", "batch"],
                            name="open_item_batch",
                        ),
                    ],
                },
            ),
            create_model(
                "Secret",
                name=models.CharField(max_length=512, primary_key=True, serialize=False),
                arn=models.CharField(max_length=2048),
                version_id=models.CharField(max_length=64),
                seen_at=models.DateTimeField(default=timezone.now),
                client=to_client("secrets"),
            ),
            create_model(
                "ReadCount",
                client=of_client("read_count"),
                reads=models.BigIntegerField("reads", default=0, db_default=0),
                matches=models.BigIntegerField("matches", default=0, db_default=0),
                mismatches=models.BigIntegerField("mismatches", default=0, db_default=0),
                aws_failures=models.BigIntegerField("AWS failures", default=0, db_default=0),
                last_read_at=models.DateTimeField("last read", null=True),
                last_mismatch_at=models.DateTimeField("last mismatch", null=True),
                counted_since=models.DateTimeField(db_default=Now()),
            ),
            create_model(
                "Resolution",
                id=ID,
                slug=models.CharField(max_length=100),
                kind=models.CharField(
                    "kind",
                    max_length=16,
                    choices=[
                        ("check", "Checked again"),
                        ("to_aws", "Copied PostgreSQL to AWS"),
                        ("to_postgres", "Copied AWS to PostgreSQL"),
                        ("acknowledge", "Acknowledged"),
                        ("to_former", "Put the former values back"),
                        ("to_version", "Restored a former version"),
                    ],
                ),
                reason=models.TextField("reason", blank=True),
                message=models.TextField("result"),
                mismatches=models.JSONField(default=list),
                until=models.DateField("until", null=True),
                resolved_at=models.DateTimeField(default=timezone.now),
                by=to_user(),
                client=to_client("resolutions"),
                options={
                    "ordering": ["-id"],
                    "indexes": [
                        models.Index(fields=["client", "-id"], name="resolution_of_client")
                    ],
                },
            ),
            create_model(
                "DailyComparisons",
                id=ID,
                day=models.DateField(),
                status=models.CharField(max_length=20),
                number=models.BigIntegerField(),
                options={
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("day", "status"), name="one_count_a_day_and_status"
                        )
                    ],
                },
            ),
            create_model(
                "OpenMismatch",
                id=ID,
                slug=models.CharField(max_length=100),
                path=models.TextField("field"),
                kind=models.CharField("difference", max_length=16),
                hint=models.CharField("hint", max_length=32, blank=True),
                first_seen_at=models.DateTimeField("first seen", db_index=True),
                last_seen_at=models.DateTimeField("last seen"),
                times=models.PositiveIntegerField("times"),
                client=to_client("open_mismatches"),
                comparison=models.ForeignKey(
                    "migration.comparison", models.DO_NOTHING, related_name="+"
                ),
                owner=to_user("owner"),
                options={
                    "ordering": ["slug", "client_id", "path"],
                    "default_permissions": (),
                    "indexes": [
                        models.Index(fields=["slug", "client", "path"], name="open_mismatch_order"),
                        models.Index(fields=["kind"], name="open_mismatch_kind"),
                        models.Index(fields=["path"], name="open_mismatch_path"),
                    ],
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("client", "path"), name="one_open_mismatch_a_field"
                        )
                    ],
                },
            ),
            create_model(
                "Rate",
                kind=models.CharField(
                    max_length=8,
                    primary_key=True,
                    serialize=False,
                    choices=[
                        ("create", "Creates"),
                        ("write", "Updates"),
                        ("read", "Batch reads"),
                        ("login", "Logins tested"),
                    ],
                ),
                per_second=models.FloatField("calls per second", null=True),
                next_at=models.DateTimeField(db_default=Now()),
                share=models.FloatField(default=1, db_default=1),
                throttled_at=models.DateTimeField(default=EPOCH, db_default=EPOCH),
                throttled=models.BigIntegerField("throttled calls", default=0, db_default=0),
            ),
            create_model(
                "Worker",
                name=models.CharField(max_length=300, primary_key=True, serialize=False),
                started_at=models.DateTimeField(default=timezone.now),
                seen_at=models.DateTimeField(db_index=True, default=timezone.now),
                options={"ordering": ["-seen_at"]},
            ),
            create_model(
                "MoveRequest",
                id=ID,
                slug=models.CharField("slug", max_length=100),
                old=models.CharField("from", max_length=16, choices=PHASES),
                new=models.CharField("to", max_length=16, choices=PHASES),
                state=models.CharField(
                    "state",
                    max_length=16,
                    default="requested",
                    choices=[
                        ("requested", "Requested"),
                        ("waiting", "Waiting"),
                        ("done", "Done"),
                        ("failed", "Failed"),
                        ("cancelled", "Cancelled"),
                    ],
                ),
                reasons=models.JSONField("checks that fail", default=list),
                reason=models.TextField("reason"),
                requested_at=models.DateTimeField("requested", default=timezone.now),
                decided_at=models.DateTimeField("decided", null=True),
                client=to_client("move_requests"),
                decided_by=to_user("decided by"),
                requested_by=to_user("requested by"),
                options={
                    "verbose_name": "request",
                    "verbose_name_plural": "requests",
                    "ordering": ["-id"],
                    "permissions": [("approve_move", "Can approve cutovers and purges")],
                    "indexes": [
                        models.Index(fields=["client", "-id"], name="request_of_client"),
                        models.Index(fields=["state"], name="request_state"),
                    ],
                    "constraints": [
                        models.UniqueConstraint(
                            condition=models.Q(state__in=("requested", "waiting")),
                            fields=["client"],
                            name="one_open_request_a_client",
                        ),
                        models.CheckConstraint(
                            condition=models.Q(
                                ("decided_by", models.F("requested_by")),
                                ("state", "done"),
                                _negated=True,
                            ),
                            name="approved_by_another",
                        ),
                    ],
                },
            ),
            create_model(
                "Reveal",
                id=ID,
                slug=models.CharField("slug", max_length=100),
                kind=models.CharField("kind", max_length=16),
                credential_id=models.IntegerField("credential"),
                field=models.CharField("field", max_length=64),
                username=models.CharField("user", max_length=150),
                reason=models.TextField("reason"),
                address=models.CharField("address", max_length=200, blank=True),
                revealed_at=models.DateTimeField("revealed", default=timezone.now),
                by=to_user(),
                client=to_client("reveals"),
                options={
                    "verbose_name": "reveal",
                    "verbose_name_plural": "reveals",
                    "ordering": ["-id"],
                    "permissions": [("reveal_credential", "Can reveal secret values")],
                    "indexes": [models.Index(fields=["client", "-id"], name="reveal_of_client")],
                },
            ),
            create_model(
                "RoleGrant",
                id=ID,
                group=models.ForeignKey("auth.group", models.CASCADE, related_name="+"),
                permission=models.ForeignKey("auth.permission", models.CASCADE, related_name="+"),
                options={
                    "constraints": [
                        models.UniqueConstraint(fields=("group", "permission"), name="granted_once")
                    ]
                },
            ),
        ),
    ]
