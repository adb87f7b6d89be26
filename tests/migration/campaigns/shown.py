"""Groups of clients in a phase, and campaigns that were taken some steps further."""

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from migration.campaigns.members import read_campaign_request
from migration.campaigns.steps import advance_campaign, start_campaign
from migration.core.clients import all_clients
from migration.models import Campaign, ClientGroup, RunItem, Wave
from migration.runs import engine
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import enter_phase_together
from tests.migration.pages import page_of

CAMPAIGNS = "/admin/migration/campaign/"


def make_group(name: str, number: int = 1, phase: Phase = Phase.POSTGRES) -> ClientGroup:
    """A group of new clients in the phase, each named after it."""
    slugs = [f"{name.lower().replace(' ', '-')}-{n}" for n in range(number)]
    pks = [make_full_client(slug) for slug in slugs]
    if phase != Phase.POSTGRES:
        enter_phase_together(pks, phase)
    group = ClientGroup.objects.get_or_add(name)
    group.put_clients(all_clients().filter(pk__in=pks))
    return group


def make_campaign(*groups: ClientGroup, **options) -> Campaign:
    options = {"goal": Phase.DUAL_WRITE} | options
    return start_campaign(groups=groups or [make_group("Spain")], **options)


def do_next(campaign: Campaign) -> Run | None:
    """Begins what is next and ends its run, as a worker would."""
    run = advance_campaign(campaign.pk)
    if run:
        engine.finish_inline(run)
    campaign.refresh_from_db()
    return run


def begin_wave(campaign: Campaign, slugs: list[str], **run_fields) -> tuple[Wave, Run]:
    """A wave that has begun with clients of these slugs, and a run of it that has refused each; past all operations."""
    wave = campaign.waves.filter(began_at=None)[0]
    wave.campaign = campaign
    with transaction.atomic():
        wave.begin(now=campaign.created_at)
    fields = {"kind": Run.Kind.MOVE, "move_from": "postgres", "move_to": "dual_write"}
    run = Run.objects.create(wave=wave, **(fields | run_fields))
    pks = dict(all_clients().values_list("slug", "pk"))
    RunItem.objects.bulk_create(
        RunItem(
            run=run,
            client_id=pks[slug],
            slug=slug,
            batch=0,
            outcome="refused",
            finished_at=timezone.now(),
        )
        for slug in slugs
    )
    run.finish_if_done()
    return wave, run


def page(campaign: Campaign) -> str:
    return page_of("migration_campaign", campaign.pk)


def press(client, campaign: Campaign, button: str, **data: str):
    if button == "approve":
        # As the page that is opened now would send it.
        data = {"shown": str(read_campaign_request(campaign.pk)), **data}
    response = client.post(reverse(f"admin:migration_campaign_{button}", args=[campaign.pk]), data)
    campaign.refresh_from_db()
    return response
