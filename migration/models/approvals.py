"""Moves that one person asks for and another approves, and what the roles were given. Rules about these rows alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration import sentences
from migration.models.clients import PhaseChoices
from migration.models.fields import MessageListField
from migration.models.reasons import reason_is_short
from nova_credentials.phases import MOVES, Move, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User

    from nova_credentials.messages import Message


class MoveRequestQuerySet(models.QuerySet["MoveRequest"]):
    def open(self) -> Self:
        """Those that somebody may still approve or cancel."""
        return self.filter(state__in=MoveRequest.OPEN)

    def waiting(self) -> Self:
        """Those whose gate was shut when it was last looked at: what somebody asked for and can't have yet."""
        return self.filter(state=MoveRequest.State.WAITING)

    def settle(
        self, state: MoveRequest.State, *, by: User | None = None, reasons: Iterable[Message] = ()
    ) -> bool:
        """Ends those that are still open; False: there was none, somebody was first."""
        ended = {"decided_by": by, "decided_at": timezone.now(), "reasons": list(reasons)}
        return self.open().update(state=state, **ended) > 0

    def record_reasons(self, reasons: Iterable[Message]) -> None:
        """What the gate of those that are still open said just now."""
        why = list(reasons)
        state = MoveRequest.State.WAITING if why else MoveRequest.State.REQUESTED
        self.open().update(state=state, reasons=why)


class MoveRequest(models.Model):
    """A cutover or a purge of one client that somebody asked for and somebody else has to approve."""

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
    # Why it waits or has failed.
    reasons = MessageListField(_("checks that fail"), default=list)
    # As it was typed.
    reason = models.TextField(_("reason"))
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("requested by"),
    )
    requested_at = models.DateTimeField(_("requested"), default=timezone.now)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("decided by"),
    )
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
            reason_is_short("moverequest"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["client", "-id"], name="request_of_client"),
            models.Index(fields=["state"], name="request_state"),
        ]
        verbose_name = _("request")
        verbose_name_plural = _("requests")

    def __str__(self) -> str:
        return f"{self.what}: {self.slug}"

    @property
    def what(self) -> str:
        """What it is that was asked for."""
        names = {Move.CUTOVER: _("Cutover"), Move.PURGE: _("Purge")}
        return str(names[MOVES[Phase(self.old), Phase(self.new)]])

    @property
    def sentence(self) -> str:
        """For histories; what became of it is told by `outcome`."""
        who = self.requested_by or gettext("a user deleted since")
        text = gettext("%(who)s requested a move of %(client)s (%(what)s), reason %(reason)s")
        values = {"who": who, "client": self.slug, "what": self.what, "reason": self.reason}
        return text % values

    @property
    def state_message(self) -> Message:
        """The state as part of a sentence."""
        return sentences.REQUEST_STATES[self.state]()

    @property
    def outcome(self) -> str:
        """The state in words, with who decided; `reasons` say what is in the way."""
        if not self.decided_by:
            return self.get_state_display()
        values = {"state": self.get_state_display(), "who": self.decided_by}
        return gettext("%(state)s by %(who)s") % values

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN


class RoleGrant(models.Model):
    """A permission that a role was given once: taken from it by an administrator, it stays taken."""

    group = models.ForeignKey(Group, models.CASCADE, related_name="+")
    permission = models.ForeignKey(Permission, models.CASCADE, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["group", "permission"], name="granted_once")
        ]

    def __str__(self) -> str:
        return f"{self.permission_id} to {self.group_id}"
