"""The way back of runs that copy, which the release before has no word for."""

from django.core.management import call_command

from migration.core.aws_store import secrets_manager
from migration.core.clients import all_clients
from migration.models import Resolution
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import change_in_aws, enter_phase


def test_the_way_back_takes_these_runs_begun_or_not_and_leaves_what_they_did(
    stores, transactional_db
):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    change_in_aws(secrets_manager(), port=1)
    compare(client_ids=[pk])
    done = Run.start(kind=Run.Kind.TO_AWS, chosen=all_clients(), reason="INC-42")
    engine.finish_inline(done)
    Run.start(kind=Run.Kind.TO_POSTGRES, chosen=all_clients(), reason="INC-42")
    other = Run.start(kind=Run.Kind.COMPARE, chosen=all_clients())

    call_command("migrate", "migration", "0053", verbosity=0)

    left = list(Run.objects.values_list("pk", flat=True))
    call_command("migrate", verbosity=0)
    assert left == [other.pk]
    assert Resolution.objects.get().kind == Resolution.Kind.TO_AWS
