"""Owns requests for a move: who asks, who decides, what was shown, how long it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.core.audit import (
    CANCELLATION_EVENT,
    REQUEST_EVENT,
    AuditEvent,
    EventKind,
    limit_reason,
)
from migration.core.clients import PhaseChoices
from migration.core.fields import MessageListField
from migration.core.notices import Notice
from migration.core.text import KeptNameField, get_kept_name, require_kept_name
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import MOVES, Move, Phase

OTHER_REQUEST_SHOWN = Sentence(
    "other_request_shown",
    "Nothing was approved: this isn't the request that the page showed. Look at it again.",
)
OTHER_NUMBER_SHOWN = Sentence(
    "other_number_shown",
    "Nothing was approved: the page showed %(shown)s, and now it would be %(n)s clients. Look at it again.",
    one="Nothing was approved: the page showed %(shown)s, and now it would be %(n)s client. Look at it again.",
)
OTHER_CLIENTS_SHOWN = Sentence(
    "other_clients_shown",
    "Nothing was approved: some of the %(n)s clients are others than the page showed, or renamed. Look at it again.",
    one="Nothing was approved: the client is another than the page showed, or renamed. Look at it again.",
)


@dataclass(frozen=True)
class RequestContent:
    """What an approval of a request would cover, read at one moment; as text it travels with the approver's form."""

    # Clients that NOVA still has.
    number: int
    # Digests: of the clients' ids and slugs, and of the request's own row with all that it asks for.
    clients: str
    terms: str
    # Clients that NOVA has deleted, or renamed, since the request.
    deleted: int = 0
    renamed: int = 0

    def __str__(self) -> str:
        return f"{self.number}:{self.clients}:{self.terms}"

    def find_difference(self, shown: str | None) -> Message | None:
        """Say in what it differs from what a form showed; None where it doesn't. `shown`: None asks nothing."""
        if shown is None or shown == str(self):
            return None
        number, _colon, rest = shown.partition(":")
        if rest.partition(":")[2] != self.terms:
            return OTHER_REQUEST_SHOWN()
        if number != str(self.number):
            return OTHER_NUMBER_SHOWN(shown=number, n=self.number)
        return OTHER_CLIENTS_SHOWN(n=self.number)


def read_request_content(clients: str, terms: str, values: dict[str, Any]) -> RequestContent:
    """Return the content of a request in one query, whose rows don't grow with its clients.

    `clients` selects `client_id` and the `slug` of the request's time, or NULL; `terms` one text.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(present.id), encode(sha256(convert_to(coalesce(
                string_agg(concat_ws(' ', asked.client_id, present.slug), ',' ORDER BY asked.client_id), ''
            ), 'UTF8')), 'hex'),
            (SELECT encode(sha256(convert_to(coalesce(({terms}), ''), 'UTF8')), 'hex')),
            count(*) FILTER (WHERE present.id IS NULL), count(*) FILTER (WHERE present.slug <> asked.slug)
            FROM ({clients}) AS asked LEFT JOIN public.clients AS present ON present.id = asked.client_id
            """,  # noqa: S608  # constants
            values,
        )
        return RequestContent(*cursor.fetchone())


class MoveRequestQuerySet(models.QuerySet["MoveRequest"]):
    def open(self) -> Self:
        """Select the requests that can still be approved or cancelled."""
        return self.filter(state__in=MoveRequest.OPEN)

    def close_open(
        self, state: MoveRequest.State, *, by: User | None = None, reasons: Iterable[Message] = ()
    ) -> bool:
        """Give the open requests their final state; return False where none was open any more."""
        closed = self.open().update(
            state=state,
            decided_by=by,
            decided_by_name=get_kept_name(by),
            decided_at=timezone.now(),
            reasons=list(reasons),
        )
        return closed > 0

    def fail_open(self, why: Message, *, by: User | None) -> bool:
        """Close the open requests as failed, within the caller's transaction; return False where none was open."""
        failed = list(self.open().select_for_update(no_key=True))
        if failed:
            self.close_open(MoveRequest.State.FAILED, by=by, reasons=[why])
            for request in failed:
                request.record_failure(why, by=by)
        return bool(failed)

    def record_failing_checks(self, reasons: Iterable[Message]) -> None:
        """Store which checks the open requests fail now."""
        failing = list(reasons)
        state = MoveRequest.State.WAITING if failing else MoveRequest.State.REQUESTED
        self.open().update(state=state, reasons=failing)


