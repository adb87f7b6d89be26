"""Owns acts: what people do to clients. Each says what it would do, and does it; one page and one command serve all."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from credentials.localization import intcomma, localize
from migration.core.audit import ReasonError, require_storable_reason
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.pages import describe_notes_of_clients
from migration.runs.items import RunItem
from migration.runs.models import MANY_TRIES, Run, StaleRunError
from migration.runs.plans import PlanClass, PlanCounts, PlannedClient, Reason
from nova_credentials.messages import Message, MessageError
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from migration.campaigns.models import Wave

# So many clients are planned while the page waits; of more a plan is stored, which workers make.
FEW_CLIENTS = 100
# Of a stored plan, so many at a time.
PLANNED_AT_ONCE = 200
# What a plan saw of a client ends with what an override stands in for, a mark before each.
OVERRIDDEN = "+"


class Menu(StrEnum):
    """Where a list offers an act for what is selected."""

    MOVE = "move"
    LOGINS = "logins"
    MORE = "more"


MENU_LABELS = {Menu.MOVE: _("Move"), Menu.LOGINS: _("Logins"), Menu.MORE: _("More")}


@dataclass(frozen=True)
class Order:
    """Who wants an act done, and what the act's form holds."""

    by: User | None  # None: a command that names nobody
    reason: str = ""
    # Of the act's own fields, as JSON can hold them.
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    # The kinds of evidence that may be missing.
    overrides: frozenset[str] = frozenset()
    # A person waits: AWS is given up on early.
    interactive: bool = False
    # How often its run tries a client: once where a command works on it alone.
    tries: int = MANY_TRIES
    by_command: bool = False
    # The wave whose step its run is: a campaign orders it, and has been approved where that is needed.
    wave: Wave | None = None
    # What was shown of each client by id (`Act.see`), where the act itself has to hold what it does to it.
    seen: Mapping[int, str] = field(default_factory=dict)
    # The run whose plan was shown, which is the one to start; None: a new one.
    planned: Run | None = None

    @property
    def run_options(self) -> dict[str, Any]:
        """Return what `Run.start` takes of every order."""
        return {
            "by": self.by,
            "reason": self.reason,
            "tries": self.tries,
            "by_command": self.by_command,
            "planned": self.planned,
        }


@dataclass(frozen=True)
class Done:
    """What came of an act that was done at once: a sentence, and where its page leads; None: back."""

    message: Message | str
    url: str | None = None
    # It isn't as wanted, or not yet: the workers go on.
    is_warning: bool = False
    # What else is said, in the page's language: as warnings, and by the way.
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    # What the user's session keeps of it, by key.
    session: Mapping[str, Any] = field(default_factory=dict, repr=False)
    # Of an act that is quick: why it was not done to some of the clients, by id.
    refused: Mapping[int, Message] = field(default_factory=dict, repr=False)


class ActRefused(MessageError):  # noqa: N818  # nothing went wrong: it may not be done
    """Nothing was done to the client; `codes` are the reasons' codes, by which a page finds what mends it."""

    def __init__(self, message: Message, codes: Collection[str] = ()) -> None:
        super().__init__(message)
        self.codes = list(codes) or message.codes


class ReasonForm(forms.Form):
    """The base of forms that ask why: the reason is one that can be stored."""

    reason = forms.CharField(
        label=_("Reason or ticket"),
        required=False,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
    )

    def clean_reason(self) -> str:
        """Return the reason; an error says where it can't be stored."""
        reason: str = self.cleaned_data["reason"].strip()
        try:
            require_storable_reason(reason)
        except ReasonError as error:
            raise forms.ValidationError(localize(error.message)) from None
        return reason


