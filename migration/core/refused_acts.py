"""Bounds what refusals write: nobody fills the audit by being refused again and again, logged in or not.

The first refusal of each kind in a minute is an entry at once. Later ones of that minute are counted, and their number
is an entry once the minute is over. Each process counts by itself: what a killed one had counted is lost.

The acts are recorded once their own transaction is over, so that the entry stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Unpack

from django.contrib.auth.models import User
from django.db import Error
from django.utils.translation import gettext_lazy

from credentials.models import Client, Credential
from migration.core.audit import (
    EVENT_KINDS,
    REFUSAL_EVENT,
    Actor,
    AuditEvent,
    EntryFields,
    EventKind,
    acting,
)
from nova_credentials.messages import Message, Sentence

LOGIN_REFUSED_EVENT = EventKind("login_refused", gettext_lazy("Login refused"))


SECONDS = 60
# So many entries a minute for refusals of a person that are not the first of their kind, but of another client, from
# another address or for another reason.
MOST_DIFFERENT = 30

logger = logging.getLogger(__name__)


@dataclass
class Repeats:
    """Refusals of one person that were counted within a minute, and written nowhere."""

    who: str
    code: EventKind
    origin: str
    minute: int
    number: int = 0

    @property
    def began_at(self) -> str:
        return f"{datetime.fromtimestamp(self.minute * SECONDS, UTC):%Y-%m-%d %H:%M} UTC"


@dataclass
class RefusalLimit:
    """Says of each refusal whether it is written or counted. Begins anew each minute."""

    minute: int = 0
    written: set[tuple[Hashable, ...]] = field(default_factory=set)
    different: dict[str, int] = field(default_factory=dict)
    repeats: dict[tuple[str, EventKind], Repeats] = field(default_factory=dict)
    finished: list[Repeats] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def admits_entry(self, event: AuditEvent, kind: Hashable) -> bool:
        """Say whether the entry is to be written; count it otherwise."""
        with self.lock:
            self._turn_minute()
            if self._admits(
                event.who, (event.code, kind), (event.facts, event.client_id, event.origin)
            ):
                return True
            code = EVENT_KINDS[event.code]
            repeats = self.repeats.setdefault(
                (event.who, code), Repeats(event.who, code, event.origin, self.minute)
            )
            repeats.number += 1
            if repeats.origin != event.origin:
                repeats.origin = ""  # from several addresses
            return False

    def admits_made_up_name(self, address: str) -> bool:
        """Say whether a wrong password for a name that no user has is to be written for this address."""
        with self.lock:
            self._turn_minute()
            return self._admits("", ("made-up name",), (address,))

    def take_finished(self) -> list[Repeats]:
        """Return what was counted in minutes that are over, once."""
        with self.lock:
            self._turn_minute()
            finished, self.finished = self.finished, []
            return finished

    def forget_all(self) -> None:
        with self.lock:
            self.minute = 0
            self._clear()
            self.finished = []

    def _admits(self, who: str, kind: tuple[Hashable, ...], more: tuple[Hashable, ...]) -> bool:
        of_kind, exact = (who, *kind), (who, *kind, *more)
        if of_kind in self.written:
            if exact in self.written or self.different.get(who, 0) >= MOST_DIFFERENT:
                return False
            self.different[who] = self.different.get(who, 0) + 1
        self.written |= {of_kind, exact}
        return True

    def _turn_minute(self) -> None:
        minute = int(time.time()) // SECONDS
        if minute != self.minute:
            self.finished += self.repeats.values()
            self._clear()
            self.minute = minute

    def _clear(self) -> None:
        self.written, self.different, self.repeats = set(), {}, {}


refusal_limit = RefusalLimit()


def record_refusal(
    code: EventKind, facts: Message, *, kind: Hashable, **named: Unpack[EntryFields]
) -> None:
    """Record what was refused, or count it. `kind`: of which the first in a minute is never merely counted.

    A kind is made of what the site knows (a page, an act, a client that there is), never of what somebody typed.
    """
    record_repeats()
    event = AuditEvent.make_signed(code, facts, **named)
    if refusal_limit.admits_entry(event, kind):
        event.save(force_insert=True)


REFUSED_AGAIN = Sentence(
    "refused_again",
    "Refused %(n)s more times within the minute that began at %(at)s.",
    one="Refused once more within the minute that began at %(at)s.",
)


def record_repeats() -> None:
    """Record how many refusals were counted in past minutes; asks no database if there were none."""
    for repeats in refusal_limit.take_finished():
        facts = REFUSED_AGAIN(n=repeats.number, at=repeats.began_at)
        try:
            with acting(Actor(repeats.origin)):
                AuditEvent.objects.record(repeats.code, facts, by=repeats.who)
        except Error as error:
            # The page or task that this is done beside has nothing to do with it.
            logger.warning(
                "%s more refusals are not in the audit (%s)", repeats.number, type(error).__name__
            )


REVEAL_REFUSED = Sentence("reveal_refused", "Revealing %(field)s of %(row)s was refused: %(why)s")


def record_refused_reveal(
    client: Client, row: Credential, name: str, *, why: Message, by: User
) -> None:
    """Record that the value of the field `name` was not shown to who asked for it."""
    record_refusal(
        REFUSAL_EVENT,
        REVEAL_REFUSED(field=name, row=row.make_row_name_message(), why=why),
        kind=("reveal", client.pk),
        by=by,
        client_id=client.pk,
        slug=client.slug,
    )


SAVE_REFUSED = Sentence("save_refused", "A save was refused: %(why)s")


def record_refused_save(client_id: int | None, *, why: Message) -> None:
    """Record that a client's save was refused: by AWS, its rows, its offboarding, or work on it."""
    record_refusal(
        REFUSAL_EVENT,
        SAVE_REFUSED(why=why),
        kind=("save", client_id),
        client_id=client_id,
    )


PAGE_REFUSED = Sentence("page_refused", "No permission for the page %(page)s (%(method)s).")


def record_refused_page(page: str, *, method: str, client_id: int | None) -> None:
    """Record that somebody who is logged in may not open a page. `page`: its name."""
    record_refusal(
        REFUSAL_EVENT,
        PAGE_REFUSED(method=method, page=page),
        kind=("page", page),
        client_id=client_id,
    )


LOGIN_REFUSED = Sentence("login_refused", "A login was refused.")


def record_refused_login(name: str) -> None:
    """Record a wrong password, or a user who may not log in. `name`: of a user, never what was typed."""
    record_refusal(LOGIN_REFUSED_EVENT, LOGIN_REFUSED(), kind="login", by=name)