MOVE_REQUESTED = Sentence("requested", "Requested the move from %(old)s to %(new)s.")
MOVE_REQUESTED_TO_WAIT = Sentence(
    "requested_to_wait",
    "Requested the move from %(old)s to %(new)s. It can't be made yet: %(reasons)s",
)
REQUEST_FAILED = Sentence(
    "request_has_failed",
    "The move from %(old)s to %(new)s that %(who)s requested can't be made any more: %(why)s",
)
REQUEST_STATES = {
    "requested": Sentence("request_requested", "Requested"),
    "waiting": Sentence("request_waiting", "Waiting"),
    "done": Sentence("request_done", "Done"),
    "failed": Sentence("request_failed", "Failed"),
    "cancelled": Sentence("request_cancelled", "Cancelled"),
}


class MoveRequest(models.Model):
    """A cutover or a purge of one client that one user requested and another has to approve."""

    class State(models.TextChoices):
        REQUESTED = "requested", _("Requested")
        WAITING = "waiting", _("Waiting")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    OPEN = (State.REQUESTED, State.WAITING)

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="move_requests"
    )
    slug = models.CharField(_("slug"), max_length=100)
    old = models.CharField(_("from"), max_length=16, choices=PhaseChoices)
    new = models.CharField(_("to"), max_length=16, choices=PhaseChoices)
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.REQUESTED)
    # The checks that it waits for, or why it failed.
    reasons = MessageListField(_("checks that fail"), default=list)
    # As the user typed it.
    reason = models.TextField(_("reason"))
    # The missing evidence that the move is to override, and why, as the user typed it.
    overridden = MessageListField(_("overridden evidence"), default=list, db_default=[])
    override_reason = models.TextField(_("reason of the override"), blank=True, db_default="")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("requested by"),
    )
    requested_by_name = KeptNameField("requested_by", _("requested by"))
    requested_at = models.DateTimeField(_("requested"), default=timezone.now)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("decided by"),
    )
    decided_by_name = KeptNameField("decided_by", _("decided by"))
    decided_at = models.DateTimeField(_("decided"), null=True)

    objects = MoveRequestQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [("approve_move", _("Can approve cutovers and purges"))]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["client"],
                condition=models.Q(state__in=("requested", "waiting")),
                name="one_open_request_a_client",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="done", decided_by=models.F("requested_by")),
                name="approved_by_another",
            ),
            limit_reason("moverequest"),
            limit_reason("moverequest", "override_reason"),
            require_kept_name("moverequest", "requested_by"),
            require_kept_name("moverequest", "decided_by"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["client", "-id"], name="request_of_client"),
            models.Index(fields=["state"], name="request_state"),
        ]
        verbose_name = _("request")
        verbose_name_plural = _("requests")

    def __str__(self) -> str:
        return f"{self.move_name}: {self.slug}"

    def read_content(self) -> RequestContent:
        """Return what an approval covers: the one client, by its present slug, and the move with its reasons."""
        return read_request_content(
            "SELECT client_id, slug FROM migration_moverequest WHERE id = %(id)s",
            """
            SELECT concat_ws(
                ' ', client_id, old, new, requested_by_id, requested_at, reason, overridden, override_reason
            ) FROM migration_moverequest WHERE id = %(id)s
            """,
            {"id": self.pk},
        )

    def record_request(self) -> None:
        """Record in the audit that it was made, and what it waits for."""
        facts = MOVE_REQUESTED(**self._phases)
        if self.reasons:
            facts = MOVE_REQUESTED_TO_WAIT(reasons=tuple(self.reasons), **self._phases)
        self._record(REQUEST_EVENT, facts, by=self.requested_by, told=True)

    def record_act(self, code: EventKind, sentence: Sentence, *, by: User | None) -> None:
        """Record in the audit what `by` did with the request, with the words of who requested it."""
        facts = sentence(who=self.requested_by_name or "?", **self._phases)
        self._record(code, facts, by=by, told=True)

    def record_failure(self, why: Message, *, by: User | None) -> None:
        """Record in the audit that it can't be approved any more; nobody is told: the client was moved."""
        facts = REQUEST_FAILED(who=self.requested_by_name or "?", why=why, **self._phases)
        self._record(CANCELLATION_EVENT, facts, by=by, told=False)

    @property
    def _phases(self) -> dict[str, Message]:
        return {"old": Phase(self.old).label, "new": Phase(self.new).label}

    def _record(self, code: EventKind, facts: Message, *, by: User | None, told: bool) -> None:
        act = AuditEvent.objects.record(
            code,
            facts,
            by=by,
            client_id=self.client_id,
            slug=self.slug,
            reason=self.reason,
        )
        if told:
            Notice.objects.record_act(act, also_tell=self.requested_by)

    @property
    def move_name(self) -> str:
        """Return the name of the requested move, in the page's language."""
        names = {Move.CUTOVER: _("Cutover"), Move.PURGE: _("Purge")}
        return str(names[MOVES[Phase(self.old), Phase(self.new)]])

    @property
    def state_message(self) -> Message:
        """Return the state as part of a sentence."""
        return REQUEST_STATES[self.state]()

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN
