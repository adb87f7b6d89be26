"""Reads from the database what the gates of some clients need, each thing once for all of them and when first asked."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from credentials.models import Client, CountingProof
from credentials.triggers import find_is_counted_by_table, writes_are_counted
from migration import sentences
from migration.models.clients import ClientMigration
from migration.models.login_tests import LoginStore, LoginTest
from migration.models.readiness import select_open_items_of_write_runs
from migration.models.reads import ReadCount
from migration.models.run_items import RunItem
from migration.models.runs import Run
from migration.nova.models import ReaderProcess
from migration.nova.tables import read_nova_tables
from migration.secrets.models import SearchedClient

if TYPE_CHECKING:
    from collections.abc import Collection

    from migration.nova.tables import NovaTables
    from nova_credentials.messages import Message


class GateFacts:
    """What is known of these clients, for gates that are evaluated now; not to be kept."""

    def __init__(self, client_ids: Collection[int], *, run: Run | None = None) -> None:
        """`run` moves the clients itself: its own items keep no gate shut."""
        self._client_ids, self._run = client_ids, run

    def read_all(self, site: GateFacts | None = None) -> None:
        """Read everything now: the same number of queries, whatever the phases of the clients.

        `site`: facts of other clients, from which those are taken that are the same for all.
        """
        for name in ("counting_problem", "nova_tables", "processes_seen"):
            vars(self)[name] = getattr(site or self, name)
        for name in ("client_migrations", "read_counts", "inactive_client_ids", "open_write_items"):
            getattr(self, name)
        self.aws_login_tests  # noqa: B018  # it is kept
        self.newest_searches  # noqa: B018  # it is kept

    @cached_property
    def client_migrations(self) -> dict[int, ClientMigration]:
        """Return client id -> its phase, with its newest comparison."""
        found = ClientMigration.objects.select_related("comparison")
        return {row.pk: row for row in found.filter(pk__in=self._client_ids)}

    @cached_property
    def read_counts(self) -> dict[int, ReadCount]:
        """Return client id -> the counts of its reads."""
        return {row.pk: row for row in ReadCount.objects.filter(pk__in=self._client_ids)}

    @cached_property
    def inactive_client_ids(self) -> set[int]:
        """Return those of the clients that NOVA does not serve: `is_active` is false or not set."""
        served = Client.objects.filter(pk__in=self._client_ids, is_active=True)
        return set(self._client_ids) - set(served.values_list("pk", flat=True))

    @cached_property
    def open_write_items(self) -> dict[int, RunItem]:
        """Return client id -> an open item of a run that writes, and that workers work on."""
        # By client first: of a run that has just begun PostgreSQL knows nothing, and would read all its items.
        items = RunItem.objects.open().filter(client_id__in=self._client_ids)
        ids = list(items.exclude(run=self._run).values_list("pk", flat=True))
        if not ids:
            return {}
        found = select_open_items_of_write_runs().filter(pk__in=ids).select_related("run")
        return {item.client_id: item for item in found.order_by("-pk")}

    @cached_property
    def aws_login_tests(self) -> dict[int, list[LoginTest]]:
        """Return client id -> the newest tests of its logins with AWS's values, where there are some."""
        found: dict[int, list[LoginTest]] = {}
        tests = LoginTest.objects.newest(self._client_ids).filter(store=LoginStore.AWS.value)
        for test in tests.order_by("pk"):
            found.setdefault(test.client_id, []).append(test)
        return found

    @cached_property
    def newest_searches(self) -> dict[int, SearchedClient]:
        """Return client id -> its newest search for copies."""
        return SearchedClient.objects.newest_of(self._client_ids)

    @cached_property
    def counting_problem(self) -> Message | None:
        """Say why not every write to NOVA's tables is known to be counted; None where it is."""
        if writes_are_counted():
            return None
        if not all(find_is_counted_by_table().values()):
            return sentences.WRITES_NOT_COUNTED()
        if failed := CountingProof.objects.list_failed_tables():
            return sentences.PROOF_FAILED(tables=", ".join(failed))
        return sentences.WERE_UNCOUNTED()

    @cached_property
    def nova_tables(self) -> NovaTables:
        return read_nova_tables()

    @cached_property
    def processes_seen(self) -> int:
        """Return how many processes of NOVA read in the last hour."""
        return ReaderProcess.objects.seen_in_last_hour().count()
