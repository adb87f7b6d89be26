"""Owns the audit: an entry for every act, the links that chain the entries, and the checkpoints of what was let go.

Nothing here is ever changed or deleted; the database refuses it (`migration.audit_sql`).
"""

from __future__ import annotations

import json
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, ClassVar, TypedDict

from django.contrib.auth.models import User
from django.db import connections, models
from django.utils.translation import gettext_lazy as _

from migration.models.audit_actors import current_actor
from migration.models.audit_signatures import audit_keys, describe_moment, make_entry_id
from migration.models.fields import ClampedDateTimeField
from migration.models.reasons import limit_reason
from nova_credentials.messages import Message

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from typing import Self, Unpack

    from migration.models.audit_signatures import AuditKeys
    from nova_credentials.messages import Sentence


class AuditCode(models.TextChoices):
    """The kinds of act. Programs and filters go by these, never by a sentence."""

    CLIENT_ADDED = "client_added", _("Client added")
    CLIENT_SAVED = "client_saved", _("Client saved")
    IMPORT = "import", _("Import")
    PUSH = "push", _("Push")
    REVEAL = "reveal", _("Reveal")
    ROTATION = "rotation", _("Rotation")
    MOVE = "move", _("Move")
    LAYOUT = "layout", _("Layout changed")
    ADOPTION = "adoption", _("Secret adopted")
    SECRET_SETTINGS = "secret_settings", _("Key, replicas or tags changed")
    OVERRIDE = "override", _("Override")
    GATE = "gate", _("Gate")
    DELETION = "deletion", _("Secrets deleted")
    OFFBOARDING = "offboarding", _("Client offboarded or brought back")
    REQUEST = "request", _("Request")
    APPROVAL = "approval", _("Approval")
    CANCELLATION = "cancellation", _("Request cancelled")
    RESOLUTION = "resolution", _("Mismatch resolved")
    VERSION = "version", _("Version of a secret")
    ASSIGNMENT = "assignment", _("Mismatches assigned")
    RUN = "run", _("Run")
    CAMPAIGN = "campaign", _("Campaign")
    REDACTION = "redaction", _("Redaction")
    CLAIM = "claim", _("Database claimed")
    WRITES_STOPPED = "writes_stopped", _("AWS writes stopped")
    WRITES_STARTED = "writes_started", _("AWS writes started")
    COLUMN_MAPPED = "column_mapped", _("Column mapped")
    OBJECT_ACCEPTED = "object_accepted", _("Object accepted")
    LOGIN = "login", _("Login")
    LOGOUT = "logout", _("Logout")
    LOGIN_REFUSED = "login_refused", _("Login refused")
    LET_IN = "let_in", _("Let in again")
    REFUSAL = "refusal", _("Refused")
    USER_CHANGED = "user_changed", _("User changed")
    GROUP_CHANGED = "group_changed", _("Group changed")
    CLIENT_GROUP = "client_group", _("Client group changed")
    OWNER = "owner", _("Owner changed")
    COMMENT = "comment", _("Comment")
    LOGIN_TEST = "login_test", _("Logins tested")
    SETTINGS = "settings", _("Settings at a start")
    CERTIFICATE = "certificate", _("Certificate")  # of entries up to release 0.2.0
    NOTICES = "notices", _("Notices set")
    EXPORT = "export", _("Audit exported")
    TRIM = "trim", _("Old entries let go")


# The acts whose sentences can name a user to whom they were done, and the names of these values.
ON_USERS = (
    *(AuditCode.USER_CHANGED, AuditCode.LET_IN, AuditCode.OWNER),
    *(AuditCode.APPROVAL, AuditCode.CANCELLATION),
)
USERS_NAMES = ("name", "old", "who")


class EntryFields(TypedDict, total=False):
    """Names what an entry may hold. `by`: who acts, where that is not who asked for the page."""

    by: User | str | None
    client_id: int | None
    slug: str
    reason: str


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def record(self, code: AuditCode, facts: Message, **named: Unpack[EntryFields]) -> AuditEvent:
        """Write one entry, within the caller's transaction: it is there exactly if the act is. One statement.

        What was refused is recorded by `record_refusal` instead.
        """
        event = AuditEvent.make_signed(code, facts, **named)
        event.save(using=self.db, force_insert=True)
        return event

    def find_last_pushes(self, slugs: Collection[str]) -> dict[str, tuple[str, datetime]]:
        """Return slug -> who pushed the client last and when, in one query."""
        if not slugs:
            return {}
        found = self.filter(code=AuditCode.PUSH, slug__in=slugs).order_by("slug", "-id")
        newest = found.distinct("slug").values_list("slug", "who", "at")
        return {slug: (who, at) for slug, who, at in newest}

    def about_user(self, name: str) -> Self:
        """Select what was done to the user: to the account, as owner of a client, on what they requested."""
        written = json.dumps(name)
        names_user = models.Q()
        for each in USERS_NAMES:
            # As text: what somebody wrote over may be no JSON. Within a value the quotes are escaped.
            names_user |= models.Q(facts__contains=f'"{each}":{written}')
        return self.filter(names_user, code__in=ON_USERS)

    def of_import(self, correlation: str) -> Self:
        """Select the entries of one import."""
        return self.filter(code=AuditCode.IMPORT, correlation=correlation)

    def telling(self, *sentences: Sentence) -> Self:
        """Select the entries whose facts are one of these sentences."""
        # As text, as above: this is how each entry begins.
        starts = [f'{{"key":{json.dumps(sentence.key)},' for sentence in sentences]
        return self.filter(reduce(or_, [models.Q(facts__startswith=start) for start in starts]))

    def insert_already_signed(self, events: Collection[AuditEvent]) -> None:
        """Write entries that `AuditEvent.make_signed` made, in one statement."""
        if not events:
            return
        columns = [field.attname for field in AuditEvent._meta.concrete_fields]
        # As one text: bulk_create would prepare each value by itself, which takes longer than the statement.
        rows = [{column: getattr(event, column) for column in columns} for event in events]
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_auditevent (
                    id, at, code, who, origin, client_id, slug, reason, facts, correlation, key, signature
                )
                SELECT id, at, code, who, origin, client_id, slug, reason, facts, correlation, key, signature
                FROM jsonb_to_recordset(%s::jsonb) AS new (
                    id uuid, at timestamptz, code text, who text, origin text, client_id int, slug text, reason text,
                    facts text, correlation text, key text, signature text
                )
                """,
                [json.dumps(rows, default=str)],
            )


class AuditEvent(models.Model):
    """One act: who did what, from where, on which client, and why. Names of fields are in it, never a value."""

    id = models.UUIDField(primary_key=True, editable=False)
    at = ClampedDateTimeField(_("time"))
    # An `AuditCode`. Not its choices: a new kind of act is no schema migration.
    code = models.CharField(_("what"), max_length=32)
    # Names, kept whatever becomes of the user and the client.
    who = models.CharField(_("who"), max_length=150)
    origin = models.CharField(_("from"), max_length=200, blank=True)
    client_id = models.IntegerField(_("client"), null=True)
    slug = models.CharField(_("slug"), max_length=100, blank=True)
    # As the user typed it.
    reason = models.TextField(_("reason"), blank=True)
    # A `Message` as JSON. Text, as PostgreSQL writes a jsonb in other words than those that were signed.
    facts = models.TextField()
    # The same for all entries of one request or one run.
    correlation = models.CharField(max_length=40)
    key = models.CharField(max_length=16)
    signature = models.CharField(max_length=64)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ("view",)
        indexes: ClassVar = [
            models.Index(fields=["slug", "-id"], name="audit_of_client"),
            models.Index(fields=["who", "-id"], name="audit_of_user"),
            models.Index(fields=["code", "-id"], name="audit_of_code"),
        ]
        constraints: ClassVar = [limit_reason("auditevent")]
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")

    def __str__(self) -> str:
        return f"{self.code} of {self.at:%Y-%m-%d %H:%M:%S} UTC"

    @classmethod
    def make_signed(
        cls,
        code: AuditCode,
        facts: Message,
        *,
        by: User | str | None = None,
        client_id: int | None = None,
        slug: str = "",
        reason: str = "",
    ) -> AuditEvent:
        """Make a signed entry of what happens now, and who acts; it is not stored yet. Takes `EntryFields`."""
        actor, keys = current_actor(), audit_keys()
        entry_id, at = make_entry_id()
        name = by.get_username() if isinstance(by, User) else by
        event = cls(
            id=entry_id,
            at=at,
            code=code,
            who=(name or actor.find_name())[:150],
            origin=actor.origin[:200],
            client_id=client_id,
            slug=slug[:100],
            reason=reason,
            facts=json.dumps(facts.to_json(), separators=(",", ":")),
            correlation=actor.correlation,
            key=keys.current_id,
        )
        event.signature = keys.sign(*event.signed_parts)
        return event

    @property
    def signed_parts(self) -> tuple[str, ...]:
        """Return every column but the signature, as text: what is signed."""
        return (
            str(self.id),
            describe_moment(self.at),
            self.code,
            self.who,
            self.origin,
            "" if self.client_id is None else str(self.client_id),
            self.slug,
            self.reason,
            self.facts,
            self.correlation,
            self.key,
        )

    def is_unchanged(self, keys: AuditKeys) -> bool:
        """Say whether this site signed the entry as it is now."""
        return keys.holds(self.signature, self.key, *self.signed_parts)

    @property
    def message(self) -> Message:
        """Say what happened."""
        try:
            return Message.from_json(json.loads(self.facts))
        except (ValueError, RecursionError):  # somebody wrote over it; `verify_audit` says so
            return Message.from_text_without_key(self.facts)

    @property
    def code_label(self) -> str:
        """Return the kind of act in the page's language; of a later release's, the code."""
        return str(dict(AuditCode.choices).get(self.code, self.code))


class AuditLink(models.Model):
    """The place of one entry in the chain. Its signature covers the link before it."""

    position = models.BigIntegerField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    # Signed with it. NULL: a release made the link that didn't note it.
    sealed_at = ClampedDateTimeField(null=True)  # type: ignore[misc]  # its type has no None
    key = models.CharField(max_length=16)
    signature = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["position"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.position}:{self.signature}"


class AuditCheckpoint(models.Model):
    """The link up to which entries were exported and let go; the chain is verified from there on."""

    position = models.BigIntegerField(primary_key=True)
    # Of the link at that position.
    link_signature = models.CharField(max_length=64)
    made_at = ClampedDateTimeField()
    who = models.CharField(max_length=150)
    # The SHA-256 of the file with the entries that were let go.
    exported = models.CharField(max_length=64)
    key = models.CharField(max_length=16)
    signature = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["-position"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"checkpoint at {self.position}"

    @property
    def signed_parts(self) -> tuple[str, ...]:
        return (
            "checkpoint",
            str(self.position),
            self.link_signature,
            describe_moment(self.made_at),
            self.who,
            self.exported,
            self.key,
        )
