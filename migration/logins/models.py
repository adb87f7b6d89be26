"""Owns login tests, rotations with their schedules, and reveals: which login, when, what came of it. Never a value."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, models, transaction
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from credentials.models import (
    CREDENTIAL_MODELS,
    NAMED_ROWS,
    ROW_NAMES,
    Client,
    find_row_names,
)
from migration.core.audit import AuditEvent, EventKind, limit_reason
from migration.core.clients import ClientMigration
from migration.core.fields import MessageField
from migration.core.groups import ClientGroup
from migration.core.outgoing import PROVEN_WRONG, LoginOutcome
from migration.core.text import KeptNameField, require_kept_name
from nova_credentials.credential_types import CredentialType
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.shown_names import escape_name

ROTATION_EVENT = EventKind("rotation", _("Rotation"), icon="autorenew", in_history=True)


LoginTestKey = tuple[str, int | None, str]
LOGIN_PERMISSION = "migration.test_login"
ROTATE_PERMISSION = "migration.rotate_credential"
TESTS_ARE_KEPT = timedelta(days=90)
_WRONG = tuple(sorted(outcome.value for outcome in PROVEN_WRONG))


class LoginStore(models.TextChoices):
    """The store whose values log in."""

    POSTGRES = "postgres", "PostgreSQL"
    AWS = "aws", "AWS"


class LoginStores(models.TextChoices):
    """The stores that a run tests."""

    POSTGRES = "postgres", "PostgreSQL"
    AWS = "aws", "AWS"
    BOTH = "both", _("Both stores")

    @property
    def named_stores(self) -> tuple[LoginStore, ...]:
        """Return the stores one by one."""
        return tuple(LoginStore) if self == LoginStores.BOTH else (LoginStore(self.value),)


class LoginTestQuerySet(models.QuerySet["LoginTest"]):
    def newest(self, client_ids: Collection[int]) -> Self:
        """Select the newest test of each login of these clients in each store."""
        return self.filter(is_newest=True, client_id__in=client_ids)

    def refused_in_aws(self) -> Self:
        """Select the logins whose newest test proved AWS's values wrong."""
        return self.filter(is_newest=True, store=LoginStore.AWS.value, outcome__in=_WRONG)

    def record(
        self,
        tests: Iterable[LoginTest],
        *,
        client_id: int,
        store: LoginStore,
        all_read_at: datetime | None = None,
    ) -> None:
        """Store these tests of the client's logins in the store.

        The newest is the one whose values were read last, whoever's test ended first: `tested_at` is that time.
        With `all_read_at` these are all logins that the client had in the store then: what it did not have any more is
        forgotten.
        """
        # Of logins that only AWS has, several may share a label: the one that fails counts.
        rows = sorted(tests, key=lambda row: (row.works, not row.is_proven_wrong))
        with transaction.atomic():
            # Of two who store at once, the second sees what the first has stored.
            ClientMigration.objects.lock(client_id)
            before = list(self.newest([client_id]).filter(store=store.value))
            tested = {row.key_within_client_and_store: row.tested_at for row in before}
            replaced: set[LoginTestKey] = set()
            for row in rows:
                is_last = row.tested_at >= tested.get(
                    row.key_within_client_and_store, row.tested_at
                )
                row.is_newest = is_last and row.key_within_client_and_store not in replaced
                if row.is_newest:
                    replaced.add(row.key_within_client_and_store)
            outdated = [
                row.pk
                for row in before
                if row.key_within_client_and_store in replaced
                or (all_read_at and row.tested_at <= all_read_at)
            ]
            self.filter(pk__in=outdated).update(is_newest=False)
            self.bulk_create(rows)

    def forget_replaced(
        self,
        client_id: int,
        store: LoginStore,
        logins: Collection[tuple[CredentialType, int | None]] | None,
        *,
        before: datetime | None = None,
    ) -> None:
        """Let the tests of these logins, by type and row, no longer count: a copy replaced the values that were tried.

        None: of all logins of the client in the store. A test of values that were read after `before` stays.
        """
        tests = self.newest([client_id]).filter(store=store.value)
        if before:
            tests = tests.filter(tested_at__lte=before)
        replaced = [
            test.pk
            for test in tests
            if logins is None or (CredentialType(test.kind), test.credential_id) in logins
        ]
        self.filter(pk__in=replaced).update(is_newest=False)

    def forget_old(self) -> None:
        """Delete the tests of more than 90 days ago that count no longer."""
        before = timezone.now() - TESTS_ARE_KEPT
        self.filter(is_newest=False, tested_at__lt=before).delete()


