"""Owns the results of login tests: which login of a client worked, in which store's values, and when. Never a value."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from credentials.sentences import ROWS
from migration import login_sentences
from migration.core.clients import ClientMigration
from migration.core.outgoing import PROVEN_WRONG, LoginOutcome
from migration.core.text import KeptNameField, require_kept_name
from nova_credentials.credential_types import CredentialType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from nova_credentials.messages import Message

    LoginTestKey = tuple[str, int | None, str]

LOGIN_PERMISSION = "migration.test_login"
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

    def record(self, tests: Iterable[LoginTest], *, client_id: int, store: LoginStore) -> None:
        """Store these tests of some of the client's logins in the store.

        The newest is the one whose values were read last, whoever's test ended first: `tested_at` is that time.
        """
        self._record(tests, client_id, store, forgotten=None)

    def record_as_only_newest(
        self,
        tests: Iterable[LoginTest],
        *,
        client_id: int,
        store: LoginStore,
        read_at: datetime | None = None,
    ) -> None:
        """Store these as `record` does, of all logins that the client had in the store at `read_at` (now).

        What it did not have then any more is forgotten.
        """
        self._record(tests, client_id, store, forgotten=read_at or timezone.now())

    def _record(
        self,
        tests: Iterable[LoginTest],
        client_id: int,
        store: LoginStore,
        *,
        forgotten: datetime | None,
    ) -> None:
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
                or (forgotten and row.tested_at <= forgotten)
            ]
            self.filter(pk__in=outdated).update(is_newest=False)
            self.bulk_create(rows)

    def forget_old(self) -> None:
        """Delete the tests of more than 90 days ago that newer ones followed."""
        before = timezone.now() - TESTS_ARE_KEPT
        self.filter(is_newest=False, tested_at__lt=before).delete()


class LoginTest(models.Model):
    """One login of one client, tried with the values of one store."""

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
        if self.credential_id is not None:
            name = ROWS[self.kind](id=str(self.credential_id))
        elif self.label:
            name = login_sentences.LABELLED_LOGIN_OF_AWS(kind=self.kind, label=self.label)
        else:
            name = login_sentences.LOGIN_OF_AWS(kind=self.kind)
        if not self.service:
            return name
        return login_sentences.LOGIN_WITH_SERVICE(login=name, service=self.service.upper())
