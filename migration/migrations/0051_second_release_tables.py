"""The tables that release 0.2.0 brought, as it had them in the end; and triggers that refuse to change the audit."""

from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Now
from django.utils import timezone

from migration.core.fields import MessageField, limit_times
from migration.logins.models import today
from migration.schema_operations import (
    ID,
    ChangeTogether,
    create_model,
    kept_name,
    limit_text,
    of_client,
    require_name,
    to_client,
    to_user,
)
from migration.site import audit

PHASES = [
    ("postgres", "PostgreSQL"),
    ("dual_write", "Dual write"),
    ("dual_read", "Dual read"),
    ("aws", "AWS (cut over)"),
    ("purged", "Purged"),
]
# Nothing of leases is written to the WAL, and a crash of PostgreSQL empties the table. Each row is changed twice a
# push: with room on its page the index stays as it is.
KEEP_LEASES_LIGHT = """
ALTER TABLE migration_lease SET UNLOGGED;
ALTER TABLE migration_lease SET (fillfactor = 50)
"""


class Migration(migrations.Migration):
    replaces = [
        ("migration", "0007_version_keys"),
        ("migration", "0010_reader_processes"),
        ("migration", "0011_database_identity"),
        ("migration", "0013_copy_searches"),
        ("migration", "0016_resumed_searches"),
        ("migration", "0018_wrong_passwords"),
        ("migration", "0019_audit_events"),
        ("migration", "0020_leases"),
        ("migration", "0021_groups"),
        ("migration", "0026_client_owners"),
        ("migration", "0027_saved_views"),
        ("migration", "0030_kept_counts"),
        ("migration", "0031_clients_left_out"),
        ("migration", "0035_known_values"),
        ("migration", "0036_rotation_secret_name"),
        ("migration", "0037_newest_login_tests"),
        ("migration", "0039_notices"),
        ("migration", "0040_offboardings"),
        ("migration", "0044_refused_by_pooler"),
        ("migration", "0051_asked_and_sealed"),
    ]

    dependencies = [
        ("credentials", "0005_pushed_at"),
        ("migration", "0008_messages"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
            create_model(
                "VersionKey",
                id=ID,
                key=models.BinaryField(),
                created_at=models.DateTimeField(default=timezone.now),
                options={"ordering": ["-id"], "default_permissions": ()},
            ),
            create_model(
                "ReaderProcess",
                key=models.UUIDField(primary_key=True, serialize=False),
                host=models.CharField("host", max_length=255, db_default=""),
                process_id=models.BigIntegerField("process", db_default=0),
                version=models.CharField("package version", max_length=50, db_default=""),
                access_key_end=models.CharField("Access key", max_length=4, db_default=""),
                aws_error=models.CharField("newest AWS error", max_length=50, db_default=""),
                aws_error_at=models.DateTimeField(null=True),
                first_seen_at=models.DateTimeField("first seen", db_default=Now()),
                last_read_at=models.DateTimeField("last read", db_default=Now()),
                options={
                    "verbose_name": "process of NOVA",
                    "verbose_name_plural": "processes of NOVA",
                    "ordering": ["-last_read_at", "key"],
                    "constraints": [
                        limit_times(
                            "readerprocess", "aws_error_at", "first_seen_at", "last_read_at"
                        )
                    ],
                },
            ),
            create_model(
                "OtherStatement",
                id=ID,
                role=models.CharField(max_length=63),
                statement_id=models.BigIntegerField(),
                tables=models.CharField(max_length=255),
                calls=models.BigIntegerField(),
                first_noticed_at=models.DateTimeField(),
                noticed_at=models.DateTimeField(),
                called_at=models.DateTimeField(null=True),
                options={
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("role", "statement_id"), name="one_row_a_statement"
                        )
                    ],
                },
            ),
            create_model(
                "PlannedVersion",
                version_id=models.CharField(max_length=64, primary_key=True, serialize=False),
                planned_at=models.DateTimeField(db_index=True, db_default=Now()),
                options={"default_permissions": ()},
            ),
            create_model(
                "DatabaseClaim",
                id=ID,
                system_identifier=models.CharField(max_length=30, blank=True),
                database_oid=models.BigIntegerField(),
                place=models.TextField(),
                aws=models.TextField(blank=True),
                reason=models.TextField("reason", blank=True),
                claimed_at=models.DateTimeField(db_default=Now()),
                by=to_user(),
                by_name=kept_name(),
                facts=models.JSONField(null=True),
                options={
                    "ordering": ["-id"],
                    "permissions": [
                        (
                            "claim_database",
                            "Can claim a copied database as the one that writes to AWS",
                        )
                    ],
                    "default_permissions": (),
                    "constraints": [
                        limit_text("databaseclaim", "reason"),
                        require_name("databaseclaim", "by"),
                    ],
                },
            ),
            create_model(
                "WriteStop",
                id=ID,
                reason=models.TextField("reason"),
                stopped_at=models.DateTimeField("stopped", db_default=Now()),
                started_at=models.DateTimeField("started again", null=True),
                by=to_user(),
                started_by=to_user(),
                by_name=kept_name(),
                started_by_name=kept_name(),
                options={
                    "ordering": ["-id"],
                    "permissions": [("stop_aws_writes", "Can stop and start all AWS writes")],
                    "default_permissions": (),
                    "indexes": [
                        models.Index(
                            condition=models.Q(started_at=None),
                            fields=["-id"],
                            name="open_write_stop",
                        )
                    ],
                    "constraints": [
                        limit_text("writestop", "reason"),
                        require_name("writestop", "by"),
                        require_name("writestop", "started_by"),
                    ],
                },
            ),
            create_model(
                "CopySearch",
                id=ID,
                requested_at=models.DateTimeField(
                    "requested", default=timezone.now, db_default=Now()
                ),
                started_at=models.DateTimeField("started", null=True),
                seen_at=models.DateTimeField(null=True),
                finished_at=models.DateTimeField("finished", null=True),
                clients=models.PositiveIntegerField("clients", default=0, db_default=0),
                bytes_read=models.BigIntegerField("bytes read", default=0, db_default=0),
                tables_done=models.PositiveIntegerField(default=0, db_default=0),
                tables=models.PositiveIntegerField("tables", default=0, db_default=0),
                by=to_user("started by"),
                interrupted_at=models.DateTimeField("interrupted", null=True),
                in_background=models.BooleanField(default=False, db_default=False),
                tries=models.PositiveSmallIntegerField(default=0, db_default=0),
                by_name=kept_name("started by"),
                options={
                    "verbose_name": "search for copies",
                    "verbose_name_plural": "searches for copies",
                    "ordering": ["-id"],
                    "constraints": [require_name("copysearch", "by")],
                },
            ),
            create_model(
                "UnsearchedPlace",
                id=ID,
                slug=models.CharField(
                    "slug", max_length=100, default="", db_default="", blank=True
                ),
                place=models.CharField("place", max_length=600),
                reason=models.CharField(
                    "reason",
                    max_length=32,
                    choices=[
                        ("no_right", "this site's role may not read it"),
                        ("type", "its type is not searched"),
                        ("row_security", "row security hides rows from this site's role"),
                        ("foreign_table", "a foreign table: its rows are in another database"),
                        ("materialized_view", "a materialized view"),
                        ("other_session", "a temporary table of another session"),
                        ("large_objects", "large objects are not searched"),
                        ("busy", "it stayed locked: search again"),
                        ("changed", "it was rebuilt while it was read: search again"),
                        ("read_failed", "reading it failed"),
                        (
                            "secret_unread",
                            "AWS did not return these values, so they were not searched for",
                        ),
                        ("short_value", "a secret value is too short to be looked for"),
                    ],
                ),
                detail=models.CharField(
                    "detail", max_length=200, default="", db_default="", blank=True
                ),
                client=to_client("+", null=True),
                search=models.ForeignKey(
                    "migration.copysearch", models.CASCADE, related_name="unsearched_places"
                ),
                options={"ordering": ["slug", "place"]},
            ),
            create_model(
                "FoundCopy",
                id=ID,
                slug=models.CharField("slug", max_length=100),
                table=models.CharField("table", max_length=200),
                column=models.CharField("column", max_length=100),
                rows=models.BigIntegerField("rows"),
                client=to_client("+"),
                search=models.ForeignKey(
                    "migration.copysearch", models.CASCADE, related_name="found_copies"
                ),
                options={
                    "ordering": ["slug", "table", "column"],
                    "indexes": [
                        models.Index(fields=["search", "client"], name="found_copy_of_client")
                    ],
                },
            ),
            create_model(
                "Redaction",
                id=ID,
                slug=models.CharField("slug", max_length=100),
                table=models.CharField("table", max_length=200),
                column=models.CharField("column", max_length=100),
                rows=models.BigIntegerField("rows"),
                redacted_at=models.DateTimeField(
                    "redacted", default=timezone.now, db_default=Now()
                ),
                client=to_client("redactions"),
                options={
                    "verbose_name": "redaction",
                    "verbose_name_plural": "redactions",
                    "ordering": ["-id"],
                    "indexes": [models.Index(fields=["client", "-id"], name="redaction_of_client")],
                },
            ),
            create_model(
                "SearchedClient",
                id=ID,
                slug=models.CharField("slug", max_length=100),
                searched_at=models.DateTimeField("searched"),
                rows_found=models.BigIntegerField("rows with a copy", default=0, db_default=0),
                not_looked_at=models.PositiveIntegerField(
                    "places not looked at", default=0, db_default=0
                ),
                client=to_client("copy_searches"),
                search=models.ForeignKey(
                    "migration.copysearch", models.CASCADE, related_name="searched_clients"
                ),
                options={
                    "indexes": [
                        models.Index(
                            fields=["client", "-searched_at"], name="copy_search_of_client"
                        )
                    ],
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("search", "client"), name="searched_client_once"
                        )
                    ],
                },
            ),
            create_model(
                "PasswordReset",
                id=ID,
                user=to_user(),
                user_name=kept_name("user"),
                by=to_user(),
                by_name=kept_name(),
                what=models.CharField(
                    max_length=16,
                    choices=[
                        ("account", "New account"),
                        ("password", "Password"),
                        ("factor", "Second factor"),
                        ("address", "Mail"),
                    ],
                ),
                reset_at=models.DateTimeField(db_default=Now()),
                options={
                    "ordering": ["-id"],
                    "default_permissions": (),
                    "indexes": [models.Index(fields=["-reset_at"], name="recent_password_reset")],
                    "constraints": [
                        require_name("passwordreset", "user"),
                        require_name("passwordreset", "by"),
                    ],
                },
            ),
            create_model(
                "WrongPassword",
                id=ID,
                username=models.CharField("user", max_length=150, blank=True),
                address=models.CharField("address", max_length=200, blank=True),
                place=models.CharField(
                    "page",
                    max_length=16,
                    choices=[
                        ("login", "login page"),
                        ("reveal", "reveal of a secret value"),
                        ("password_change", "change of the own password"),
                        ("users", "change to people"),
                        ("second_factor", "page of the own second factor"),
                    ],
                ),
                typed_at=models.DateTimeField("typed", default=timezone.now),
                session=models.CharField(max_length=64, blank=True),
                shut_out=models.BooleanField("shut out", default=False),
                let_in_at=models.DateTimeField("let in again", null=True),
                let_in_by=models.CharField("let in by", max_length=150, blank=True),
                options={
                    "verbose_name": "wrong password",
                    "verbose_name_plural": "wrong passwords",
                    "ordering": ["-id"],
                    "default_permissions": (),
                    "indexes": [
                        models.Index(
                            condition=~models.Q(session=""),
                            fields=["session"],
                            name="wrong_in_session",
                        ),
                        models.Index(fields=["typed_at"], name="wrong_by_time"),
                    ],
                },
            ),
            create_model(
                "AuditCheckpoint",
                position=models.BigIntegerField(primary_key=True, serialize=False),
                link_signature=models.CharField(max_length=64),
                made_at=models.DateTimeField(),
                who=models.CharField(max_length=150),
                exported=models.CharField(max_length=64),
                key=models.CharField(max_length=16),
                signature=models.CharField(max_length=64),
                options={"ordering": ["-position"], "default_permissions": ()},
            ),
            create_model(
                "AuditLink",
                position=models.BigIntegerField(primary_key=True, serialize=False),
                event_id=models.UUIDField(unique=True),
                key=models.CharField(max_length=16),
                signature=models.CharField(max_length=64),
                sealed_at=models.DateTimeField(null=True),
                options={"ordering": ["position"], "default_permissions": ()},
            ),
            create_model(
                "AuditEvent",
                id=models.UUIDField(primary_key=True, serialize=False, editable=False),
                at=models.DateTimeField("time"),
                code=models.CharField("what", max_length=32),
                who=models.CharField("who", max_length=150),
                origin=models.CharField("from", max_length=200, blank=True),
                client_id=models.IntegerField("client", null=True),
                slug=models.CharField("slug", max_length=100, blank=True),
                reason=models.TextField("reason", blank=True),
                facts=models.TextField(),
                correlation=models.CharField(max_length=40),
                key=models.CharField(max_length=16),
                signature=models.CharField(max_length=64),
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
                    "constraints": [limit_text("auditevent", "reason")],
                },
            ),
            create_model(
                "Lease",
                id=ID,
                kind=models.SmallIntegerField(
                    choices=[(1, "Client"), (2, "Batch"), (3, "Search"), (4, "Audit")]
                ),
                key=models.BigIntegerField(),
                pid=models.IntegerField(null=True),
                session_key=models.BigIntegerField(null=True),
                taken_at=models.DateTimeField(null=True),
                options={
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(fields=("kind", "key"), name="one_lease")
                    ],
                },
            ),
            create_model(
                "ClientGroup",
                id=ID,
                name=models.CharField("name", max_length=100),
                key=models.CharField(max_length=300, unique=True, editable=False),
                options={
                    "verbose_name": "client group",
                    "verbose_name_plural": "client groups",
                    "ordering": ["key"],
                },
            ),
            create_model(
                "GroupMember",
                id=ID,
                client=to_client("group_members"),
                group=models.ForeignKey(
                    "migration.clientgroup", models.CASCADE, db_index=False, related_name="members"
                ),
                added_at=models.DateTimeField(db_default=Now()),
                options={
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("group", "client"), name="one_client_in_group"
                        )
                    ],
                },
            ),
            create_model(
                "RunPlan",
                id=ID,
                adopt=models.BooleanField(default=False),
                overwrite=models.BooleanField(default=False),
                include_inactive=models.BooleanField(default=False),
                chosen=models.JSONField(null=True),
                state=models.CharField(
                    "state",
                    max_length=16,
                    default="making",
                    choices=[
                        ("making", "Being made"),
                        ("ready", "Ready"),
                        ("checking", "Being looked at again"),
                        ("differs", "No longer as planned"),
                        ("started", "Started"),
                        ("discarded", "Discarded"),
                    ],
                ),
                by_name=kept_name(),
                started_by_name=kept_name(),
                created_at=models.DateTimeField(default=timezone.now),
                made_at=models.DateTimeField(null=True),
                differences=models.JSONField(default=list),
                checked_at=models.DateTimeField(null=True),
                worked_at=models.DateTimeField(default=timezone.now, db_default=Now()),
                by=to_user(),
                run=models.OneToOneField(
                    "migration.run", models.SET_NULL, null=True, related_name="plan"
                ),
                started_by=to_user(),
                look=models.UUIDField(null=True),
                counts=models.JSONField(default=dict, db_default={}),
                options={
                    "ordering": ["-id"],
                    "default_permissions": (),
                    "constraints": [
                        require_name("runplan", "by"),
                        require_name("runplan", "started_by"),
                    ],
                },
            ),
            create_model(
                "Campaign",
                id=ID,
                state=models.CharField(
                    "state",
                    max_length=16,
                    db_index=True,
                    default="running",
                    choices=[
                        ("requested", "Requested"),
                        ("running", "Running"),
                        ("stopped", "Stopped"),
                        ("finished", "Finished"),
                        ("cancelled", "Cancelled"),
                    ],
                ),
                goal=models.CharField("goal", max_length=16, choices=PHASES),
                wave_size=models.PositiveIntegerField("most clients in a wave", default=0),
                soak_minutes=models.PositiveIntegerField("soak time in minutes", default=0),
                most_mismatches=models.PositiveIntegerField(default=1),
                most_failed_reads=models.PositiveIntegerField(default=1),
                most_refused=models.PositiveIntegerField(default=1),
                begins_at=models.TimeField(null=True),
                ends_at=models.TimeField(null=True),
                rolls_back=models.BooleanField("rolls back when it stops by itself", default=False),
                reason=models.TextField("reason", blank=True),
                by_name=kept_name("created by"),
                approved_by_name=kept_name("approved by"),
                approved_at=models.DateTimeField(null=True),
                steered_by_name=kept_name(),
                stopped_because=MessageField(null=True),
                created_at=models.DateTimeField("created", default=timezone.now),
                changed_at=models.DateTimeField(default=timezone.now),
                approved_by=to_user(),
                by=to_user("created by"),
                steered_by=to_user(),
                asked_at=models.DateTimeField(null=True),
                options={
                    "verbose_name": "campaign",
                    "verbose_name_plural": "campaigns",
                    "ordering": ["-id"],
                    "default_permissions": ("view", "add", "change"),
                    "constraints": [
                        require_name("campaign", "by"),
                        require_name("campaign", "approved_by"),
                        require_name("campaign", "steered_by"),
                        limit_text("campaign", "reason"),
                        models.CheckConstraint(
                            condition=models.Q(("goal__in", ["dual_write", "dual_read", "aws"])),
                            name="campaign_never_purges",
                        ),
                        models.CheckConstraint(
                            condition=models.Q(("approved_by", models.F("by")), _negated=True),
                            name="campaign_approved_by_another",
                        ),
                        models.CheckConstraint(
                            condition=models.Q(
                                models.Q(("begins_at", None), ("ends_at", None)),
                                models.Q(("begins_at__isnull", False), ("ends_at__isnull", False)),
                                _connector="OR",
                            ),
                            name="campaign_hours_have_two_ends",
                        ),
                    ],
                },
            ),
            create_model(
                "Wave",
                id=ID,
                position=models.PositiveIntegerField(),
                part=models.PositiveIntegerField(default=1),
                group_name=models.CharField("client group", max_length=100),
                goes_on_without_group=models.BooleanField(default=False),
                began_at=models.DateTimeField("began", null=True),
                finished_at=models.DateTimeField("finished", null=True),
                watched_since=models.DateTimeField(null=True),
                rollback_is_due=models.BooleanField(default=False),
                campaign=models.ForeignKey(
                    "migration.campaign", models.CASCADE, db_index=False, related_name="waves"
                ),
                group=models.ForeignKey(
                    "migration.clientgroup", models.SET_NULL, null=True, related_name="+"
                ),
                options={
                    "ordering": ["position", "part"],
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("campaign", "position", "part"), name="one_wave_at_a_place"
                        )
                    ],
                },
            ),
            create_model(
                "WaveClient",
                id=ID,
                slug=models.CharField(max_length=100),
                failures_before=models.BigIntegerField(default=0),
                mismatches_before=models.BigIntegerField(default=0),
                client=to_client("wave_clients"),
                wave=models.ForeignKey(
                    "migration.wave", models.CASCADE, db_index=False, related_name="taken"
                ),
                left_out_at=models.DateTimeField(null=True),
                options={
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("wave", "client"), name="one_client_in_wave"
                        )
                    ],
                },
            ),
            create_model(
                "ClientOwner",
                client=of_client("client_owner"),
                since=models.DateTimeField(default=timezone.now, db_default=Now()),
                owner=models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+"),
                options={
                    "permissions": [("set_client_owner", "Can set who looks after clients")],
                    "default_permissions": (),
                },
            ),
            create_model(
                "SavedView",
                id=ID,
                name=models.CharField("name", max_length=60),
                key=models.CharField(max_length=180),
                query=models.CharField(max_length=1000),
                user=models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+"),
                options={
                    "ordering": ["key"],
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("user", "key"), name="one_saved_view_a_name"
                        )
                    ],
                },
            ),
            create_model(
                "ClientComment",
                id=ID,
                slug=models.CharField(max_length=100),
                text=models.TextField("comment"),
                by_name=kept_name(),
                left_at=models.DateTimeField(default=timezone.now),
                by=to_user(),
                client=to_client("comments"),
                options={
                    "verbose_name": "comment on a client",
                    "ordering": ["-id"],
                    "default_permissions": ("delete",),
                    "indexes": [models.Index(fields=["client", "-id"], name="comment_of_client")],
                    "constraints": [
                        limit_text("clientcomment", "text"),
                        require_name("clientcomment", "by"),
                    ],
                },
            ),
            create_model(
                "KeptCounts",
                id=ID,
                counted_at=models.DateTimeField(),
                counts=models.JSONField(),
                options={"default_permissions": ()},
            ),
            create_model(
                "LoginTest",
                id=ID,
                kind=models.CharField(
                    "kind",
                    max_length=16,
                    choices=[("database", "database"), ("email", "email"), ("aws", "aws")],
                ),
                credential_id=models.IntegerField("credential", null=True),
                label=models.CharField("label", max_length=100, blank=True),
                store=models.CharField(
                    "store", max_length=8, choices=[("postgres", "PostgreSQL"), ("aws", "AWS")]
                ),
                outcome=models.CharField(
                    "outcome",
                    max_length=16,
                    choices=[
                        ("works", "Works"),
                        ("refused", "Login refused"),
                        ("no_database", "No such database"),
                        ("pooler", "Refused by a pooler"),
                        ("unreachable", "Unreachable"),
                        ("no_such_host", "No such host"),
                        ("tls_problem", "TLS problem"),
                        ("timed_out", "Timed out"),
                        ("not_allowed", "Address not allowed"),
                        ("unsafe", "Password not asked for safely"),
                        ("unexpected", "Unexpected answer"),
                        ("not_testable", "Can't be tested"),
                    ],
                ),
                service=models.CharField(max_length=8, blank=True),
                is_newest=models.BooleanField(default=True, db_default=True),
                by_name=kept_name("tested by"),
                by=to_user("tested by"),
                client=to_client("login_tests"),
                tested_at=models.DateTimeField("tested", default=timezone.now),
                options={
                    "verbose_name": "login test",
                    "verbose_name_plural": "login tests",
                    "ordering": ["-id"],
                    "permissions": [("test_login", "Can test logins")],
                    "default_permissions": ("view",),
                    "indexes": [
                        models.Index(
                            condition=models.Q(is_newest=True),
                            fields=["client", "store"],
                            name="newest_login_test",
                        ),
                        models.Index(
                            condition=models.Q(is_newest=False),
                            fields=["tested_at"],
                            name="old_login_test",
                        ),
                        models.Index(
                            condition=models.Q(
                                ("is_newest", True),
                                ("outcome__in", ("no_database", "refused")),
                                ("store", "aws"),
                            ),
                            fields=["client"],
                            name="refused_login_test",
                        ),
                    ],
                    "constraints": [
                        require_name("logintest", "by"),
                        models.UniqueConstraint(
                            condition=models.Q(is_newest=True),
                            fields=("client", "store", "kind", "credential_id", "label"),
                            name="one_newest_login_test",
                            nulls_distinct=False,
                        ),
                    ],
                },
            ),
            create_model(
                "Rotation",
                id=ID,
                slug=models.CharField("slug", max_length=100),
                credential_type=models.CharField("kind", max_length=16),
                label=models.CharField("label", max_length=100, null=True),
                step=models.CharField(
                    "step",
                    max_length=16,
                    default="begun",
                    choices=[
                        ("begun", "begun"),
                        ("kept", "new secret kept in AWS"),
                        ("set", "database has the new password"),
                        ("stored", "new secret stored"),
                    ],
                ),
                outcome=models.CharField(
                    "outcome",
                    max_length=16,
                    choices=[
                        ("rotated", "secret rotated"),
                        ("refused", "nothing changed"),
                        ("stopped", "stopped: somebody has to look"),
                    ],
                    blank=True,
                ),
                version_id=models.CharField("version", max_length=64, blank=True),
                message=MessageField(null=True),
                by_name=kept_name("user"),
                begun_at=models.DateTimeField("begun", default=timezone.now),
                tried_at=models.DateTimeField("last tried", default=timezone.now),
                ended_at=models.DateTimeField("ended", null=True),
                by=to_user(),
                client=to_client("rotations"),
                secret_name=models.CharField(max_length=512, default="", db_default="", blank=True),
                role=models.JSONField(null=True),
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
                            condition=models.Q(outcome=""),
                            fields=["client"],
                            name="one_unfinished_rotation",
                        ),
                        models.CheckConstraint(
                            condition=models.Q(
                                ("outcome", ""), ("ended_at__isnull", False), _connector="XOR"
                            ),
                            name="rotation_with_outcome_ended",
                        ),
                        require_name("rotation", "by"),
                    ],
                },
            ),
            create_model(
                "RotationSchedule",
                id=ID,
                days=models.PositiveSmallIntegerField("days"),
                since=models.DateField(default=today),
                by_name=kept_name(),
                by=to_user(),
                client=to_client("+", null=True),
                group=models.OneToOneField(
                    "migration.clientgroup",
                    models.CASCADE,
                    null=True,
                    related_name="rotation_schedule",
                ),
                options={
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(fields=["client"], name="one_schedule_of_client"),
                        models.CheckConstraint(
                            condition=models.Q(("client", None), ("group", None), _connector="XOR"),
                            name="schedule_of_client_or_group",
                        ),
                        models.CheckConstraint(
                            condition=models.Q(days__range=(1, 3650)), name="schedule_days_in_range"
                        ),
                        require_name("rotationschedule", "by"),
                    ],
                },
            ),
            create_model(
                "NotedClient",
                client=of_client("noted_client"),
                revision=models.BigIntegerField(),
                key_id=models.CharField(max_length=16, blank=True),
                options={"default_permissions": ()},
            ),
            create_model(
                "KnownValue",
                id=ID,
                kind=models.CharField(max_length=16),
                credential_id=models.IntegerField(),
                digest=models.CharField(max_length=64, blank=True),
                key_id=models.CharField(max_length=16, blank=True),
                since=models.DateTimeField("at least since"),
                set_at=models.DateTimeField(),
                replaced_at=models.DateTimeField(null=True),
                stands_in_tables=models.BooleanField(),
                stood_in_tables=models.BooleanField(),
                stood_in_copy=models.BooleanField(default=False, db_default=False),
                stood_in_legacy=models.BooleanField(default=False, db_default=False),
                client=to_client("known_values"),
                options={
                    "default_permissions": (),
                    "indexes": [
                        models.Index(
                            fields=["client", "kind", "credential_id"],
                            name="known_value_of_credential",
                        ),
                        models.Index(
                            condition=models.Q(("replaced_at", None), ("stands_in_tables", False)),
                            fields=["client"],
                            name="known_value_to_rotate",
                        ),
                    ],
                },
            ),
            create_model(
                "NoticeRule",
                event=models.CharField(max_length=32, primary_key=True, serialize=False),
                by_mail=models.BooleanField(default=True),
                by_webhook=models.BooleanField(default=True),
                options={"default_permissions": ()},
            ),
            create_model(
                "Condition",
                id=ID,
                event=models.CharField(max_length=32),
                subject=models.CharField(max_length=100),
                facts=MessageField(null=True),
                began_at=models.DateTimeField(default=timezone.now),
                seen_at=models.DateTimeField(default=timezone.now),
                options={
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("event", "subject"), name="one_condition_a_subject"
                        )
                    ],
                },
            ),
            create_model(
                "Notice",
                id=ID,
                event=models.CharField(max_length=32),
                key=models.CharField(max_length=200, unique=True),
                facts=MessageField(null=True),
                digest=models.CharField(max_length=200, blank=True, db_default=""),
                number=models.PositiveIntegerField(default=1, db_default=1),
                names=models.JSONField(default=list, db_default=[]),
                created_at=models.DateTimeField(db_default=Now()),
                handed_out_at=models.DateTimeField(null=True),
                recipient=to_user(),
                run=models.ForeignKey(
                    "migration.run",
                    models.DO_NOTHING,
                    null=True,
                    related_name="+",
                    db_constraint=False,
                ),
                options={
                    "verbose_name": "notice",
                    "verbose_name_plural": "notices",
                    "ordering": ["-id"],
                    "permissions": [("set_notices", "Can set and test the notices")],
                    "default_permissions": (),
                    "indexes": [
                        models.Index(
                            condition=models.Q(handed_out_at=None),
                            fields=["id"],
                            name="notice_to_hand_out",
                        ),
                        models.Index(fields=["created_at"], name="notice_by_time"),
                    ],
                },
            ),
            create_model(
                "NoticeDelivery",
                id=ID,
                way=models.CharField(
                    max_length=8, choices=[("mail", "Mail"), ("webhook", "Webhook")]
                ),
                target=models.CharField(max_length=64),
                host=models.CharField(max_length=255),
                state=models.CharField(
                    max_length=8,
                    default="waiting",
                    choices=[("waiting", "Waiting"), ("sent", "Sent"), ("given_up", "Given up")],
                ),
                outcome=models.CharField(max_length=16, blank=True),
                status=models.PositiveSmallIntegerField(null=True),
                tries=models.PositiveSmallIntegerField(default=0),
                tried_at=models.DateTimeField(null=True),
                next_try_at=models.DateTimeField(db_default=Now()),
                notice=models.ForeignKey(
                    "migration.notice", models.CASCADE, related_name="deliveries"
                ),
                user=models.ForeignKey(
                    settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+"
                ),
                options={
                    "ordering": ["-id"],
                    "default_permissions": (),
                    "indexes": [
                        models.Index(
                            condition=models.Q(state="waiting"),
                            fields=["next_try_at"],
                            name="delivery_to_try",
                        ),
                        models.Index(fields=["target", "-tried_at"], name="delivery_of_recipient"),
                    ],
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("notice", "target"), name="one_delivery_a_recipient"
                        )
                    ],
                },
            ),
            create_model(
                "Offboarding",
                client=of_client("offboarding"),
                slug=models.CharField("slug", max_length=100),
                state=models.CharField(
                    "state",
                    max_length=16,
                    default="offboarding",
                    choices=[
                        ("offboarding", "Being offboarded"),
                        ("offboarded", "Offboarded"),
                        ("coming_back", "Coming back"),
                    ],
                ),
                former_phase=models.CharField(max_length=16, choices=PHASES),
                deletions=models.JSONField(default=dict, db_default={}),
                reason=models.TextField("reason", blank=True),
                by_name=kept_name("user"),
                begun_at=models.DateTimeField("begun", default=timezone.now),
                ended_at=models.DateTimeField("offboarded", null=True),
                by=to_user(),
                options={
                    "verbose_name": "offboarding",
                    "verbose_name_plural": "offboardings",
                    "default_permissions": (),
                    "constraints": [
                        limit_text("offboarding", "reason"),
                        require_name("offboarding", "by"),
                    ],
                },
            ),
            create_model(
                "PlanRow",
                id=ID,
                look=models.UUIDField(),
                client_id=models.IntegerField(),
                plan_class=models.CharField(
                    max_length=16,
                    choices=[
                        ("new", "New in AWS"),
                        ("unchanged", "Unchanged"),
                        ("updated", "Updated over this site's version"),
                        ("overwritten", "Overwritten: someone else's version"),
                        ("left_alone", "Left alone"),
                        ("failing", "Will fail"),
                        ("will", "Would be done"),
                        ("nothing", "Nothing to do"),
                        ("refused", "Refused"),
                    ],
                ),
                content=models.JSONField(),
                plan=models.ForeignKey(
                    "migration.runplan", models.CASCADE, related_name="every_row", db_index=False
                ),
                options={
                    "default_permissions": (),
                    "indexes": [
                        models.Index(
                            fields=["plan", "look", "plan_class", "client_id"], name="planrow_class"
                        )
                    ],
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("plan", "look", "client_id"), name="one_row_a_client_and_look"
                        )
                    ],
                },
            ),
        ),
        migrations.RunSQL(KEEP_LEASES_LIGHT, migrations.RunSQL.noop),
        migrations.RunSQL(
            [audit.MAKE_FUNCTION, *map(audit.make_triggers_sql, audit.TABLES)],
            [audit.DROP_FUNCTION],
        ),
    ]
