"""Groups of clients, campaigns that take them, and somebody who does what the schedule and the workers do."""

import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from migration.campaigns.steps import advance_campaign, start_campaign
from migration.core import aws_store
from migration.core.clients import WRITES_BOTH, all_clients
from migration.models import (
    Campaign,
    ClientGroup,
    ClientMigration,
    Comparison,
    RunItem,
    Wave,
    WaveClient,
)
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import change_in_aws, enter_phase_together, phase_of

CUTOVER = (Phase.DUAL_READ, Phase.AWS)


def make_group(name: str, number: int, phase: Phase = Phase.POSTGRES) -> ClientGroup:
    """A group with so many clients in the phase, called after it."""
    pks = [make_full_client(f"{name}-{n}") for n in range(number)]
    enter_phase_together(pks, phase)
    if phase != Phase.POSTGRES:
        compare(client_ids=pks)
    return put(name, *pks)


def put(name: str, *pks: int) -> ClientGroup:
    group = ClientGroup.objects.get_or_add(name)
    group.put_clients(all_clients().filter(pk__in=pks))
    return group


def members(group: ClientGroup) -> list[int]:
    return list(all_clients().in_group(group.pk).order_by("slug").values_list("pk", flat=True))


def phases(group: ClientGroup) -> list[str]:
    return [phase_of(pk) for pk in members(group)]


def begin(*groups: ClientGroup, **options) -> Campaign:
    return start_campaign(groups=groups, **options)


def take(campaign: Campaign) -> Run | None:
    """What the schedule does each minute."""
    run = advance_campaign(campaign.pk)
    campaign.refresh_from_db()
    return run


def work(run: Run | None) -> Run:
    """What the workers do with what was enqueued."""
    assert run is not None
    engine.work_on_run(run_id=run.pk)
    run.refresh_from_db()
    return run


def sweep() -> None:
    """The schedule's comparison of both stores."""
    compare(client_ids=list(all_clients().in_phases(*WRITES_BOTH).values_list("pk", flat=True)))


def soak() -> None:
    """A day has passed since the runs of before have ended."""
    Run.objects.update(finished_at=F("finished_at") - timedelta(days=1))


def go(campaign: Campaign) -> None:
    """Goes on until nothing is to do, with a sweep and the soak time between any two steps."""
    for _ in range(30):
        sweep(), soak()
        run = take(campaign)
        if run is None:
            return
        work(run)
    raise AssertionError("it comes to no end")


def cut_over(campaign: Campaign) -> Run:
    """Begins the next wave and takes its clients to AWS past the gates, as a run that has ended would."""
    wave = campaign.waves.filter(began_at=None)[0]
    wave.campaign = campaign
    with transaction.atomic():
        wave.begin(now=timezone.now())
    run = Run.objects.create(
        wave=wave, kind=Run.Kind.MOVE, move_from=Phase.DUAL_READ, move_to=Phase.AWS
    )
    RunItem.objects.bulk_create(
        RunItem(
            run=run,
            client_id=pk,
            slug=slug,
            batch=0,
            outcome=Outcome.MOVED,
            finished_at=timezone.now(),
        )
        for pk, slug in wave.list_clients().values_list("pk", "slug")
    )
    run.finish_if_done()
    pks = list(wave.list_clients().values_list("pk", flat=True))
    assert ClientMigration.objects.change_phase(pks, *CUTOVER, run=run) == set(pks)
    return run


def begin_cutover(number: int = 3, **options) -> tuple[Campaign, ClientGroup]:
    """A campaign that has cut its one wave over, and soaks."""
    group = make_group("north", number, Phase.DUAL_READ)
    campaign = begin(group, soak_minutes=60, **options)
    cut_over(campaign)
    assert phases(group) == [Phase.AWS] * number
    return campaign, group


def steps(campaign: Campaign) -> list[tuple[str, str, str]]:
    """Of each run the wave's group and the move, in their order."""
    found = Run.objects.filter(wave__campaign=campaign).order_by("pk")
    return list(found.values_list("wave__group_name", "move_from", "move_to"))


def taken(campaign: Campaign) -> list[list[str]]:
    """The clients of each wave."""
    return [
        list(WaveClient.objects.filter(wave=wave).order_by("slug").values_list("slug", flat=True))
        for wave in campaign.waves.begun()
    ]


def why(campaign: Campaign) -> list[str]:
    """The keys of the reasons why it stands still."""
    return campaign.stopped_because.codes if campaign.stopped_because else []


def stand(campaign: Campaign) -> tuple[str, list[str]]:
    campaign.refresh_from_db()
    return campaign.state, why(campaign)


def only_wave(campaign: Campaign) -> Wave:
    wave = campaign.waves.get()
    wave.campaign = campaign
    return wave


def outcomes(run: Run) -> dict[str, str]:
    return dict(run.items.values_list("slug", "outcome"))


def codes_of(run: Run, slug: str) -> list[str]:
    message = run.items.get(slug=slug).message
    return message.codes if message else []


def differ(pk: int, *, seen: bool = True) -> None:
    """Somebody changes AWS directly; the next sweep, where it is made, sees it."""
    slug = all_clients().get(pk=pk).slug
    change_in_aws(manager(), f"nova/clients/{slug}", password="example-theirs")
    if seen:
        results = compare(client_ids=[pk])
        assert results[pk].status in Comparison.DIFFERS


def mend(pk: int) -> None:
    """Somebody puts back into AWS what the rows hold."""
    slug = all_clients().get(pk=pk).slug
    name = f"nova/clients/{slug}"
    stored = json.loads(manager().get_value(name).text)
    stored["database"]["password"] = "example-password-1"
    manager().put_value(name, json.dumps(stored))
    compare(client_ids=[pk])


def manager() -> SecretsManager:
    return aws_store.secrets_manager()


def minutes_later(monkeypatch, minutes: float) -> None:
    """Has the engine's clock, and no other, show another time."""
    ahead = timedelta(minutes=minutes)
    clock = SimpleNamespace(now=lambda: timezone.now() + ahead)
    monkeypatch.setattr("migration.campaigns.steps.timezone", clock)


def once(does: Callable[[], object], then: Callable) -> Callable:
    """A function that has something happen before it is called the first time."""
    left = [does]

    def call(*arguments, **options):
        if left:
            left.pop()()
        return then(*arguments, **options)

    return call
