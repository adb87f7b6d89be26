"""Owns the groups that clients are in, and who looks after each client."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, models, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.core.audit import AuditEvent, EventKind
from migration.core.clients import ClientPhaseQuerySet
from nova_credentials.messages import MessageError, Sentence
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name

CLIENT_GROUP_EVENT = EventKind(
    "client_group", _("Client group changed"), icon="group_work", in_history=True
)
OWNER_EVENT = EventKind(
    "owner", _("Owner changed"), icon="person", in_history=True, names_user=True
)


NAME_LENGTH = 100
# Folding the case makes up to three characters of one.
KEY_LENGTH = 3 * NAME_LENGTH


class ClientGroupError(MessageError):
    """The name is not fit for a group, or the group is gone; nothing was changed."""


GROUP_NAME_MISSING = Sentence("group_name_missing", "Nothing was changed: give the group a name.")
GROUP_NAME_TOO_LONG = Sentence(
    "group_name_too_long",
    "Nothing was changed: a group's name has up to %(most)s characters, this one has %(n)s.",
)
GROUP_NAME_NOT_SHOWN = Sentence(
    "group_name_not_shown",
    "Nothing was changed: the name has characters that can't be seen. Type it again.",
)


def parse_group_name(text: str) -> str:
    """Return the name as it is stored; raise `ClientGroupError` if no group can have it."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise ClientGroupError(GROUP_NAME_MISSING())
    if len(name) > NAME_LENGTH:
        raise ClientGroupError(GROUP_NAME_TOO_LONG(most=NAME_LENGTH, n=len(name)))
    if not name.isprintable():
        raise ClientGroupError(GROUP_NAME_NOT_SHOWN())
    return name


def fold_group_name(name: str) -> str:
    """Return the same text for names that differ only in capital letters.

    Not PostgreSQL's `lower()`: in some locales it leaves letters with accents as they are.
    """
    return unicodedata.normalize("NFC", name.casefold())


class ClientGroupQuerySet(models.QuerySet["ClientGroup"]):
    def with_counts(self) -> Self:
        """Annotate `number`, the clients that each group holds and NOVA still has, and `in_…`, those in each phase."""
        phase, client = "members__client__client_migration__phase", "members__client__slug"
        counts = {"number": models.Count(client)}
        for each in Phase:
            stands = models.Q(**{phase: each})
            if each == Phase.POSTGRES:
                stands |= models.Q(**{phase: None})
            counts[f"in_{each}"] = models.Count(client, filter=stands)
        return self.annotate(**counts)

    def of_clients(self, chosen: ClientPhaseQuerySet) -> Self:
        """Select the groups that hold any of the clients, and annotate `number`: how many of these each holds."""
        held = self.filter(members__client__in=chosen.order_by().values("pk"))
        return held.annotate(number=models.Count("members"))

    def find_by_name(self, text: str) -> ClientGroup | None:
        """Return the group of this name, in capital letters or not; None if there is none."""
        try:
            return self.filter(key=fold_group_name(parse_group_name(text))).first()
        except ClientGroupError:
            return None

    def get_or_add(self, text: str, *, by: User | None = None) -> ClientGroup:
        """Return the group of this name, made if there is none. Raise `ClientGroupError` if no group can have it."""
        name = parse_group_name(text)
        if found := self.find_by_name(name):
            return found
        group = ClientGroup(name=name)
        try:
            group.store_new(by=by)
        except ClientGroupError:  # somebody has made it meanwhile
            return self.get(key=fold_group_name(name))
        return group


CLIENT_GROUP_ADDED = Sentence("client_group_added", "Added the group %(name)s.")
CLIENT_GROUP_RENAMED = Sentence("client_group_renamed", "Renamed the group %(old)s to %(name)s.")
CLIENT_GROUP_DELETED = Sentence(
    "client_group_deleted",
    "Deleted the group %(name)s with %(n)s clients.",
    one="Deleted the group %(name)s with %(n)s client.",
)
PUT_INTO_CLIENT_GROUP = Sentence("put_into_client_group", "Put the client into the group %(name)s.")
TAKEN_OUT_OF_CLIENT_GROUP = Sentence(
    "taken_out_of_client_group", "Took the client out of the group %(name)s."
)
GROUP_NAME_TAKEN = Sentence(
    "group_name_taken",
    "Nothing was changed: there is a group %(name)s already, in capital letters or not.",
)
GROUP_IS_GONE = Sentence(
    "group_is_gone", "Nothing was changed: the group %(name)s has been deleted since."
)


