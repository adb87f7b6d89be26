"""The base of the commands that do an act to clients: their options are the fields of the act's form.

A quick act is done in this process, as a page does it; any other is a run.

Nothing begins unseen. Naming clients by slug, `--inline` or `--yes` says that they are meant. Else, over a selection, a
command that writes shows the counts of its plan and asks. Where nobody can be asked it begins, as scripts of earlier
releases have it, but for what an act's page shows in red: that needs one of these options.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import Any, ClassVar, cast

from django import forms
from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.utils.translation import override

from migration.core.audit import ReasonError
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.sentences import CLIENT_NOT_THERE
from migration.management.base import (
    ClientsCommand,
    Options,
    find_user,
    parse_reason,
    require_own_database,
    require_permission,
    require_writes,
)
from migration.management.progress import show_work
from migration.runs.acts import (
    ACTS,
    PLANNED_AT_ONCE,
    Act,
    ActRefused,
    Done,
    Order,
    list_planned,
    refuse,
)
from migration.runs.models import MANY_TRIES, Run
from migration.runs.plans import VERDICTS, PlanClass, PlannedClient
from nova_credentials.messages import Message, Sentence
from nova_credentials.shown_names import escape_name

# The characters of what is printed of clients after their numbers: some thousand clients.
MOST_IN_MEMORY = 1_000_000
# Of every act's form, and no options by themselves.
OF_ALL_FORMS = ("reason", "typed")


class PlanningCommand(ClientsCommand):
    """A command over clients that says first what it would do to each."""

    takes_locks = True
    # It begins unasked: it only reads, or workers do the same within a minute.
    begins_unasked: ClassVar[bool] = False

    @property
    def asks_reason(self) -> bool:
        """Say whether a reason is kept with what is done."""
        return True

    def add_act_arguments(self, parser: CommandParser) -> None:
        """Add what every act takes."""
        parser.add_argument(
            "--dry-run", action="store_true", help="print what would be done, write nothing"
        )
        if self.asks_reason:
            parser.add_argument(
                "--reason", type=parse_reason, default="", help="kept with what is done"
            )
        self.add_run_arguments(parser)
        if not self.begins_unasked:
            parser.add_argument(
                "--yes", action="store_true", help="without a question, also over a selection"
            )
        self.add_format(parser)

    def ask(
        self,
        chosen: ClientPhaseQuerySet,
        plan: Callable[[ClientPhaseQuerySet], Iterable[list[PlannedClient]]],
        options: Options,
        *,
        is_dangerous: bool,
    ) -> ClientPhaseQuerySet:
        """Show the counts of the plan and ask, unless the options answer; return the clients that were asked about.

        Exits with 1 after a no, and with 2 where nobody can be asked and it is dangerous.
        """
        answers = (options[name] for name in ("slugs", "inline", "yes"))
        if self.begins_unasked or any(answers):
            return chosen
        if not (sys.stdin.isatty() and self.stderr.isatty()):
            if is_dangerous:
                text = "nobody can be asked here: look at --dry-run, then pass --yes"
                raise CommandError(text, returncode=2)
            return chosen
        # Who comes in while the question stands was not asked about.
        chosen = all_clients().with_ids(list(chosen.values_list("pk", flat=True)))
        counts = Counter(each.verdict for planned in plan(chosen) for each in planned)
        self.stderr.write(f"{describe_counts(counts)}. Go on? [y/N] ", ending="")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() != "y":
            raise CommandError("Nothing was done.", returncode=1)
        return chosen

    def print_plan(
        self, found: Iterable[list[PlannedClient]], options: Options, *, is_done: bool = False
    ) -> None:
        """Print what would be done, or was: the numbers, then who is refused and why; exit with 1 where somebody is.

        As JSON with every client.
        """
        words = {each: each.value for each in VERDICTS}
        if is_done:
            words[PlanClass.WILL] = "done"
        counts = Counter[PlanClass]()
        # The numbers are printed first, so the clients wait in a file where they are many.
        with SpooledTemporaryFile(MOST_IN_MEMORY, "w+") as kept:
            for planned in found:
                for each in planned:
                    counts[each.verdict] += 1
                    if options["format"] == "json" or each.verdict == PlanClass.REFUSED:
                        described = describe_planned(each) | {"verdict": words[each.verdict]}
                        kept.write(f"{json.dumps(described)}\n")
            kept.seek(0)
            items = map(json.loads, kept)
            numbers = {word: counts[verdict] for verdict, word in words.items()}
            if options["format"] == "json":
                self.print_json_items(items, {"clients": counts.total(), **numbers})
            else:
                self.stdout.write(describe_counts(counts, is_done=is_done))
                for item in items:
                    self.stdout.write(f"{escape_name(item['slug'])}  {item['message']}")
        if counts[PlanClass.REFUSED]:
            sys.exit(1)


CHANGED_SINCE_PLAN = Sentence(
    "changed_since_plan", "It changed while the question stood: look at it again."
)


class ActCommand(PlanningCommand):
    """A command that does one act to clients: says what it would do, or does it and reports what became of each.

    It starts a run and waits for it; an act that is quick it does itself.
    """

    # Of `ACTS`.
    act_code: str
    # Fields of the form for which there is no option: the command has a value for them (`list_values`).
    own_fields: ClassVar[tuple[str, ...]] = ()
    # What `--help` says of a field, where its label alone doesn't tell.
    helps: ClassVar[Mapping[str, str]] = {}

    @property
    def act(self) -> Act:
        """Return the act; a command whose act has no page has one of its own."""
        return ACTS[self.act_code]

    @property
    def asks_reason(self) -> bool:
        return self.act.asks_reason

    @property
    def takes_locks(self) -> bool:  # type: ignore[override]  # of other commands a plain attribute
        return not self.act.is_quick

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_own_arguments(parser)
        self.add_client_arguments(parser)
        for name, field in self.act.form.base_fields.items():
            if name not in (*OF_ALL_FORMS, *self.own_fields):
                add_option(parser, name, field, said=self.helps.get(name, ""))
        self.add_act_arguments(parser)

    def add_own_arguments(self, parser: CommandParser) -> None:
        """Add what stands before the clients."""

    def handle(self, *args: object, **options: Any) -> None:
        chosen = self.choose_clients(options)
        by = self.find_allowed_user(options)
        order = self.make_order(chosen, options, by)
        if options["dry_run"]:
            self.show_plan(chosen, order, options)
        elif self.act.is_quick:
            self.do_at_once(chosen, order, options)
        else:
            self.do(chosen, order, options)

    def choose_clients(self, options: Options) -> ClientPhaseQuerySet:
        """Return the clients that the options choose."""
        return self.find_clients(options)

    def find_allowed_user(self, options: Options) -> User | None:
        """Return the user that `--by` names; exit with 2 where they may not do it."""
        by = find_user(options["by"])
        if by:
            require_permission(by, self.act.permission, may=self.act.may(by))
        return by

    def list_values(self, options: Options) -> dict[str, Any]:
        """Return the value of each field of the form, but for those that all forms have."""
        return {name: options[name] for name in self.act.form.base_fields if name in options}

    def make_order(self, chosen: ClientPhaseQuerySet, options: Options, by: User | None) -> Order:
        """Return what the options ask for, as the act's form takes it; exit with 2 where the form refuses it."""
        number, slug = chosen.count(), chosen.values_list("slug", flat=True).first() or ""
        # Naming the clients is what typing is on a page.
        typed = {
            "reason": options.get("reason", ""),
            "typed": slug if number == 1 else str(number),
        }
        values = self.list_values(options) | typed
        with override("en"):
            form = self.act.form(values, act=self.act, number=number, slug=slug, by=by)
            for name, errors in form.errors.items():
                shown = f"--{name.replace('_', '-')}: " if name in form.fields else ""
                raise CommandError(f"{shown}{' '.join(map(str, errors))}", returncode=2)
        tries = 1 if options["inline"] else MANY_TRIES
        return replace(form.make_order(by), interactive=False, tries=tries, by_command=True)

    def do(self, chosen: ClientPhaseQuerySet, order: Order, options: Options) -> None:
        """Do it as a run, if the answer to the question is yes, and report what became of each client."""
        foreign = self.show_foreign_secrets(chosen, options)
        if self.act.writes_aws:
            (require_writes if options["inline"] else require_own_database)()
        chosen = self.ask(
            chosen,
            lambda some: self.iterate_plan(some, order, options),
            options,
            is_dangerous=self.act.is_dangerous
            or any(options.get(name) for name in ("adopt", "overwrite")),
        )
        self.adopt_shown_secrets(foreign, options)
        try:
            run = self.start(chosen, order, options)
        except (ActRefused, ReasonError) as refusal:
            raise CommandError(str(refusal), returncode=1) from None
        self.carry_out_run(run, inline=options["inline"])
        self.report_run(run, options)

    def do_at_once(self, chosen: ClientPhaseQuerySet, order: Order, options: Options) -> None:
        """Do it in this process, if the answer to the question is yes, and report each client.

        As on a page, who looks otherwise than when it was planned is left out.
        """
        ids = list(chosen.values_list("pk", flat=True))
        seen = self.act.see(ids)
        plan = self.iterate_plan(all_clients().with_ids(ids), order, options)
        planned = list(chain.from_iterable(plan))
        self.ask(chosen, lambda _some: [planned], options, is_dangerous=self.act.is_dangerous)
        will = [each.client_id for each in planned if each.verdict == PlanClass.WILL]
        try:
            with transaction.atomic(), override("en"):
                now = self.act.see(will)
                refused: dict[int, Message] = {
                    pk: CHANGED_SINCE_PLAN() if pk in now else CLIENT_NOT_THERE()
                    for pk in will
                    if now.get(pk) != seen.get(pk)
                }
                if meant := {pk: now[pk] for pk in will if pk not in refused}:
                    order = replace(order, seen=meant)
                    done = self.act.start(all_clients().with_ids(meant), order)
                    refused |= cast("Done", done).refused
        except (ActRefused, ReasonError) as refusal:
            raise CommandError(str(refusal), returncode=1) from None
        told = [
            refuse(each, refused[each.client_id])
            if each.client_id in refused
            # Drop what the plan said: it told how the client was before.
            else replace(each, message=None)
            if each.verdict == PlanClass.WILL
            else each
            for each in planned
        ]
        self.print_plan([told], options, is_done=True)

    def start(self, chosen: ClientPhaseQuerySet, order: Order, options: Options) -> Run:
        """Store the run that does it."""
        started = self.act.start(chosen, order)
        if not isinstance(started, Run):
            raise TypeError(f"{self.act.code} is done at once, and no run")
        return started

    def show_plan(self, chosen: ClientPhaseQuerySet, order: Order, options: Options) -> None:
        """Print what would be done."""
        self.print_plan(self.iterate_plan(chosen, order, options), options)

    def iterate_plan(
        self, chosen: ClientPhaseQuerySet, order: Order, options: Options
    ) -> Iterator[list[PlannedClient]]:
        """Yield what would be done to the clients, some of them at a time, and show how far that is."""
        ids = list(chosen.order_by("slug").values_list("pk", flat=True))
        with show_work(self.stderr, "Plan", len(ids)) as work:
            for start in range(0, len(ids), PLANNED_AT_ONCE):
                some = ids[start : start + PLANNED_AT_ONCE]
                yield self.act.plan(some, order)
                work.done += len(some)


