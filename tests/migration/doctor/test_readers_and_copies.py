"""What the doctor says of NOVA's processes and of the searches for copies: facts that others have stored."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from credentials.models import Client
from migration.core.problems import FindingState, Look
from migration.models import CopySearch, ReaderProcess, SearchedClient, UnsearchedPlace
from migration.nova.readers import find_failing_readers, find_gone_readers
from migration.secrets.copies import SEARCH_ALL, find_copies
from migration.secrets.models import UnsearchedReason
from tests.factories import make_client, make_many

pytestmark = pytest.mark.django_db
OK, FAILED, NOT_LOOKED_AT = FindingState


def told(examine) -> list[tuple[FindingState, str]]:
    return [(each.state, each.message.key) for each in examine(Look())]


def make_process(*, minutes_ago: int = 1, failed: bool = False) -> None:
    moment = timezone.now() - timedelta(minutes=minutes_ago)
    error = {"aws_error": "permission", "aws_error_at": moment} if failed else {}
    ReaderProcess.objects.create(key=uuid4(), last_read_at=moment, **error)


def test_a_process_of_novas_that_reads_is_seen():
    assert told(find_gone_readers) == [(NOT_LOOKED_AT, "reader_never_read")]

    make_process()
    assert told(find_gone_readers) == [(OK, "reader_read")]


def test_processes_that_have_gone_are_a_failure():
    make_process(minutes_ago=90)
    assert told(find_gone_readers) == [(NOT_LOOKED_AT, "readers_are_gone")]

    make_many(1, phase="dual_read")

    assert told(find_gone_readers) == [(FAILED, "readers_are_gone")]
    ReaderProcess.objects.all().delete()
    assert told(find_gone_readers) == [(FAILED, "reader_has_to_read")]


def test_a_process_that_aws_fails_is_a_failure():
    make_process(), make_process(failed=True)

    assert told(find_gone_readers) == [(OK, "reader_read")]
    assert told(find_failing_readers) == [(FAILED, "readers_fail")]


def search(*slugs: str, **numbers: int) -> None:
    run = CopySearch.objects.create(finished_at=timezone.now())
    for pk in Client.objects.filter(slug__in=slugs).values_list("pk", flat=True):
        SearchedClient.objects.create(
            search=run, client_id=pk, slug="x", searched_at=timezone.now(), **numbers
        )


def test_copies_are_ok_once_every_client_was_searched_whole_and_none_was_found():
    make_client("idom"), make_client("acme")
    assert told(find_copies) == [(NOT_LOOKED_AT, "copies_not_looked_for")]

    search("idom")
    assert told(find_copies) == [(NOT_LOOKED_AT, "copies_sought_in_part")]

    search("idom", "acme")
    assert told(find_copies) == [(OK, "no_copies")]


def test_copies_that_were_found_and_places_left_out_are_both_told_of_the_newest_search():
    make_client("idom"), make_client("acme")
    search("idom", "acme", rows_found=3)
    search("idom", not_looked_at=1)

    found = told(find_copies)

    assert found == [(FAILED, "copies_were_found"), (NOT_LOOKED_AT, "copies_sought_in_part")]


def test_what_the_role_may_not_read_is_told_with_its_grant_and_other_gaps_with_where_to_look():
    """“Search for them” would leave out the same table again."""
    make_client("idom")
    search("idom", not_looked_at=2)
    (told,) = find_copies(Look())
    assert (told.remedy.key, told.statements) == ("see_what_was_left", (SEARCH_ALL,))

    newest = CopySearch.objects.get()
    for column in ("name", "note"):
        UnsearchedPlace.objects.create(
            search=newest,
            place=f"public.client_database_schemas.{column}",
            reason=UnsearchedReason.NO_RIGHT,
        )
    (told,) = find_copies(Look())

    grant, again = told.statements
    assert grant.startswith("GRANT SELECT ON public.client_database_schemas TO ")
    assert (told.remedy.key, again) == ("grant_and_search_again", SEARCH_ALL)


def test_a_client_that_is_gone_counts_nowhere(django_assert_num_queries):
    make_client("idom")
    run = CopySearch.objects.create(finished_at=timezone.now())
    SearchedClient.objects.create(
        search=run, client_id=98765, slug="gone", searched_at=timezone.now(), rows_found=1
    )

    with django_assert_num_queries(2 + 3):  # a savepoint, within which the time is limited
        assert told(find_copies) == [(NOT_LOOKED_AT, "copies_not_looked_for")]