LOGIN_OF_AWS = Sentence("login_of_aws", "%(kind)s login, only in AWS")
LABELLED_LOGIN_OF_AWS = Sentence("labelled_login_of_aws", "%(kind)s login %(label)s, only in AWS")
LOGIN_WITH_SERVICE = Sentence("login_with_service", "%(login)s (%(service)s)")


def attach_row_names(tests: Collection[LoginTest]) -> None:
    """Set on each test what names its row, where there is one still: a query for each type of login."""
    ids: dict[str, set[int]] = {}
    for test in tests:
        if test.credential_id is not None:
            ids.setdefault(test.kind, set()).add(test.credential_id)
    names = find_row_names(ids)
    for test in tests:
        test.row_name = names.get((test.kind, test.credential_id or 0), "")


class LoginTest(models.Model):
    """One login of one client, tried with the values of one store."""

    # `attach_row_names` sets it.
    row_name = ""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="login_tests"
    )
    kind = models.CharField(
        _("kind"), max_length=16, choices=[(each.value, each.value) for each in CredentialType]
    )
    # Of the row in the tables; None of a login that only AWS has, which its label tells.
    credential_id = models.IntegerField(_("credential"), null=True)
    label = models.CharField(_("label"), max_length=100, blank=True)
    store = models.CharField(_("store"), max_length=8, choices=LoginStore)
    outcome = models.CharField(_("outcome"), max_length=16, choices=LoginOutcome)
    # Of a mailbox: the service that gave the outcome.
    service = models.CharField(max_length=8, blank=True)
    is_newest = models.BooleanField(default=True, db_default=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("tested by"),
    )
    by_name = KeptNameField("by", _("tested by"))
    # When its values were read.
    tested_at = models.DateTimeField(_("tested"), default=timezone.now)

    objects = LoginTestQuerySet.as_manager()

    class Meta:
        default_permissions = ("view",)
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(
                fields=["client", "store"],
                name="newest_login_test",
                condition=models.Q(is_newest=True),
            ),
            # For the gates of lists over all clients.
            models.Index(
                fields=["client"],
                name="refused_login_test",
                condition=models.Q(is_newest=True, store="aws", outcome__in=_WRONG),
            ),
            models.Index(
                fields=["tested_at"],
                name="old_login_test",
                condition=models.Q(is_newest=False),
            ),
        ]
        constraints: ClassVar = [
            require_kept_name("logintest", "by"),
            models.UniqueConstraint(
                fields=["client", "store", "kind", "credential_id", "label"],
                name="one_newest_login_test",
                condition=models.Q(is_newest=True),
                nulls_distinct=False,
            ),
        ]
        permissions: ClassVar = [("test_login", _("Can test logins"))]
        verbose_name = _("login test")
        verbose_name_plural = _("login tests")

    def __str__(self) -> str:
        return f"{self.kind} in {self.store}: {self.outcome}"

    @property
    def key_within_client_and_store(self) -> LoginTestKey:
        """Return by what it is known as a test of the same login, among those of the client in the store."""
        return (self.kind, self.credential_id, self.label)

    @property
    def works(self) -> bool:
        return self.outcome == LoginOutcome.WORKS

    @property
    def is_proven_wrong(self) -> bool:
        return self.outcome in _WRONG

    @property
    def login_name_message(self) -> Message:
        """Name the login, and of a mailbox the service, for a sentence in any language."""
        if self.credential_id is not None and self.row_name:
            name = NAMED_ROWS[self.kind](name=escape_name(self.row_name))
        elif self.credential_id is not None:
            name = ROW_NAMES[self.kind](id=str(self.credential_id))
        elif self.label:
            name = LABELLED_LOGIN_OF_AWS(kind=self.kind, label=self.label)
        else:
            name = LOGIN_OF_AWS(kind=self.kind)
        if not self.service:
            return name
        return LOGIN_WITH_SERVICE(login=name, service=self.service.upper())


