"""Names the clients that campaigns could not move: those of each run, the most frequent reason, and those left out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count, Min, Window
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Coalesce, RowNumber

from migration.models.left_clients import select_items_unmoved_by_steps, select_unmoved_items
from migration.models.run_items import Outcome, RunItem
from migration.models.runs import Run
from migration.models.waves import WaveClient
from migration.reports.campaign_lists import CountedClients, make_list_query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migration.models.campaigns import Campaign
    from migration.models.waves import Wave
    from nova_credentials.messages import Message

# How many clients are named of one run, and how many in all. The run's page names the others.
NAMED_OF_A_RUN = 10
NAMED_IN_ALL = 50
# Of a refusal, its first reason: those of several are in a row.
_IN_A_ROW = KeyTransform(
    "message", KeyTransform("0", KeyTransform("sentences", KeyTransform("values", "message")))
)
FIRST_REASON = Coalesce(KeyTextTransform("key", _IN_A_ROW), KeyTextTransform("key", "message"))


@dataclass(frozen=True)
class ClientsLeftByRun:
    """Clients that a run of a wave refused or failed to move, and that still stand where it met them."""

    run: Run
    refused: int
    failed: int
    items: tuple[RunItem, ...]  # some of them, each with its message

    @property
    def number(self) -> int:
        return self.refused + self.failed

    @property
    def not_named(self) -> int:
        return self.number - len(self.items)

    @property
    def list_query(self) -> str:
        """Return the query of the client list that shows all that this run left."""
        return make_list_query(CountedClients.LEFT, self.run.pk)

    def to_json(self) -> dict[str, object]:
        """Return the clients for the JSON of commands, with messages in English."""
        return {
            "run": self.run.pk,
            "rolls_back": self.run.only_where_equal,
            "refused": self.refused,
            "failed": self.failed,
            "clients": [
                {"slug": item.slug, "outcome": item.outcome, **describe_message(item.message)}
                for item in self.items
            ],
            "not_named": self.not_named,
        }


@dataclass(frozen=True)
class MostFrequentReason:
    """The reason for which a campaign's runs could not move the most clients, with one of these as an example."""

    campaign: Campaign
    example: Message | None  # as one of them has it
    slug: str  # of that one
    clients: int
    of_all: int

    @property
    def left_for_any_reason_query(self) -> str:
        """Return the query of the client list that shows all that were left, for whichever reason."""
        return make_list_query(CountedClients.NOT_MOVED, self.campaign.pk)

    def to_json(self) -> dict[str, object]:
        """Return the reason for the JSON of commands: in English, with its codes, and how many clients have it."""
        return {"clients": self.clients, "of_all": self.of_all, **describe_message(self.example)}


@dataclass(frozen=True)
class LeftOutClients:
    """Clients that the campaign went on without."""

    number: int
    clients: tuple[WaveClient, ...]  # some of them

    @property
    def not_named(self) -> int:
        return self.number - len(self.clients)

    def to_json(self) -> dict[str, object]:
        """Return how many clients were left out, and the slugs of the first of them, for the JSON of commands."""
        return {"number": self.number, "clients": [client.slug for client in self.clients]}


def describe_message(message: Message | None) -> dict[str, object]:
    """Return the message for programs: its text in English, and the keys of its parts."""
    return {"message": str(message or ""), "codes": message.codes if message else []}


def find_frequent_reason(campaign: Campaign) -> MostFrequentReason | None:
    """Return the most frequent reason why the steps of the campaign could not move clients; None where they could."""
    left, clients = (
        select_items_unmoved_by_steps(campaign).order_by(),
        Count("client_id", distinct=True),
    )
    rows = left.values(reason=FIRST_REASON).annotate(number=clients, first=Min("pk"))
    most = rows.order_by("-number", "first").first()
    if most is None:
        return None
    item, of_all = RunItem.objects.get(pk=most["first"]), left.aggregate(all=clients)
    message = item.message and item.message.parts[0]
    return MostFrequentReason(campaign, message, item.slug, most["number"], of_all["all"])


def list_first_left_out_clients(waves: list[Wave], total: int) -> LeftOutClients:
    """Return the first left-out clients of these waves; `total` is how many there are, not a limit."""
    if not total:
        return LeftOutClients(0, ())
    left_out = WaveClient.objects.filter(wave__in=waves, left_out_at__isnull=False)
    return LeftOutClients(total, tuple(left_out.order_by("slug", "pk")[:NAMED_IN_ALL]))


def list_unmoved_clients(waves: list[Wave]) -> Iterable[ClientsLeftByRun]:
    """Yield each run of the waves that could not move clients since these are watched, with some of the clients."""
    left = select_unmoved_items(waves)
    numbers: dict[int, dict[str, int]] = defaultdict(dict)
    counted = left.order_by().values_list("run", "outcome").annotate(number=Count("pk"))
    for run_id, outcome, number in counted:
        numbers[run_id][outcome] = number
    place = Window(RowNumber(), partition_by="run", order_by="pk")
    numbered = left.annotate(place=place).filter(place__lte=NAMED_OF_A_RUN)
    named: dict[int, list[RunItem]] = defaultdict(list)
    for item in numbered.order_by("-run", "pk")[:NAMED_IN_ALL]:
        named[item.run_id].append(item)
    for run in Run.objects.filter(pk__in=numbers).select_related("wave__campaign"):
        yield ClientsLeftByRun(
            run=run,
            refused=numbers[run.pk].get(Outcome.REFUSED, 0),
            failed=numbers[run.pk].get(Outcome.FAILED, 0),
            items=tuple(named[run.pk]),
        )
