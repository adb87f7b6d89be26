"""Sessions in the database that end some time after their last use, and in any case some time after the login.

When a session ends stands in its row. Only `renew` moves it: a save doesn't, whoever makes it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

LOGGED_IN_AT = "logged_in_at"
# A session that is used all the time is written this often and not at every request.
RENEW_EVERY = timedelta(minutes=1)


class SessionStore(DatabaseStore):
    """A session that ends some time after its last use, and some time after its login in any case."""

    _ends_at: datetime | None = None

    @property
    def ends_at(self) -> datetime:
        """Return when the session ends if nobody uses it any more."""
        self.get(LOGGED_IN_AT)  # reads the row, if nothing did yet
        return self._ends_at or self.find_next_end()

    @property
    def absolute_end(self) -> datetime | None:
        """Return the end that no use can move; None before the login."""
        logged_in_at = self.get(LOGGED_IN_AT)
        if logged_in_at is None:
            return None
        limit = timedelta(seconds=settings.NOVA_SESSION_LIMIT)
        return datetime.fromtimestamp(logged_in_at, tz=timezone.get_default_timezone()) + limit

    def find_next_end(self) -> datetime:
        """Return when the session ends if this is its last use."""
        idle_end = timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE)
        return min(idle_end, self.absolute_end or idle_end)

    def note_login(self) -> None:
        """Begin anew: somebody has logged in."""
        self[LOGGED_IN_AT] = timezone.now().timestamp()
        self._ends_at = self.find_next_end()

    def renew(self) -> None:
        """Move the end, as the session is used now.

        What the session holds isn't written: that could undo what another request has written meanwhile.
        """
        next_end = self.find_next_end()
        if next_end - self.ends_at < RENEW_EVERY:
            return
        self._ends_at = next_end
        self.model.objects.filter(session_key=self.session_key).update(expire_date=next_end)

    def create_model_instance(self, data: dict[str, object]) -> AbstractBaseSession:
        row = super().create_model_instance(data)
        row.expire_date = self._ends_at or self.find_next_end()
        return row

    def flush(self) -> None:
        super().flush()
        self._ends_at = None

    def _get_session_from_db(self) -> AbstractBaseSession | None:
        row: AbstractBaseSession | None = super()._get_session_from_db()  # type: ignore[misc]  # not in the stubs
        self._ends_at = row.expire_date if row else None
        return row


@receiver(user_logged_in, dispatch_uid="nova_admin.begin_session")
def begin_session(request: HttpRequest, **_: object) -> None:
    """Note in the session when the login was."""
    if isinstance(request.session, SessionStore):
        request.session.note_login()