class RotationOpenError(MessageError):
    """Another rotation of the client is not finished."""


class RotationStep(models.TextChoices):
    """How far a rotation is surely; what comes after may have been done too."""

    BEGUN = "begun", _("begun")
    KEPT = "kept", _("new secret kept in AWS")
    SET = "set", _("database has the new password")
    STORED = "stored", _("new secret stored")


class RotationOutcome(models.TextChoices):
    """What became of a rotation; empty while it is not finished."""

    ROTATED = "rotated", _("secret rotated")
    # Nothing was changed, or everything put back.
    REFUSED = "refused", _("nothing changed")
    # It can't be known which password is valid, or where the login leads: somebody has to look.
    STOPPED = "stopped", _("stopped: somebody has to look")


ROTATION_UNDER_WAY = Sentence(
    "rotation_under_way",
    "A rotation of this client began %(ago)s ago and is not finished. Wait for it: workers continue it.",
)


class RotationQuerySet(models.QuerySet["Rotation"]):
    def unfinished(self) -> Self:
        """Select the rotations that have no outcome yet."""
        return self.filter(outcome="")

    def rotated(self) -> Self:
        """Select those after which the login has a new secret."""
        return self.filter(outcome=RotationOutcome.ROTATED)

    def stopped_newest_of_client(self) -> Self:
        """Select the rotations that stopped and are their client's newest."""
        newer = Rotation.objects.filter(
            client_id=models.OuterRef("client_id"), pk__gt=models.OuterRef("pk")
        )
        return self.filter(~models.Exists(newer), outcome=RotationOutcome.STOPPED).order_by()

    def newest_of_login(self, outcome: RotationOutcome) -> Self:
        """Select the rotations that ended so, if no later one of the same login has ended."""
        named = Coalesce("label", models.Value(""))
        later = (
            Rotation.objects.exclude(outcome="")
            .alias(named=named)
            .filter(
                client_id=models.OuterRef("client_id"),
                credential_type=models.OuterRef("credential_type"),
                named=models.OuterRef("named"),
                pk__gt=models.OuterRef("pk"),
            )
        )
        ended_so = self.filter(outcome=outcome).alias(named=named)
        return ended_so.filter(~models.Exists(later)).order_by()

    def find_unfinished(self, client_id: int) -> Rotation | None:
        """Return the client's rotation that has no outcome yet, if there is one."""
        return self.unfinished().filter(client_id=client_id).first()

    def list_unfinished_client_ids(self) -> list[int]:
        """Return the clients with an unfinished rotation, the one first that was tried longest ago."""
        return list(self.unfinished().order_by("tried_at").values_list("client_id", flat=True))

    def begin(
        self,
        client: Client,
        credential_type: CredentialType,
        label: str | None,
        *,
        by: User | None,
        reason: str = "",
    ) -> Rotation:
        """Store a new rotation; raises `RotationOpenError` where another one of the client is not finished."""
        try:
            with transaction.atomic():
                return self.create(
                    client_id=client.pk,
                    slug=client.slug,
                    credential_type=credential_type,
                    label=label,
                    by=by,
                    reason=reason,
                )
        except IntegrityError:
            there = self.find_unfinished(client.pk)
            since = there.begun_at if there else timezone.now()
        raise RotationOpenError(ROTATION_UNDER_WAY(ago=since))


SECRET_ROTATED = Sentence("secret_rotated", "Rotated %(login)s (%(kind)s).")
ROTATION_ENDED = Sentence("rotation_ended", "Did not rotate %(login)s (%(kind)s): %(why)s")