class ActForm(ReasonForm):
    """The base of all acts' forms: the reason, and what is typed to confirm. An act's own fields are a subclass's."""

    typed = forms.CharField(
        required=True,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(
        self,
        *args: Any,
        act: Act,
        number: int,
        slug: str = "",
        by: User | None = None,
        client_ids: Sequence[int] = (),
        overrides: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        """Make the form for so many clients. `by`, `client_ids`: whose page it is, and of whom, where it shows them."""
        super().__init__(*args, **kwargs)
        self.by, self.client_ids = by, client_ids
        # The page of a stored plan knows no slug.
        self.wanted = (slug if number == 1 else "") or str(number)
        if act.asks_reason:
            self.fields["reason"].required = act.needs_reason
            if not act.needs_reason:
                self.fields["reason"].label = _("Reason or ticket (optional)")
        else:
            del self.fields["reason"]
        if act.needs_typing or (act.types_to_override and overrides):
            self.fields["typed"].label = _("Type %(wanted)s to confirm") % {"wanted": self.wanted}
        else:
            del self.fields["typed"]
        # What all acts have stands below what this one asks.
        self.order_fields([name for name in self.fields if name not in ("reason", "typed")])

    def clean_typed(self) -> str:
        """Return what was typed; an error where it isn't the slug, or the number with or without its separators."""
        typed: str = self.cleaned_data["typed"].strip()
        number = "".join(filter(str.isdecimal, typed))
        if typed != self.wanted and not (self.wanted.isdecimal() and number == self.wanted):
            text = _("Type %(wanted)s, or cancel.")
            raise forms.ValidationError(text % {"wanted": self.wanted})
        return typed

    def make_order(self, by: User | None, overrides: Collection[str] = ()) -> Order:
        """Return what a valid form asks for."""
        own = {
            name: value
            for name, value in self.cleaned_data.items()
            if name not in ("reason", "typed")
        }
        reason = self.cleaned_data.get("reason", "")
        return Order(by, reason, own, frozenset(overrides), interactive=True)

    def choose_clients(self, client_ids: Sequence[int]) -> Sequence[int]:
        """Return those of the clients, in the page's order, that a valid form means: all, unless it asks which."""
        return client_ids


class Act:
    """Something that is done to clients. A subclass says what; `register_act` gives it a page and its places in menus.

    Its texts are lazy: they are in the page's language.
    """

    code: ClassVar[str]
    # As menus name it.
    label: ClassVar[StrOrPromise]
    permission: ClassVar[str]
    # The question that is the page's title, for the client called `name` and for `n`: "Move 17 clients to dual read?".
    question_for_one: ClassVar[StrOrPromise]
    question: ClassVar[StrOrPromise]
    # Verb and number: "Move 17 clients".
    button: ClassVar[StrOrPromise]
    # What it does, in a sentence or two.
    effect: ClassVar[StrOrPromise]
    # None: it stands alone.
    menu: ClassVar[Menu | None] = Menu.MORE
    form: ClassVar[type[ActForm]] = ActForm
    # Whether the form asks for a reason, which is kept with what was done; and whether there has to be one.
    asks_reason: ClassVar[bool] = True
    needs_reason: ClassVar[bool] = False
    # The slug of the one client, or the number of several, has to be typed.
    needs_typing: ClassVar[bool] = False
    # So it has where an override stands in for something.
    types_to_override: ClassVar[bool] = False
    # It writes to AWS: its runs wait while that is stopped.
    writes_aws: ClassVar[bool] = True
    # In red: it deletes or replaces secret values.
    is_dangerous: ClassVar[bool] = False
    # Whether it is offered for several clients at once.
    takes_many: ClassVar[bool] = True
    # One client is worked on while its user waits (`do_one`); else it is a run too.
    waits_for_one: ClassVar[bool] = False
    # What it sees AWS says, so its run holds each client to what was shown of it (`Run.plan`), and not the page alone.
    run_holds_to_plan: ClassVar[bool] = False
    # It asks and changes this site's own tables alone: any number is planned and done while the user waits.
    is_quick: ClassVar[bool] = False
    # The client's page offers it in its menu; False: elsewhere on it.
    in_client_menu: ClassVar[bool] = True
    # How to go back, as it stands behind "Way back:"; "": there is no way, as the effect says.
    way_back: ClassVar[StrOrPromise] = ""
    # The report of mismatches offers it too.
    in_report: ClassVar[bool] = False
    # The kinds of evidence in which an override may stand in.
    evidence_kinds: ClassVar[frozenset[str]] = frozenset()
    # How the page speaks of them. Of a stored plan an override has another one made.
    override_heading: ClassVar[StrOrPromise] = _("Missing evidence:")
    override_label: ClassVar[StrOrPromise] = _("Override it")
    wait_label: ClassVar[StrOrPromise] = _("Don’t override")
    # What is overridden may be lost by it: then the button is red.
    override_loses: ClassVar[bool] = False

    @property
    def needs_approval(self) -> bool:
        """Say whether a second user has to approve it."""
        return False

    def may(self, user: Any) -> bool:
        """Say whether the user may do it."""
        return bool(user.has_perm(self.permission))

    def ask(self, number: int, name: str) -> str:
        """Return the page's title, about the client of this name, or "" and so many."""
        if name:
            return self.question_for_one % {"name": name}
        return self.question % {"number": number, "n": intcomma(number)}

    def name_button(self, number: int) -> str:
        """Return the words of the button for so many clients."""
        return self.button % {"number": number, "n": intcomma(number)}

    def name_way_back(self, client_ids: Collection[int] | QuerySet[Any, int]) -> StrOrPromise:
        """Return how to go back once it was done to these clients; "" where there is no way."""
        return self.way_back

    def sum_up(self, client_ids: Iterable[int]) -> list[str]:
        """Say, a sentence each, what it comes to for these clients together: what is made, what it costs."""
        return []

    def sum_up_plan(self, counts: PlanCounts) -> list[str]:
        """Say, a sentence each, what a plan with these counts comes to: how long it takes, what it costs."""
        return []

    def list_plan_files(self, run: Run) -> list[tuple[str, str]]:
        """Return label and address of each other form of a stored plan: to print, to download."""
        return []

    def list_notes(
        self,
        request: HttpRequest,
        client_ids: Collection[int] | QuerySet[Any, int],
        *,
        number: int | None = None,
    ) -> list[SafeString]:
        """Say, a sentence each, what else happens to these clients; `number`: how many, where that is known."""
        return describe_notes_of_clients(request, client_ids, number=number)

    def advise(self, client_id: int) -> list[SafeString]:
        """Say, a sentence each, what is known of whether it is the right thing for this one client."""
        return []

    def may_override(self, user: Any) -> bool:
        """Say whether the user may do it although evidence is missing."""
        return False

    def name_evidence(self, kind: str) -> str:
        """Return a kind of evidence, in which an override may stand in, in words."""
        return kind

    def see(self, client_ids: Collection[int]) -> dict[int, str]:
        """Return what a page sees of each client: who looks otherwise when the act is carried out is left out."""
        return see_clients(client_ids)

    def explain_change(self, client_id: int) -> Message | None:
        """Say what became of the one client of a page, which looks otherwise now; None where nothing more is known."""
        return None

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        """Say of each client what would be done, by slug; reads only. One that is gone is left out.

        Of `seen` it says what an override stands in for (`mark_overridden`); the rest is filled in by the caller.
        """
        raise NotImplementedError

    def plan_in_batches(
        self, client_ids: Sequence[int], order: Order
    ) -> Iterator[list[PlannedClient]]:
        """Yield the plan of many clients, some at a time, each with what was seen of it before."""
        for start in range(0, len(client_ids), PLANNED_AT_ONCE):
            some = client_ids[start : start + PLANNED_AT_ONCE]
            seen = self.see(some)
            yield mark_seen(self.plan(some, order), seen)

    def do_one(self, client_id: int, order: Order) -> Done:
        """Do it to one client while its user waits.

        Raises `ActRefused` and `Client.DoesNotExist`.
        """
        raise NotImplementedError

    def describe_run(self, order: Order) -> dict[str, Any]:
        """Return the columns of `Run` that say what its run does: the kind, and what is asked of it beside the clients.

        Of a run that is to be planned, whose form nobody has filled in yet, `order` has no values.
        """
        raise NotImplementedError

    def store_plan(
        self, *, by: User | None, chosen: Collection[int] | None, overrides: Collection[str] = ()
    ) -> Run:
        """Store a run over these clients, or all, that is to be planned first; the caller enqueues it."""
        order = Order(by, overrides=frozenset(overrides))
        columns = self.describe_run(order) | {"override_lines": sorted(overrides)}
        return Run.store_plan(by=by, chosen=chosen, act=self.code, **columns)

    def start(self, chosen: ClientPhaseQuerySet, order: Order) -> Run | Done:
        """Start the run that does it to the clients, or request it; the caller enqueues it. Raises `ActRefused`.

        An act that `is_quick` does it, and says what came of it.
        """
        return Run.start(chosen=chosen, **self.describe_run(order), **order.run_options)


def make_plan(run: Run) -> None:
    """Look at the clients of a run that is being planned, some at a time, and store what would be done.

    Can be done twice. Raises `StaleRunError` where the run was discarded meanwhile, or another worker has planned it.
    """
    act, chosen = ACTS[run.act], all_clients()
    if run.chosen is not None:
        chosen = chosen.with_ids(run.chosen)
    ids = list(chosen.order_by("pk").values_list("pk", flat=True))
    order = Order(run.by, overrides=frozenset(run.override_lines))

    def look() -> Iterator[list[PlannedClient]]:
        for planned in act.plan_in_batches(ids, order):
            run.refresh_from_db(fields=["state"])
            if run.state != Run.State.PLANNING:
                raise StaleRunError(run, Run.State.PLANNED)
            yield planned
            Run.objects.record_worked_at(run.pk)

    run.finish_planning(look())


# By code, in the order in which menus show them.
ACTS: dict[str, Act] = {}


def register_act(act: Act) -> Act:
    """Give the act its page and its places in menus."""
    ACTS[act.code] = act
    return act


def list_planned(
    client_ids: Collection[int], plan_class: PlanClass = PlanClass.WILL
) -> list[PlannedClient]:
    """Return the clients that are there, by slug, each as it stands, with the same said of all."""
    found = all_clients().with_phase().with_revision().with_ids(client_ids).order_by("slug")
    return [
        PlannedClient(pk, slug, phase, revision, plan_class, outcome="")
        for pk, slug, phase, revision in found.values_list("pk", "slug", "phase", "revision")
    ]


def refuse(planned: PlannedClient, *why: Message) -> PlannedClient:
    """Return the client of a plan as refused for these reasons."""
    reasons = tuple(Reason(each, each.codes[0]) for each in why)
    return replace(planned, plan_class=PlanClass.REFUSED, reasons=reasons)


def mark_seen(planned: Iterable[PlannedClient], seen: Mapping[int, str]) -> list[PlannedClient]:
    """Return the clients of a plan, each with what was seen of it, by id, before what is overridden."""
    return [
        replace(each, seen=f"{found}{each.seen}") if (found := seen.get(each.client_id)) else each
        for each in planned
    ]


def mark_overridden(*what: str) -> str:
    """Return, for `PlannedClient.seen`, what an override stands in for: it stands in for nothing else at its turn."""
    return "".join(f"{OVERRIDDEN}{each}" for each in what)


def read_overridden(seen: str) -> frozenset[str]:
    """Return what an override stands in for, of a client of which this was seen."""
    return frozenset(seen.split(OVERRIDDEN)[1:])


def read_overridden_of_run(
    run: Run, client_ids: Collection[int]
) -> dict[int, frozenset[str]] | None:
    """Return what an override stands in for, by client of a run; None where nobody was shown it.

    That is so of a command's run, and of one that a release before 0.3.0 started from its plan.
    """
    if run.planned_at is None:
        return None
    rows = run.plan_rows.filter(client_id__in=client_ids)
    seen = dict(rows.values_list("client_id", "content__seen"))
    if None in seen.values():
        return None
    return {pk: read_overridden(each) for pk, each in seen.items()}


def see_clients(client_ids: Collection[int], *, compared: bool = True) -> dict[int, str]:
    """Return a digest of what a plan rests on: a client's name, phase, layout, newest comparison, and a run at work.

    Of those who are gone none. Not `compared`: whatever the comparison says.
    """
    columns = ["slug", "is_active", "client_migration__phase", "client_migration__layout"]
    if compared:
        comparison = "client_migration__comparison"
        columns += [f"{comparison}__status", f"{comparison}__mismatches"]
    at_work = RunItem.objects.filter(client__in=client_ids, finished_at=None)
    at_work = at_work.exclude(run__state=Run.State.REQUESTED)
    runs = dict(
        at_work.exclude(run__kind__in=Run.READS_ONLY).order_by("pk").values_list("client", "run")
    )
    rows = all_clients().with_ids(client_ids).order_by().values_list("pk", *columns)
    # A client gets its row with the first comparison: that it is in `postgres` is no change then.
    return {
        pk: digest_facts([slug, active, phase or Phase.POSTGRES, layout or "", *more, runs.get(pk)])
        for pk, slug, active, phase, layout, *more in rows
    }


def digest_facts(facts: list[object]) -> str:
    """Return a short digest of what was seen of a client: facts that JSON can hold, or times."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=8).hexdigest()
