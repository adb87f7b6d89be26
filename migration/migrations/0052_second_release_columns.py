"""What release 0.2.0 changed in tables of 0.1.0 that NOVA's reader doesn't use.

Records keep the names of people, the database keeps the people, and user administration is a role of its own. Moves,
campaigns and login tests are runs. Items know what their run does, so that a client's newest push, comparison and move
are found by an index.
"""

from django.conf import settings
from django.db import migrations, models

from migration.core.fields import MessageField, MessageListField
from migration.schema_operations import (
    ChangeTogether,
    add_fields,
    kept_name,
    limit_text,
    require_name,
    to_user,
)

PHASES = [
    ("postgres", "PostgreSQL"),
    ("dual_write", "Dual write"),
    ("dual_read", "Dual read"),
    ("aws", "AWS (cut over)"),
    ("purged", "Purged"),
]
LAYOUTS = [("client", "One secret per client"), ("service", "One secret per service")]
USER_ADMINISTRATION = {
    f"{action}_{model}"
    for action in ("view", "add", "change", "delete")
    for model in ("user", "group")
}
# The foreign keys whose users' names are kept beside them, by model, with the label of the name's column.
KEPT = (
    ("moverequest", "decided_by", "decided by"),
    ("moverequest", "requested_by", "requested by"),
    ("phasechange", "by", None),
    ("resolution", "by", None),
    ("run", "by", "created by"),
    ("run", "steered_by", None),
)
FILL_ACTS = """
UPDATE migration_runitem AS item SET act = CASE run.kind WHEN 'migrate' THEN 'push' ELSE run.kind END
FROM migration_run AS run WHERE run.id = item.run_id
"""

KEEP_USERS = """
CREATE FUNCTION refuse_user_deletion() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'users are deactivated, never deleted' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER users_are_kept BEFORE DELETE ON auth_user FOR EACH ROW EXECUTE FUNCTION refuse_user_deletion();
"""
LET_USERS_GO = "DROP TRIGGER users_are_kept ON auth_user; DROP FUNCTION refuse_user_deletion()"


def separate_user_administration(apps, schema_editor):
    """Move what the role Administrator had over users and groups to a role of its own, with everybody who had it."""
    using = schema_editor.connection.alias
    groups = apps.get_model("auth", "Group").objects.using(using)
    role = groups.filter(name="Administrator").first()
    if role is None:
        return  # `migrate` has yet to make the roles
    grants = apps.get_model("migration", "RoleGrant").objects.using(using)
    given = grants.filter(
        group=role,
        permission__content_type__app_label="auth",
        permission__codename__in=USER_ADMINISTRATION,
    )
    held = role.permissions.filter(pk__in=given.values("permission"))
    # What somebody took away from the role is not given back to its members.
    if held.filter(codename="change_user").exists():
        new, _created = groups.get_or_create(name="User administrator")
        new.user_set.add(*role.user_set.all())
    role.permissions.remove(*held)
    given.delete()