class Rotation(models.Model):
    """One login that gets, or got, a new secret. At most one of a client is unfinished."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="rotations"
    )
    slug = models.CharField(_("slug"), max_length=100)
    credential_type = models.CharField(_("kind"), max_length=16)
    # NULL: the primary login.
    label = models.CharField(_("label"), max_length=100, null=True)
    step = models.CharField(
        _("step"), max_length=16, choices=RotationStep, default=RotationStep.BEGUN
    )
    outcome = models.CharField(_("outcome"), max_length=16, choices=RotationOutcome, blank=True)
    # Where the new secret is kept, since that began: the client may get another slug meanwhile.
    secret_name = models.CharField(max_length=512, blank=True, default="", db_default="")
    # Host, port and user of the login, which may get another label meanwhile.
    role = models.JSONField(null=True)
    # Of the version in AWS that was made to keep the new secret, then of the one that is current.
    version_id = models.CharField(_("version"), max_length=64, blank=True)
    message = MessageField(null=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by", _("user"))
    # As the user typed it; of a run's rotation the run has it.
    reason = models.TextField(_("reason"), blank=True, default="", db_default="")
    begun_at = models.DateTimeField(_("begun"), default=timezone.now)
    tried_at = models.DateTimeField(_("last tried"), default=timezone.now)
    ended_at = models.DateTimeField(_("ended"), null=True)

    # Not stored: nothing was changed, for a reason that may pass by itself.
    is_worth_another_try = False

    objects = RotationQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ("view",)
        permissions: ClassVar = [("rotate_credential", _("Can rotate credentials"))]
        indexes: ClassVar = [
            models.Index(fields=["client", "-ended_at"], name="rotation_of_client"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["client"], condition=models.Q(outcome=""), name="one_unfinished_rotation"
            ),
            models.CheckConstraint(
                condition=models.Q(outcome="") ^ models.Q(ended_at__isnull=False),
                name="rotation_with_outcome_ended",
            ),
            require_kept_name("rotation", "by"),
        ]
        verbose_name = _("rotation")
        verbose_name_plural = _("rotations")

    def __str__(self) -> str:
        return f"rotation {self.pk} of {self.slug}"

    @property
    def is_finished(self) -> bool:
        """Say whether it has an outcome."""
        return bool(self.outcome)

    @property
    def client_kind_and_label(self) -> str:
        """Name the login by client, kind and label."""
        return " › ".join(filter(None, (self.slug, self.credential_type, self.label)))

    def note_step(self, step: RotationStep, **changed: str) -> None:
        """Store how far it is, and what else is known of it now."""
        self.record_attempt(step=step, **changed)

    def note_hindrance(self, message: Message) -> None:
        """Store why it is not finished yet."""
        self.record_attempt(message=message)

    def record_attempt(self, **facts: object) -> None:
        """Store these columns, and that it was worked on."""
        for name, value in (facts | {"tried_at": timezone.now()}).items():
            setattr(self, name, value)
        self.save(update_fields=[*facts, "tried_at"])

    def end(self, outcome: RotationOutcome, message: Message | None = None) -> None:
        """Store what became of it, with its entry in the audit."""
        if outcome == RotationOutcome.ROTATED:
            facts = SECRET_ROTATED(login=self.client_kind_and_label, kind=self.credential_type)
        else:
            facts = ROTATION_ENDED(
                login=self.client_kind_and_label, kind=self.credential_type, why=message or ""
            )
        with transaction.atomic():
            self.record_attempt(outcome=outcome, message=message, ended_at=timezone.now())
            AuditEvent.objects.record(
                ROTATION_EVENT,
                facts,
                by=self.by,
                client_id=self.client_id,
                slug=self.slug,
                reason=self.reason,
            )


# Schedules: how often database passwords are rotated, of a client or of the clients of a group. Days are dates in UTC.

MOST_DAYS = 3650
# The day on which each client's database passwords are to be rotated next: of its own schedule and its groups', the
# earliest. They count from the last rotation of its primary login, where it has none of any, or from the day on which
# the schedule was made.
# A reveal of a database password since then brings the day forward, to so many days after it as the setting says; with
# 0 it doesn't. It holds no time of day, so that no change of clocks moves it.
NEXT_ROTATIONS = """
SELECT wanted.client_id, min(least(
    greatest(wanted.since, last.on_day) + wanted.days,
    CASE WHEN {reveal_days} > 0 AND revealed.at > coalesce(last.at, '-infinity')
        THEN (revealed.at AT TIME ZONE 'UTC')::date + {reveal_days} END
)) AS due
FROM (
    SELECT client_id, since, days FROM migration_rotationschedule WHERE client_id IS NOT NULL
    UNION ALL
    SELECT member.client_id, since, days FROM migration_rotationschedule AS of_group
        JOIN migration_groupmember AS member ON member.group_id = of_group.group_id
) AS wanted
JOIN public.clients AS there ON there.id = wanted.client_id
    AND NOT EXISTS (SELECT FROM migration_offboarding AS left_us WHERE left_us.client_id = wanted.client_id)
