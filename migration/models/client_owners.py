"""Owns who looks after a client: a user of the site, by whom the list is filtered. It gives nobody a right."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration import list_sentences
from migration.models.audit_events import AuditCode, AuditEvent

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from migration.models.clients import ClientPhaseQuerySet

OWN_PERMISSION = "migration.set_client_owner"


class ClientOwnerQuerySet(models.QuerySet["ClientOwner"]):
    def set_owner(
        self, chosen: ClientPhaseQuerySet, owner: User | None, *, by: User | None = None
    ) -> list[str]:
        """Have this user look after the clients, or nobody; return the slugs of those for whom that changed.

        In one transaction.
        """
        changed: list[str] = []
        with transaction.atomic():
            with connection.cursor() as cursor:
                # Two people at once wait for each other here, and not half way with clients that the other wants.
                cursor.execute("LOCK TABLE migration_clientowner IN SHARE ROW EXCLUSIVE MODE")
            for slugs in chosen.iterate_slugs():
                changed += self._set_owner_of_some(slugs, owner, by=by)
        return sorted(changed)

    def _set_owner_of_some(
        self, slugs: dict[int, str], owner: User | None, *, by: User | None
    ) -> list[str]:
        before = dict(self.filter(pk__in=slugs).values_list("pk", "owner_id"))
        new = owner.pk if owner else None
        changed = [pk for pk in slugs if before.get(pk) != new]
        if owner:
            rows = [ClientOwner(client_id=pk, owner=owner) for pk in changed]
            self.bulk_create(
                rows,
                update_conflicts=True,
                unique_fields=["client"],
                update_fields=["owner", "since"],
            )
            facts = list_sentences.OWNER_SET(name=owner.get_username())
        else:
            self.filter(pk__in=changed).delete()
            facts = list_sentences.OWNER_TAKEN()
        AuditEvent.objects.insert_already_signed(
            [
                AuditEvent.make_signed(AuditCode.OWNER, facts, by=by, client_id=pk, slug=slugs[pk])
                for pk in changed
            ]
        )
        return [slugs[pk] for pk in changed]


class ClientOwner(models.Model):
    """The user who looks after one client. The row of a client that NOVA has deleted stays, and is nowhere shown."""

    client = models.OneToOneField(
        Client,
        models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        related_name="client_owner",
    )
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    since = models.DateTimeField(default=timezone.now, db_default=Now())

    objects = ClientOwnerQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        permissions: ClassVar = [("set_client_owner", _("Can set who looks after clients"))]

    def __str__(self) -> str:
        return f"user {self.owner_id} looks after client {self.client_id}"


def list_possible_owners() -> QuerySet[User]:
    """Return the users who can look after a client, ordered by name."""
    return User.objects.filter(is_active=True, is_staff=True).order_by("username")