class Migration(migrations.Migration):
    replaces = [
        ("migration", "0014_schema_class"),
        ("migration", "0017_kept_names"),
        ("migration", "0022_run_plans"),
        ("migration", "0023_move_runs"),
        ("migration", "0024_item_acts"),
        ("migration", "0025_campaigns"),
        ("migration", "0028_comments_and_assignees"),
        ("migration", "0029_undone_copies"),
        ("migration", "0032_login_tests"),
        ("migration", "0033_rotations"),
        ("migration", "0041_secret_settings"),
        ("migration", "0045_plan_rows"),
        ("migration", "0046_differing_secrets"),
        ("migration", "0047_worker_clocks"),
        ("migration", "0048_created_by"),
        ("migration", "0049_run_began_at"),
        ("migration", "0052_shared_facts"),
    ]

    dependencies = [
        ("migration", "0051_second_release_tables"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RenameField("openmismatch", "owner", "assignee"),
        ChangeTogether(
            *(
                operation
                for model in ("phasechange", "moverequest")
                for operation in add_fields(
                    model,
                    overridden=MessageListField(
                        "overridden evidence" if model == "moverequest" else None,
                        default=list,
                        db_default=[],
                    ),
                    override_reason=models.TextField(
                        "reason of the override" if model == "moverequest" else None,
                        blank=True,
                        db_default="",
                    ),
                )
            ),
            *(
                migrations.AddField(model, f"{of}_name", kept_name(label))
                for model, of, label in KEPT
            ),
            *add_fields(
                "resolution",
                kept_versions=models.JSONField(null=True),
                revision=models.BigIntegerField(null=True),
            ),
            *add_fields(
                "run",
                overwrite=models.BooleanField(
                    "overwrite what somebody else wrote", default=False, db_default=False
                ),
                approved_by=to_user("approved by"),
                approved_by_name=kept_name("approved by"),
                move_from=models.CharField(
                    "from", max_length=16, blank=True, db_default="", choices=PHASES
                ),
                move_to=models.CharField(
                    "to", max_length=16, blank=True, db_default="", choices=PHASES
                ),
                override_lines=models.JSONField(default=list, db_default=[]),
                override_reason=models.TextField(
                    "reason of the override", blank=True, db_default=""
                ),
                reason=models.TextField("reason", blank=True, db_default=""),
                schedule_deletion=models.BooleanField(default=False, db_default=False),
                only_where_equal=models.BooleanField(default=False, db_default=False),
                wave=models.ForeignKey(
                    "migration.wave", models.SET_NULL, null=True, related_name="runs"
                ),
                stores=models.CharField(
                    max_length=8,
                    blank=True,
                    db_default="",
                    choices=[("postgres", "PostgreSQL"), ("aws", "AWS"), ("both", "Both stores")],
                ),
                layout=models.CharField(max_length=16, blank=True, db_default="", choices=LAYOUTS),
                secret_settings=models.JSONField(null=True),
                began_at=models.DateTimeField(null=True),
            ),
            *add_fields(
                "runitem",
                act=models.CharField(
                    "act",
                    max_length=16,
                    blank=True,
                    default="",
                    db_default="",
                    choices=[
                        ("push", "Push"),
                        ("compare", "Comparison"),
                        ("move", "Move"),
                        ("layout", "Change of layout"),
                        ("test_logins", "Login tests"),
                        ("rotate", "Rotation"),
                        ("secret_settings", "Key and regions"),
                        ("to_aws", "Copy to AWS"),
                        ("to_postgres", "Copy to PostgreSQL"),
                    ],
                ),
            ),
            *add_fields(
                "secret",
                facts=models.JSONField(default=dict, db_default={}),
                described_at=models.DateTimeField(null=True),
                differs=models.BooleanField(default=False, db_default=False),
                compared_with=models.CharField(max_length=16, default="", db_default=""),
                tried_at=models.DateTimeField(null=True),
                begun=MessageField(null=True),
                begun_on=models.JSONField(null=True),
            ),
            *add_fields(
                "worker",
                clock_ahead=models.DurationField(null=True),
                idle_because=MessageField(null=True),
                release=models.CharField(max_length=50, db_default=""),
                schema=models.CharField(max_length=100, db_default=""),
            ),
            *(
                migrations.RunSQL(
                    f"UPDATE migration_{model} SET {of}_name = username FROM auth_user WHERE auth_user.id = {of}_id",  # noqa: S608  # its own names
                    migrations.RunSQL.noop,
                )
                for model, of, _label in KEPT
            ),
            migrations.RunSQL(FILL_ACTS, migrations.RunSQL.noop),
            # A row that was updated twice waits for the check of its foreign keys, and its table can't be altered meanwhile.
            migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
            *(
                migrations.AddConstraint(model, constraint)
                for model, constraint in (
                    ("phasechange", limit_text("phasechange", "override_reason")),
                    ("moverequest", limit_text("moverequest", "override_reason")),
                    *((model, require_name(model, of)) for model, of, _label in KEPT),
                    ("run", require_name("run", "approved_by")),
                    ("run", limit_text("run", "reason")),
                    ("run", limit_text("run", "override_reason")),
                )
            ),
            *(
                migrations.AddConstraint(
                    "run", models.CheckConstraint(condition=condition, name=name)
                )
                for name, condition in (
                    (
                        "run_of_moves_names_its_move",
                        models.Q(
                            ("kind", "move"),
                            models.Q(("move_from", ""), ("move_to", "")),
                            _connector="XOR",
                        ),
                    ),
                    ("run_approved_by_another", ~models.Q(approved_by=models.F("by"))),
                    (
                        "run_of_campaign_overrides_nothing",
                        models.Q(
                            ("wave", None),
                            models.Q(("override_reason", ""), ~models.Q(move_to="purged")),
                            _connector="OR",
                        ),
                    ),
                    (
                        "run_of_login_tests_names_stores",
                        models.Q(("kind", "test_logins"), ("stores", ""), _connector="XOR"),
                    ),
                    (
                        "run_of_layouts_names_its_layout",
                        models.Q(("kind", "layout"), ("layout", ""), _connector="XOR"),
                    ),
                )
            ),
            migrations.AlterField(
                "phasechange",
                "run",
                models.ForeignKey(
                    "migration.run",
                    models.SET_NULL,
                    null=True,
                    related_name="phase_changes",
                    db_index=False,
                ),
            ),
            migrations.AddIndex(
                "phasechange", models.Index(fields=["run", "client"], name="move_of_run")
            ),
            migrations.RemoveIndex("runitem", "item_outcome"),
            migrations.RemoveIndex("runitem", "open_item_batch"),
            *(
                migrations.AddIndex("runitem", index)
                for index in (
                    models.Index(
                        condition=models.Q(outcome__in=("failed", "refused")),
                        fields=["client", "act"],
                        name="item_failed",
                    ),
                    models.Index(
                        models.F("client"),
                        models.F("act"),
                        models.OrderBy(models.F("finished_at"), descending=True, nulls_last=True),
                        models.OrderBy(models.F("id"), descending=True),
                        condition=~models.Q(outcome=""),
                        name="item_newest",
                    ),
                    models.Index(fields=["run", "outcome", "batch"], name="item_outcome"),
                    models.Index(
                        condition=models.Q(outcome=""), fields=["client"], name="open_item_client"
                    ),
                )
            ),
            migrations.AlterField(
                "runitem",
                "run",
                models.ForeignKey(
                    "migration.run", models.CASCADE, related_name="items", db_index=False
                ),
            ),
            migrations.AddIndex(
                "secret",
                models.Index(
                    condition=models.Q(differs=True), fields=["client"], name="secret_differs"
                ),
            ),
        ),
        migrations.RunSQL(KEEP_USERS, LET_USERS_GO),
        migrations.RunPython(separate_user_administration, migrations.RunPython.noop),
    ]