LEFT JOIN LATERAL (
    SELECT max(ended_at) AS at, (max(ended_at) AT TIME ZONE 'UTC')::date AS on_day FROM migration_rotation AS done
    WHERE done.client_id = wanted.client_id AND done.outcome = 'rotated'
        AND done.credential_type = 'database' AND (done.label IS NULL OR NOT EXISTS (
            SELECT FROM public.client_database_credentials AS login
            WHERE login.client_id = wanted.client_id AND login.is_primary
        ))
) AS last ON true
LEFT JOIN LATERAL (
    SELECT max(revealed_at) AS at FROM migration_reveal AS seen
    WHERE seen.client_id = wanted.client_id AND seen.kind = 'database'
) AS revealed ON true
GROUP BY wanted.client_id
"""


def today() -> date:
    """Return today's date in UTC."""
    return datetime.now(UTC).date()


def make_next_query() -> str:
    """Return NEXT_ROTATIONS with the settings in it."""
    return NEXT_ROTATIONS.format(reveal_days=int(settings.NOVA_ROTATE_AFTER_REVEAL_DAYS))


def client_rotation_is_overdue() -> models.Q:
    """Return the condition that the day of a client's next rotation has passed."""
    query = f"SELECT client_id FROM ({make_next_query()}) AS next WHERE due < %s"  # noqa: S608  # constants
    return models.Q(pk__in=RawSQL(query, [today()]))  # noqa: S611  # as above


ROTATION_THIS_CLIENT = Sentence("rotation_this_client", "this client")
ROTATION_SCHEDULE_SET = Sentence(
    "rotation_schedule_set",
    "Database passwords of %(whose)s are rotated every %(n)s days.",
    one="Database passwords of %(whose)s are rotated every day.",
)
ROTATION_SCHEDULE_ENDED = Sentence(
    "rotation_schedule_ended",
    "Database passwords of %(whose)s are not rotated by a schedule any more.",
)


