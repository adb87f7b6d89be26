"""Selects the clients behind the numbers of a campaign's pages, and makes the address of their list."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.db import models
from django.utils.translation import gettext_lazy as _

from credentials.localization import localize
from migration.models.campaigns import Campaign
from migration.models.left_clients import (
    select_blocked_now,
    select_items_unmoved_by_steps,
    select_unmoved_items,
)
from migration.models.runs import Run
from migration.models.wave_counts import (
    list_differing,
    list_with_failed_reads,
    select_refused_or_failed_items,
)
from migration.models.waves import Wave, WaveClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.db.models import QuerySet

    ClientIds = Iterable[int] | QuerySet[models.Model, int]


class CountedClients(models.TextChoices):
    """Names a set of clients that pages count; in a URL it precedes the campaign's, wave's or run's id."""

    # Of a campaign
    KEPT_NOW = "kept", _("kept now")
    NOT_MOVED = "not_moved", _("could not be moved")
    # Of a wave
    TAKEN = "wave", _("all its clients")
    TO_MOVE = "to_move", _("to be moved")
    DIFFERING = "differing", _("differ")
    FAILED_READS = "failed_reads", _("reads failed at AWS")
    REFUSED = "refused", _("refused")
    LEFT_OUT = "left_out", _("goes on without")
    # Of a run
    LEFT = "left", _("not moved, and still there")


def make_list_query(counted: CountedClients, pk: int, **filters: str) -> str:
    """Return the query of the client list that shows these clients, narrowed by other filters of it."""
    return urlencode({"campaign": f"{counted.value}-{pk}"} | filters)


def find_counted_clients(word: str, pk: int) -> tuple[str, ClientIds] | None:
    """Return a title and client ids; `pk` is a campaign, wave or run, as `word` says. None if unknown."""
    if word not in CountedClients:
        return None
    counted = CountedClients(word)
    if counted in OF_CAMPAIGN:
        found = _find_of_campaign(counted, pk)
    elif counted in OF_WAVE:
        found = _find_of_wave(counted, pk)
    else:
        found = _find_of_run(pk)
    return (f"{found[0]}: {counted.label}", found[1]) if found else None


def _find_of_campaign(counted: CountedClients, pk: int) -> tuple[str, ClientIds] | None:
    campaign = Campaign.objects.filter(pk=pk).first()
    return (str(campaign), OF_CAMPAIGN[counted](campaign)) if campaign else None


def _find_of_wave(counted: CountedClients, pk: int) -> tuple[str, ClientIds] | None:
    wave = Wave.objects.begun().select_related("campaign").filter(pk=pk).first()
    return (_name_wave(wave), OF_WAVE[counted](wave)) if wave else None


def _find_of_run(pk: int) -> tuple[str, ClientIds] | None:
    run = Run.objects.select_related("wave__campaign").filter(pk=pk).first()
    if run is None or run.wave is None:
        return None
    return f"{run}, {_name_wave(run.wave)}", _list_left(run, run.wave)


def _name_wave(wave: Wave) -> str:
    return f"{wave.campaign}, {localize(wave.name_message)}"


def _list_left(run: Run, wave: Wave) -> ClientIds:
    return (
        select_unmoved_items([wave]).filter(run=run).order_by().values_list("client_id", flat=True)
    )


def _list_not_moved(campaign: Campaign) -> ClientIds:
    return select_items_unmoved_by_steps(campaign).order_by().values_list("client_id", flat=True)


def _list_kept(campaign: Campaign) -> ClientIds:
    return select_blocked_now(campaign).order_by().values_list("pk", flat=True)


def _list_taken(wave: Wave) -> ClientIds:
    return wave.list_clients().order_by().values_list("pk", flat=True)


def _list_to_move(wave: Wave) -> ClientIds:
    return wave.list_not_moved_back_by_others().order_by().values_list("pk", flat=True)


def _list_refused(wave: Wave) -> ClientIds:
    return select_refused_or_failed_items([wave.pk]).order_by().values_list("client_id", flat=True)


def _list_left_out(wave: Wave) -> ClientIds:
    left_out = WaveClient.objects.filter(wave=wave, left_out_at__isnull=False)
    return left_out.order_by().values_list("client_id", flat=True)


OF_CAMPAIGN: dict[CountedClients, Callable[[Campaign], ClientIds]] = {
    CountedClients.KEPT_NOW: _list_kept,
    CountedClients.NOT_MOVED: _list_not_moved,
}
OF_WAVE: dict[CountedClients, Callable[[Wave], ClientIds]] = {
    CountedClients.TAKEN: _list_taken,
    CountedClients.TO_MOVE: _list_to_move,
    CountedClients.DIFFERING: lambda wave: list_differing(wave.pk),
    CountedClients.FAILED_READS: lambda wave: list_with_failed_reads(wave.pk),
    CountedClients.REFUSED: _list_refused,
    CountedClients.LEFT_OUT: _list_left_out,
}