def describe_counts(counts: Counter[PlanClass], *, is_done: bool = False) -> str:
    """Return the numbers of a plan, or of what was done by it, in one line."""
    verb = "were" if is_done else "would be"
    return (
        f"{counts.total()} clients: {counts[PlanClass.WILL]} {verb} done, {counts[PlanClass.NOTHING]} have"
        f" nothing to do, {counts[PlanClass.REFUSED]} are refused"
    )


def plan_clients(
    client_ids: Collection[int], to_do: Collection[int] | None = None
) -> list[PlannedClient]:
    """Return the plan of an act that refuses nobody: there is nothing to do but for `to_do`; None: for all."""
    return [
        each
        if to_do is None or each.client_id in to_do
        else replace(each, plan_class=PlanClass.NOTHING)
        for each in list_planned(client_ids)
    ]


def describe_planned(planned: PlannedClient) -> dict[str, str]:
    """Return a client of a plan as commands print it: with why it is refused, or what is said of it."""
    unmet = [reason for reason in planned.reasons if not (reason.passed or reason.overridden)]
    said = [reason.text for reason in unmet] or ([planned.message] if planned.message else [])
    codes = [reason.code or reason.text.key for reason in unmet] or [each.key for each in said]
    return {
        "slug": planned.slug,
        "verdict": planned.verdict.value,
        "code": codes[0] if codes else "",
        "message": " ".join(map(str, said)),
    }


def add_option(parser: CommandParser, name: str, field: forms.Field, *, said: str) -> None:
    """Add the option of a form's field, with its choices, default and label."""
    option, facts = f"--{name.replace('_', '-')}", dict[str, Any](dest=name)
    with override("en"):
        facts["help"] = said or str(field.help_text or field.label or "")
    if isinstance(field, forms.BooleanField):
        parser.add_argument(option, action="store_true", **facts)
        return
    if isinstance(field, forms.ChoiceField):
        choices = [str(value) for value, _label in cast("Any", field.choices) if value]
        facts["choices"] = choices or None
    facts["default"] = None if field.initial is None else str(field.initial)
    parser.add_argument(option, required=field.required and field.initial is None, **facts)