class RotationScheduleQuerySet(models.QuerySet["RotationSchedule"]):
    def find_next_days(self, client_id: int | None = None) -> dict[int, date]:
        """Return client -> the day of its next rotation, of those with a schedule; of all clients or of this one."""
        query = f"SELECT client_id, due FROM ({make_next_query()}) AS next"  # noqa: S608  # constants
        if client_id is not None:
            query += " WHERE client_id = %s"
        with connection.cursor() as cursor:
            cursor.execute(query, [] if client_id is None else [client_id])
            return dict(cursor.fetchall())

    def list_due_clients(self) -> list[int]:
        """Return the ids of the clients whose next rotation is due today or was due before."""
        return [pk for pk, due in self.find_next_days().items() if due <= today()]

    def of_client_or_its_groups(self, client_id: int) -> Self:
        """Select the client's own schedule and those of its groups."""
        in_group = models.Q(group__members__client=client_id)
        return self.filter(models.Q(client_id=client_id) | in_group).distinct()

    def find_rotation_fresh_since(self, client_id: int) -> datetime | None:
        """Return since when a login of this client is fresh if it was rotated: within its days, and not revealed since.

        None where it has no schedule.
        """
        days = self.of_client_or_its_groups(client_id).aggregate(least=models.Min("days"))["least"]
        if days is None:
            return None
        began = datetime.combine(
            today() - timedelta(days=days - 1), datetime.min.time(), tzinfo=UTC
        )
        revealed = Reveal.objects.filter(client_id=client_id, kind=CredentialType.DATABASE)
        last = revealed.aggregate(at=models.Max("revealed_at"))["at"]
        return max(began, last) if last and settings.NOVA_ROTATE_AFTER_REVEAL_DAYS else began

    def set_days(
        self,
        days: int | None,
        *,
        client: Client | None = None,
        group: ClientGroup | None = None,
        by: User | None,
    ) -> bool:
        """Set every how many days the client's, or the group's clients', passwords are rotated; None: they are not.

        Say whether that was otherwise before.
        """
        try:
            return self._set_days(days, client=client, group=group, by=by)
        except IntegrityError:  # somebody else set it in the same moment: now it is there
            return self._set_days(days, client=client, group=group, by=by)

    def _set_days(
        self, days: int | None, *, client: Client | None, group: ClientGroup | None, by: User | None
    ) -> bool:
        with transaction.atomic():
            whose = {"client": client, "group": group}
            there = self.select_for_update().filter(**whose).first()
            if (there.days if there else None) == days:
                return False
            if there:
                there.delete()
            if days is not None:
                self.create(days=days, by=by, **whose)
            facts = {"whose": str(group) if group else ROTATION_THIS_CLIENT()}
            AuditEvent.objects.record(
                ROTATION_EVENT,
                ROTATION_SCHEDULE_SET(n=days, **facts)
                if days is not None
                else ROTATION_SCHEDULE_ENDED(**facts),
                by=by,
                client_id=client.pk if client else None,
                slug=client.slug if client else "",
            )
        return True


class RotationSchedule(models.Model):
    """Every how many days the database passwords of a client, or of a group's clients, are rotated."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, null=True, related_name="+"
    )
    group = models.OneToOneField(
        ClientGroup, models.CASCADE, null=True, related_name="rotation_schedule"
    )
    days = models.PositiveSmallIntegerField(_("days"))
    since = models.DateField(default=today)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")

    objects = RotationScheduleQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["client"], name="one_schedule_of_client"),
            models.CheckConstraint(
                condition=models.Q(client=None) ^ models.Q(group=None),
                name="schedule_of_client_or_group",
            ),
            models.CheckConstraint(
                condition=models.Q(days__range=(1, MOST_DAYS)), name="schedule_days_in_range"
            ),
            require_kept_name("rotationschedule", "by"),
        ]

    def __str__(self) -> str:
        return f"every {self.days} days"


class Reveal(models.Model):
    """One field of one credential, shown to one person once."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="reveals"
    )
    slug = models.CharField(_("slug"), max_length=100)
    kind = models.CharField(_("kind"), max_length=16)
    credential_id = models.IntegerField(_("credential"))
    field = models.CharField(_("field"), max_length=64)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    # The name that the user had then.
    username = models.CharField(_("user"), max_length=150)
    # As the user typed it.
    reason = models.TextField(_("reason"))
    address = models.CharField(_("address"), max_length=200, blank=True)
    revealed_at = models.DateTimeField(_("revealed"), default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["client", "-id"], name="reveal_of_client")]
        constraints: ClassVar = [limit_reason("reveal")]
        permissions: ClassVar = [("reveal_credential", _("Can reveal secret values"))]
        verbose_name = _("reveal")
        verbose_name_plural = _("reveals")

    def __str__(self) -> str:
        return self.who_saw_what

    @property
    def who_saw_what(self) -> str:
        """Say who saw which field, why and from where, in the page's language."""
        model = CREDENTIAL_MODELS[CredentialType(self.kind)]
        values = {
            "who": self.username,
            "client": self.slug,
            "credential": f"{model._meta.verbose_name} {self.credential_id}",
            "field": model._meta.get_field(self.field).verbose_name,  # type: ignore[union-attr]
            "reason": self.reason,
            "address": self.address,
        }
        return (
            gettext(
                "%(who)s revealed %(client)s › %(credential)s › %(field)s, reason %(reason)s, from %(address)s"
            )
            % values
        )