class ClientGroup(models.Model):
    """A label on clients such as "wave 1", by which people filter and choose them. A client may have several."""

    name = models.CharField(_("name"), max_length=NAME_LENGTH)
    # By which names are told apart (`fold_group_name`).
    key = models.CharField(max_length=KEY_LENGTH, unique=True, editable=False)

    objects = ClientGroupQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["key"]
        verbose_name = _("client group")
        verbose_name_plural = _("client groups")

    def __str__(self) -> str:
        return escape_name(self.name)

    def save(self, *args: Any, **options: Any) -> None:
        self.key = fold_group_name(self.name)
        super().save(*args, **options)

    def store_new(self, *, by: User | None = None) -> None:
        """Store the new group. Raise `ClientGroupError` if there is one of this name."""
        self.name = parse_group_name(self.name)
        with self._refuse_taken_name():
            self.save(force_insert=True)
            self._record(CLIENT_GROUP_ADDED, by=by, name=self.name)

    def rename(self, text: str, *, by: User | None = None) -> None:
        """Give the group another name. Raise `ClientGroupError` if another group has it, or this one is gone."""
        self.name = parse_group_name(text)
        with self._refuse_taken_name(), self._hold() as held:
            old = held.name
            if old != self.name:
                self.save(force_update=True)
                self._record(CLIENT_GROUP_RENAMED, by=by, old=old, name=self.name)

    def delete_group(self, *, by: User | None = None) -> None:
        """Delete the group; its clients stay as they are. Raise `ClientGroupError` if it is gone."""
        with self._hold() as held:
            number = Client.objects.filter(group_members__group=held).count()
            held.delete()
            self._record(CLIENT_GROUP_DELETED, by=by, name=held.name, n=number)

    def put_clients(self, chosen: ClientPhaseQuerySet, *, by: User | None = None) -> list[int]:
        """Put the clients into the group, in one transaction; return the ids of those that were not in it.

        Raise `ClientGroupError` if the group is gone.
        """
        changed: list[int] = []
        with self._hold() as held:
            for slugs in chosen.iterate_slugs():
                new = slugs.keys() - self._find_members(slugs)
                GroupMember.objects.bulk_create(
                    [GroupMember(group=held, client_id=pk) for pk in sorted(new)],
                    ignore_conflicts=True,
                )
                self._record_clients(PUT_INTO_CLIENT_GROUP, held, slugs, new, by=by)
                changed += new
        return changed

    def remove_clients(self, chosen: ClientPhaseQuerySet, *, by: User | None = None) -> list[int]:
        """Take the clients out of the group, in one transaction; return the ids of those that were in it.

        Raise `ClientGroupError` if the group is gone.
        """
        changed: list[int] = []
        with self._hold() as held:
            for slugs in chosen.iterate_slugs():
                old = self._find_members(slugs)
                held.members.filter(client__in=old).delete()
                self._record_clients(TAKEN_OUT_OF_CLIENT_GROUP, held, slugs, old, by=by)
                changed += old
        return changed

    @contextmanager
    def _hold(self) -> Iterator[ClientGroup]:
        """Lock the group for one transaction: two that change it wait for each other, so neither meets a duplicate."""
        with transaction.atomic():
            held = ClientGroup.objects.select_for_update().filter(pk=self.pk).first()
            if held is None:
                raise ClientGroupError(GROUP_IS_GONE(name=self.name))
            yield held

    @contextmanager
    def _refuse_taken_name(self) -> Iterator[None]:
        try:
            with transaction.atomic():
                yield
        except IntegrityError:
            raise ClientGroupError(GROUP_NAME_TAKEN(name=self.name)) from None

    def _find_members(self, client_ids: Collection[int]) -> set[int]:
        found = GroupMember.objects.filter(group=self, client__in=client_ids)
        return set(found.values_list("client_id", flat=True))

    def _record(self, sentence: Sentence, *, by: User | None, **facts: Any) -> None:
        AuditEvent.objects.record(CLIENT_GROUP_EVENT, sentence(**facts), by=by)

    def _record_clients(
        self,
        sentence: Sentence,
        held: ClientGroup,
        slugs: dict[int, str],
        changed: Collection[int],
        *,
        by: User | None,
    ) -> None:
        """Write an entry for each client, so that the audit of a client has its own."""
        facts = sentence(name=held.name)
        AuditEvent.objects.insert_already_signed(
            [
                AuditEvent.make_signed(
                    CLIENT_GROUP_EVENT, facts, by=by, client_id=pk, slug=slugs[pk]
                )
                for pk in sorted(changed)
            ]
        )


class GroupMember(models.Model):
    """One client in one group. The row of a client that NOVA has deleted stays, and is nowhere counted or shown."""

    # The index of the constraint begins with it.
    group = models.ForeignKey(ClientGroup, models.CASCADE, related_name="members", db_index=False)
    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="group_members"
    )
    # By PostgreSQL's clock, once the group is held: campaigns compare it with when they were requested.
    added_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["group", "client"], name="one_client_in_group")
        ]

    def __str__(self) -> str:
        return f"client {self.client_id} in group {self.group_id}"


OWN_PERMISSION = "migration.set_client_owner"

OWNER_SET = Sentence("owner_set", "The owner is now %(name)s.")
OWNER_TAKEN = Sentence("owner_taken", "The client now has no owner.")


class ClientOwnerQuerySet(models.QuerySet["ClientOwner"]):
    def set_owner(
        self, chosen: ClientPhaseQuerySet, owner: User | None, *, by: User | None = None
    ) -> list[int]:
        """Have this user look after the clients, or nobody; return the ids of those for whom that changed.

        In one transaction.
        """
        changed: list[int] = []
        with transaction.atomic():
            with connection.cursor() as cursor:
                # Two people at once wait for each other here, and not half way with clients that the other wants.
                cursor.execute("LOCK TABLE migration_clientowner IN SHARE ROW EXCLUSIVE MODE")
            for slugs in chosen.iterate_slugs():
                changed += self._set_owner_of_some(slugs, owner, by=by)
        return changed

    def _set_owner_of_some(
        self, slugs: dict[int, str], owner: User | None, *, by: User | None
    ) -> list[int]:
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
            facts = OWNER_SET(name=owner.get_username())
        else:
            self.filter(pk__in=changed).delete()
            facts = OWNER_TAKEN()
        AuditEvent.objects.insert_already_signed(
            [
                AuditEvent.make_signed(OWNER_EVENT, facts, by=by, client_id=pk, slug=slugs[pk])
                for pk in changed
            ]
        )
        return changed


class ClientOwner(models.Model):
    """The user who looks after one client: the list is filtered by it, and it gives nobody a right.

    The row of a client that NOVA has deleted stays, and is nowhere shown.
    """

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
