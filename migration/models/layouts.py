"""Owns which secrets a client has: in which layout, and whether those of the other layout are there too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.db import connection, models
from django.db.models.functions import Coalesce
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


def name_secret_slug(client: str = "") -> Coalesce:
    """Return, as an expression over clients (`client`: the way to one), the slug by which its secrets are named.

    After NOVA changed its slug that is the former one, until the secrets have moved.
    """
    return Coalesce(f"{client}client_migration__secret_slug", f"{client}slug")


def find_layout(stored: str | None) -> Layout:
    """Return a client's layout; the settings decide for a client that has none stored."""
    return Layout(stored) if stored else configured_layout()


class LayoutQuerySet(models.QuerySet[Any]):
    """Stores and changes clients' layouts, and notes which still have secrets of their former one."""

    def store_first_layout(self, client_id: int, layout: Layout) -> None:
        """Store the layout of a client that has none stored."""
        self._store(client_id, layout, "")

    def begin_other_secrets(self, client_id: int, layout: Layout, slug: str | None) -> None:
        """Note that other secrets than its own are about to be written: of the other layout, or of this slug."""
        self._store(client_id, layout, OtherSecretsState.BEGUN, slug)

    def _store(self, client_id: int, layout: Layout, other: str, slug: str | None = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_clientmigration AS kept
                    (client_id, phase, layout, other_secrets, other_slug, other_secrets_since)
                VALUES (
                    %(client)s, 'postgres', %(layout)s, %(other)s::text, %(slug)s,
                    CASE WHEN %(other)s::text <> '' THEN %(now)s END
                )
                ON CONFLICT (client_id) DO UPDATE
                SET layout = coalesce(kept.layout, excluded.layout),
                    other_secrets = coalesce(nullif(excluded.other_secrets, ''), kept.other_secrets),
                    other_slug = CASE excluded.other_secrets WHEN '' THEN kept.other_slug ELSE excluded.other_slug END,
                    other_secrets_since = coalesce(excluded.other_secrets_since, kept.other_secrets_since)
                """,
                {
                    "client": client_id,
                    "layout": layout,
                    "other": other,
                    "slug": slug,
                    "now": timezone.now(),
                },
            )

    def switch_secrets(
        self,
        client_id: int,
        old: tuple[str, Layout],
        new: tuple[str, Layout],
        *,
        phase: Phase,
        keeps: bool,
    ) -> bool:
        """Give the client, whose lease is held, secrets of another slug or layout, if it still has the old ones.

        Says whether it did; not where it was moved to another phase. `keeps`: the old secrets are kept, and written
        too. The new slug is stored although it is the client's own: NOVA may be changing that in this moment, and what
        is stored stays the name of the secrets.
        """
        (old_slug, old_layout), (slug, layout) = old, new
        own, moved = self.filter(pk=client_id, layout=old_layout, phase=phase), {}
        if slug != old_slug:
            own, moved = own.filter(secret_slug=old_slug), {"secret_slug": slug}
        return (
            own.update(
                layout=layout,
                other_secrets=OtherSecretsState.KEPT if keeps else "",
                other_slug=old_slug if moved and keeps else None,
                other_secrets_since=timezone.now() if keeps else None,
                **moved,
            )
            == 1
        )

    def with_moved_slug(self) -> Self:
        """Select the clients whose secrets have the name of a former slug, and that have no other secrets now."""
        return self.filter(
            models.Q(other_secrets="") | models.Q(other_slug=models.F("client__slug")),
            ~models.Q(secret_slug=models.F("client__slug")),
            secret_slug__isnull=False,
            client__slug__isnull=False,
        )

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
        """Note that the client has no secrets of another layout or slug any more."""
        self.filter(pk=client_id).update(
            other_secrets="", other_slug=None, other_secrets_since=None
        )


def has_layout(layout: Layout) -> models.Q:
    """Return the condition that this is a client's layout, stored or by the settings."""
    stored = models.Q(client_migration__layout=layout)
    if layout == configured_layout():
        stored |= models.Q(client_migration__layout=None)
    return stored


def find_other_layout(layout: Layout) -> Layout:
    """Return the layout that is not this one."""
    return next(other for other in Layout if other != layout)


def find_other_secrets_layout(layout: Layout, other_slug: str | None) -> Layout:
    """Return the layout of the other secrets of a client of this layout: under another slug they have the same."""
    return layout if other_slug else find_other_layout(layout)
