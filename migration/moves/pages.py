"""Pages of one client's moves: what its page offers, the push, the numbers after a cutover, and former addresses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import find_site_day
from migration.core.clients import (
    VIEW_RUNS,
    ClientMigration,
    Offboarding,
    PhaseChange,
    ReadCount,
)
from migration.core.comparisons import Comparison
from migration.core.pages import (
    RESOLVE_PERMISSION,
    AdminView,
    ClientRow,
    ClientView,
    get_act_url,
)
from migration.moves.acts import MOVE_ACTS
from migration.moves.rules import find_end_of_purge_wait
from migration.runs.acts import ACTS, Act
from migration.runs.models import Run
from migration.runs.pages import make_run_badge
from nova_credentials.phases import MOVES, Move, Phase

# A client's page watches its cutover for this time.
WATCHED_FOR = timedelta(minutes=10)
# The act by which clients go from `postgres` to `dual_write`, where there is one.
PUSH = "push"


@dataclass(frozen=True)
class MoveOption:
    """A move as a client's page offers it: by a link to its act's page, and the rollback by a form that posts there."""

    kind: Move
    act: Act
    url: str
    # The client as the page shows it, for the rollback's form.
    shown: str

    @property
    def is_purge(self) -> bool:
        return self.kind == Move.PURGE

    @property
    def is_rollback(self) -> bool:
        return self.kind == Move.ROLLBACK

    @property
    def waits_for_checks(self) -> bool:
        """Say whether it is greyed while a check fails: nothing can be requested or overridden either."""
        return self.kind == Move.FORWARD

    @property
    def goes_back(self) -> bool:
        return self.kind in (Move.BACK, Move.ROLLBACK, Move.RESTORE)


def get_moves_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the template context of the moves from the client's phase; `may_resolve`: the user may resolve too."""
    phase = Phase(client.phase)
    requested = None
    if request.user.has_perm(VIEW_RUNS):
        requested = Run.objects.find_requested([client.pk]).get(client.pk)
    return {
        "moves": list_moves(request, client, phase),
        "requested_run": requested,
        "requested_badge": make_run_badge(requested) if requested else "",
        "watch": measure_cutover(client.pk),
        "differs": client.newest_status not in (None, Comparison.Status.MATCH),
        "input_classes": " ".join(BASE_INPUT_CLASSES),
        "may_resolve": request.user.has_perm(RESOLVE_PERMISSION) and phase != Phase.PURGED,
        "today": find_site_day().isoformat(),
    }


def list_moves(request: HttpRequest, client: ClientRow, phase: Phase) -> list[MoveOption]:
    """Return the moves that the user may make, and no purge before its time.

    A client that was offboarded, or is about to be, makes none: it is brought back first.
    """
    if Offboarding.objects.leaving_or_left().filter(client=client.pk).exists():
        return []
    found = []
    for (old, new), kind in MOVES.items():
        act = find_move_act(old, new) if old == phase else None
        if act is None or not act.may(request.user):
            continue
        shown = act.see([client.pk]).get(client.pk, "") if kind == Move.ROLLBACK else ""
        url = get_act_url(act.code, [client.pk])
        found.append(MoveOption(kind, act, url, f"{client.pk}:{shown}"))
    if find_end_of_purge_wait(client.phase_since):
        found = [move for move in found if not move.is_purge]
    return found


def find_move_act(old: Phase, new: Phase) -> Act | None:
    """Return the act that moves clients from one phase to the other; None where there is none."""
    if (old, new) == (Phase.POSTGRES, Phase.DUAL_WRITE):
        return ACTS[PUSH]
    return MOVE_ACTS.get((old, new))


# Addresses of former releases, which lead to the act's page


def read_phase(text: str) -> Phase:
    """Return the phase that an address names; raise Http404 if it is none."""
    try:
        return Phase(text)
    except ValueError:
        raise Http404 from None


class FormerMoveView(ClientView):
    """The page that confirmed one move of a client."""

    def get(self, request: HttpRequest, client_id: int, new: str) -> HttpResponse:
        found = ClientMigration.objects.filter(pk=self.client.pk).first()
        phase = Phase(found.phase) if found else Phase.POSTGRES
        # From another phase the page says that there is no such move.
        wanted = read_phase(new)
        others = (find_move_act(old, to) for old, to in MOVES if to == wanted)
        act = find_move_act(phase, wanted) or next(filter(None, others), None)
        if act is None:
            raise Http404
        return HttpResponseRedirect(get_act_url(act.code, [client_id]))


class FormerCutoverView(AdminView):
    """The page that confirmed the cutover of the clients that were selected."""

    def get(self, request: HttpRequest) -> HttpResponse:
        act = MOVE_ACTS[Phase.DUAL_READ, Phase.AWS]
        return HttpResponseRedirect(get_act_url(act.code, []))


# The minutes after a cutover


class CutoverNumbersView(ClientView):
    """The part of a client's page with the numbers since its cutover: HTML that the open page asks for again."""

    template_name = "admin/migration/client_watch_numbers.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        return self.render_to_response(
            {"watch": measure_cutover(client_id), "client_id": client_id}
        )


@dataclass(frozen=True)
class CutoverWatch:
    """A client's reads and comparisons since its cutover a few minutes ago."""

    client_id: int
    since: datetime
    until: datetime
    reads: int
    aws_failures: int
    last_read_at: datetime | None
    comparisons: int
    mismatches: int

    @property
    def seconds_left(self) -> float:
        return (self.until - timezone.now()).total_seconds()


def measure_cutover(client_id: int) -> CutoverWatch | None:
    """Return reads and comparisons since the cutover; None if older than WATCHED_FOR or not in AWS now."""
    lately = timezone.now() - WATCHED_FOR
    later = Comparison.objects.filter(client_id=client_id, compared_at__gt=OuterRef("changed_at"))
    numbers = later.order_by().values("client_id").annotate(number=Count("pk")).values("number")
    in_aws = Exists(ClientMigration.objects.filter(pk=client_id, phase=Phase.AWS))
    cutover = (
        PhaseChange.objects.filter(in_aws, client_id=client_id, changed_at__gte=lately)
        .annotate(
            compared=Coalesce(Subquery(numbers), 0),
            differ=Coalesce(Subquery(numbers.filter(status__in=Comparison.DIFFERS)), 0),
        )
        .order_by("-pk")
        .first()
    )
    if not cutover or cutover.old != Phase.DUAL_READ:
        return None
    seen = ReadCount.objects.filter(pk=client_id).first() or ReadCount()
    since = seen.count_since(cutover.reads_before)
    return CutoverWatch(
        client_id=client_id,
        since=cutover.changed_at,
        until=cutover.changed_at + WATCHED_FOR,
        last_read_at=seen.last_read_at,
        comparisons=cutover.compared,  # type: ignore[attr-defined]  # annotated
        mismatches=cutover.differ,  # type: ignore[attr-defined]
        reads=since.reads,
        aws_failures=since.aws_failures,
    )
