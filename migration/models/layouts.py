"""Owns which secrets a client has: in which layout, and whether those of the other layout are there too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.db import connection, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.secret_names import configured_layout
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from datetime import timedelta

    from nova_credentials.phases import Phase


class LayoutChoices(models.TextChoices):
    """The layouts, as pages call them."""

    CLIENT = Layout.CLIENT.value, _("One secret per client")
    SERVICE = Layout.SERVICE.value, _("One secret per service")


class OtherSecretsState(models.TextChoices):
    """What the secrets of a client's other layout are, where there may be some."""

    # A change of layout began to write them. Nobody reads them, and if it isn't finished they go.
    BEGUN = "begun", _("Begun")
    # They were the client's own before a change. Every write goes to them too, until they go.
    KEPT = "kept", _("Kept")


def find_layout(stored: str | None) -> Layout:
    """Return a client's layout; the settings decide for a client that has none stored."""
    return Layout(stored) if stored else configured_layout()


class LayoutQuerySet(models.QuerySet[Any]):
    """Stores and changes clients' layouts, and notes which still have secrets of their former one."""

    def store_first_layout(self, client_id: int, layout: Layout) -> None:
        """Store the layout of a client that has none stored."""
        self._store(client_id, layout, "")

    def begin_other_secrets(self, client_id: int, layout: Layout) -> None:
        """Note that secrets of the other layout than this one, the client's own, are about to be written."""
        self._store(client_id, layout, OtherSecretsState.BEGUN)

    def _store(self, client_id: int, layout: Layout, other: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_clientmigration AS kept
                    (client_id, phase, layout, other_secrets, other_secrets_since)
                VALUES (%(client)s, 'postgres', %(layout)s, %(other)s::text,
                    CASE WHEN %(other)s::text <> '' THEN %(now)s END)
                ON CONFLICT (client_id) DO UPDATE
                SET layout = coalesce(kept.layout, excluded.layout),
                    other_secrets = coalesce(nullif(excluded.other_secrets, ''), kept.other_secrets),
                    other_secrets_since = coalesce(excluded.other_secrets_since, kept.other_secrets_since)
                """,
                {"client": client_id, "layout": layout, "other": other, "now": timezone.now()},
            )

    def switch_layout(
        self, client_id: int, old: Layout, new: Layout, *, phase: Phase, keeps: bool
    ) -> bool:
        """Give the client another layout, if it still has the old one and is in the phase; say whether it did.

        `keeps`: its old secrets are kept, and written too.
        """
        now = timezone.now() if keeps else None
        other = OtherSecretsState.KEPT if keeps else ""
        own = self.filter(pk=client_id, layout=old, phase=phase)
        return own.update(layout=new, other_secrets=other, other_secrets_since=now) == 1

    def with_old_other_secrets(self, *, kept_for: timedelta, half_written_for: timedelta) -> Self:
        """Select the clients whose other secrets have been kept, or left half written, for so long."""
        now = timezone.now()
        kept = models.Q(
            other_secrets=OtherSecretsState.KEPT, other_secrets_since__lt=now - kept_for
        )
        begun = models.Q(
            other_secrets=OtherSecretsState.BEGUN, other_secrets_since__lt=now - half_written_for
        )
        return self.filter(kept | begun).order_by("other_secrets_since", "pk")

    def forget_other_secrets(self, client_id: int) -> None:
        """Note that the client has no secrets of the other layout any more."""
        self.filter(pk=client_id).update(other_secrets="", other_secrets_since=None)


def has_layout(layout: Layout) -> models.Q:
    """Return the condition that this is a client's layout, stored or by the settings."""
    stored = models.Q(client_migration__layout=layout)
    if layout == configured_layout():
        stored |= models.Q(client_migration__layout=None)
    return stored


def find_other_layout(layout: Layout) -> Layout:
    """Return the layout that is not this one."""
    return next(other for other in Layout if other != layout)
