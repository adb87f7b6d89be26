"""Each rule of the gate, by what spoils it: its gate, the list's first blocker, filter and counts say the same."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from credentials.models import Client
from credentials.nova_columns import NovaSchema
from credentials.nova_objects import NovaObject, ObjectKind
from migration.core.clients import all_clients
from migration.core.outgoing import LoginOutcome
from migration.core.sentences import CLIENT_NOT_THERE
from migration.logins.models import LoginTest
from migration.models import ClientMigration
from migration.moves import rules
from migration.moves.gates import count_missing_kinds
from migration.moves.readiness import (
    Standing,
    add_up_standings,
    count_blockers,
    find_standing,
    is_ready,
    judge_next_steps,
    select_with_blocker,
    with_blocker,
)
from migration.moves.rules import (
    BEFORE_PUSH,
    BLOCKERS,
    BY_RANK,
    EVERY_MOVE,
    GATE,
    READY,
    WANT_EVIDENCE,
    WRITES_NOT_STOPPED,
    Ask,
    Check,
    Rule,
    SiteFacts,
    SiteRule,
    fetch_with_rules,
    judge_gates,
    keep_statement,
    list_checks,
)
from migration.nova.tables import NovaTables
from migration.runs.items import RunItem
from nova_admin.database.base import mark_statement
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.evidence.worlds import (
    Spoilt,
    list_spoilt,
    make_ready,
    take_into_run,
)

pytestmark = pytest.mark.usefixtures("db")

# Of these no gate says a word: their push does.
OF_PUSH = ("last_push_refused", "not_pushed_inactive", "no_login")


class Pair(NamedTuple):
    """Two clients before the same move, of which the second is spoilt."""

    spoilt: Spoilt
    new: Phase
    good: int
    bad: int


def make_pairs() -> list[Pair]:
    """Makes a pair for each thing that spoils a rule and each move, all in one world."""
    spoilt = list_spoilt()
    ids = {new: iter(make_ready(new, 2 * len(spoilt))) for new in EVERY_MOVE}
    pairs = [Pair(each, new, next(ids[new]), next(ids[new])) for each in spoilt for new in ids]
    for pair in pairs:
        pair.spoilt.spoil(pair.bad)
    return pairs


def check_each(pairs: list[Pair]) -> None:
    """What is told of each client by itself is so of the spoilt one, where the rule is asked, and of no other."""
    steps = judge_next_steps([pk for pair in pairs for pk in (pair.good, pair.bad)])
    said = {pk: tuple(line.code for line in step.shut) for pk, step in steps.items()}
    for spoilt, new, good, bad in pairs:
        assert (said[good], steps[good].standing) == ((), Standing.READY), spoilt
        if new not in spoilt.moves:
            assert not set(spoilt.says) & set(said[bad]), spoilt
            continue
        standing = find_standing(rules.PREVIOUS_PHASE[new], spoilt.blocker)
        assert said[bad] == spoilt.says, spoilt
        assert (steps[bad].blocker, steps[bad].standing) == (spoilt.blocker, standing), spoilt
    for new in EVERY_MOVE:
        ids = [pk for pair in pairs if pair.new == new for pk in (pair.good, pair.bad)]
        for pk, lines in judge_gates(Ask(ids), new).items():
            shut = tuple(line.code for line in lines if not line.passed)
            assert shut == tuple(code for code in said[pk] if code not in OF_PUSH)


def check_lists(pairs: list[Pair]) -> None:
    """List, filters and counts say of all clients what each is told."""
    steps = judge_next_steps([pk for pair in pairs for pk in (pair.good, pair.bad)])
    listed = dict(with_blocker(all_clients()).values_list("pk", "blocker"))
    assert listed == {pk: step.blocker.code for pk, step in steps.items()}
    for blocker in {step.blocker for step in steps.values()}:
        found = select_with_blocker(all_clients(), blocker).values_list("pk", flat=True)
        assert set(found) == {pk for pk, step in steps.items() if step.blocker == blocker}
    ready = set(all_clients().filter(is_ready()).values_list("pk", flat=True))
    assert ready == {pk for pk, step in steps.items() if step.standing == Standing.READY}
    site = SiteFacts()
    counted = add_up_standings(count_blockers(None, site.nova_schema), site)
    each = ((rules.PREVIOUS_PHASE[s.new], s.standing, s.blocker) for s in steps.values())
    assert counted == Counter(each)


def test_what_spoils_a_rule_is_told_by_gate_list_filter_and_counts_and_each_defect_is_found():
    pairs = make_pairs()

    check_each(pairs)
    check_lists(pairs)
    for rule in BY_RANK:
        own = [pair for pair in pairs if pair.spoilt.rule == rule.code]
        keep_statement.cache_clear()
        right = tell(rule, own)
        for defect in list_defects(rule):
            found = is_found(defect, rule, right, own)
            assert found, f"{defect.__name__} of {rule.code} was not found"


def test_each_rule_has_what_spoils_it_and_what_does_not_where_it_may_be_unknown():
    spoilt = list_spoilt()

    for rule in BY_RANK:
        own = [each for each in spoilt if each.rule == rule.code]
        assert any(each.says for each in own), rule.code
        assert {new for each in own for new in each.moves if each.says} == set(rule.moves_to)
        blockers = {each.blocker for each in own if each.says}
        assert blockers == set(rule.blockers), rule.code
        if rule.null_is_unmet is not None:
            assert any("NULL" in each.name for each in own), rule.code


# Defects in a rule, each of which its own pairs find


def leave_out(patch: pytest.MonkeyPatch, rule: Rule) -> None:
    patch.setattr(type(rule), "list_conditions", lambda *_: [])


def turn_round(patch: pytest.MonkeyPatch, rule: Rule) -> None:
    change_conditions(patch, rule, lambda condition: ~Q(condition))


def take_null_the_other_way(patch: pytest.MonkeyPatch, rule: Rule) -> None:
    patch.setattr(type(rule), "null_is_unmet", not rule.null_is_unmet)


def ask_it_of_one_move_less(patch: pytest.MonkeyPatch, rule: Rule) -> None:
    patch.setattr(type(rule), "moves_to", tuple(rule.moves_to)[1:])


def ask_it_of_every_move(patch: pytest.MonkeyPatch, rule: Rule) -> None:
    patch.setattr(type(rule), "moves_to", EVERY_MOVE)


def take_the_facts_of_another(patch: pytest.MonkeyPatch, rule: Rule) -> None:
    def shift(condition: Q) -> Q:
        clients = all_clients().with_phase().with_revision().filter(condition).order_by()
        return Q(pk__in=[pk + 1 for pk in clients.values_list("pk", flat=True)])

    change_conditions(patch, rule, shift)


def change_conditions(patch: pytest.MonkeyPatch, rule: Rule, change: Callable[[Q], Q]) -> None:
    former = type(rule).list_conditions
    patch.setattr(
        type(rule),
        "list_conditions",
        lambda *given: [(blocker, change(each)) for blocker, each in former(*given)],
    )


Defect = Callable[[pytest.MonkeyPatch, Rule], None]


def list_defects(rule: Rule) -> list[Defect]:
    defects = [leave_out, turn_round, ask_it_of_one_move_less, take_the_facts_of_another]
    if rule.null_is_unmet is not None:  # else no condition of it can be NULL
        defects.append(take_null_the_other_way)
    if set(rule.moves_to) != set(EVERY_MOVE):
        defects.append(ask_it_of_every_move)
    return defects


# A rule that keeps whom it doesn't keep, or doesn't whom it does, has nothing to tell of some rows.
CANT_BE_TOLD = re.compile(
    r"doesn't say whether it is met|a message takes no NoneType"
    r"|'NoneType' object has no attribute 'astimezone'|Client has no read_count"
)


def is_found(defect: Defect, rule: Rule, right: dict[int, list[str]], pairs: list[Pair]) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        defect(patch, rule)
        keep_statement.cache_clear()
        return tell(rule, pairs) != right


def tell(rule: Rule, pairs: list[Pair]) -> dict[int, list[str]]:
    """Return what the rule alone says of each client before its move."""
    moves = {pk: pair.new for pair in pairs for pk in (pair.good, pair.bad)}
    ask = Ask(moves)
    rows = fetch_with_rules(ask, [rule], EVERY_MOVE)
    return {row.pk: tell_of_row(row, ask, moves[row.pk], rule) for row in rows}


def tell_of_row(row: Client, ask: Ask, new: Phase, rule: Rule) -> list[str]:
    try:
        return [line.code for line in list_checks(row, ask, new, [rule]) if not line.passed]
    except LookupError:
        return ["names none"]  # the run, or the login, of whom it doesn't keep
    except (AttributeError, ValueError, TypeError) as error:
        if CANT_BE_TOLD.search(str(error)):
            return ["can't be told"]
        raise


# Of several that keep a client, lists tell the first by rank


@pytest.mark.parametrize("new", EVERY_MOVE)
def test_of_two_rules_that_keep_a_client_lists_tell_the_first_by_rank(new):
    said = {
        rule.code: next(
            each
            for each in list_spoilt()
            if each.rule == rule.code and each.says and new in each.moves
        )
        for rule in BY_RANK
        if new in rule.moves_to
    }
    pairs = [pair for pair in pairwise(said.values()) if pair[0].blocker != pair[1].blocker]
    ids = make_ready(new, len(pairs))
    for pk, (first, second) in zip(ids, pairs, strict=True):
        second.spoil(pk)
        first.spoil(pk)

    listed = dict(with_blocker(all_clients().with_ids(ids)).values_list("pk", "blocker"))
    steps = judge_next_steps(ids)

    assert len(pairs) >= 2
    for pk, (first, second) in zip(ids, pairs, strict=True):
        assert {check.code for check in steps[pk].shut} >= {*first.says, *second.says}
        assert listed[pk] == steps[pk].blocker.code == first.blocker.code


def test_of_a_comparison_that_is_old_and_no_match_lists_tell_that_it_is_no_match(wanted):
    (pk,) = make_ready(Phase.AWS, 1)
    ClientMigration.objects.filter(pk=pk).update(
        comparison_status="different", compared_at=timezone.now() - timedelta(hours=1)
    )

    assert with_blocker(all_clients()).get(pk=pk).blocker == rules.DIFFERS.code


# Rules about the site as a whole

AN_OBJECT = NovaObject(ObjectKind.TRIGGER, "notify", "public.clients", "nova")
SITES = [
    ({"processes_seen": 0}, ["no_reader_process"], WANT_EVIDENCE),
    (
        {"counting_problem": rules.WERE_UNCOUNTED()},
        ["were_uncounted"],
        rules.AFTER_FIRST_PUSH,
    ),
    (
        {"writes": (Check("writes_stopped", False, WRITES_NOT_STOPPED()),)},
        ["writes_stopped"],
        EVERY_MOVE,
    ),
    (
        {"nova_tables": NovaTables(NovaSchema(()), [AN_OBJECT])},
        ["objects_unknown"],
        WANT_EVIDENCE,
    ),
]


def test_what_is_wrong_with_the_site_keeps_every_client_from_the_moves_that_ask_it():
    pairs = {new: make_ready(new, 1) for new in EVERY_MOVE}

    for facts, says, moves in SITES:
        site = SiteFacts()
        vars(site).update(facts)
        steps = judge_next_steps([pk for (pk,) in pairs.values()], site)
        ready = set(all_clients().filter(is_ready(site)).values_list("pk", flat=True))

        for new, (pk,) in pairs.items():
            lines = judge_gates(Ask([pk], site=site), new)[pk]
            shut = [line.code for line in lines if not line.passed]
            assert shut == [line.code for line in steps[pk].shut] == (says if new in moves else [])
            assert (pk in ready) == (new not in moves)
            assert steps[pk].standing == (Standing.BLOCKED if new in moves else Standing.READY)


def test_every_rule_is_in_a_gate_or_asked_by_the_push_and_each_code_is_its_own():
    codes = [rule.code for rule in (*BEFORE_PUSH, *GATE)]

    assert len(set(codes)) == len(codes)
    assert {type(rule) for rule in (*BEFORE_PUSH, *GATE)} == {
        *Rule.__subclasses__(),
        *SiteRule.__subclasses__(),
    }
    ranks = [rule.rank for rule in BY_RANK]
    assert len(set(ranks)) == len(ranks)


def test_a_campaign_has_words_for_whatever_passes_by_itself():
    for blocker in BLOCKERS.values():
        assert bool(blocker.awaited) or not blocker.passes_by_itself
        if blocker.awaited:
            assert "7" in str(blocker.awaited(7))


def test_who_is_gone_has_a_shut_gate_and_no_next_step(db):
    (line,) = judge_gates(Ask([999_999]), Phase.AWS)[999_999]
    step = judge_next_steps([999_999])[999_999]

    assert (line.code, line.passed) == (CLIENT_NOT_THERE.key, False)
    assert [each.code for each in step.shut] == [CLIENT_NOT_THERE.key]
    assert step.standing == Standing.BLOCKED


def test_a_rule_that_does_not_say_that_it_is_not_met_opens_no_gate(monkeypatch, wanted):
    (pk,) = make_ready(Phase.AWS, 1)
    monkeypatch.setattr(rules.InNoRun, "say", lambda *_: iter(()))
    assert all(line.passed for line in judge_gates(Ask([pk]), Phase.AWS)[pk])

    take_into_run(pk)

    with pytest.raises(ValueError, match="in_a_run doesn't say"):
        judge_gates(Ask([pk]), Phase.AWS)


@pytest.mark.parametrize("new", WANT_EVIDENCE)
def test_of_a_client_that_was_never_moved_nothing_was_counted(new):
    pk = make_full_client("never")

    failed = [line.evidence for line in judge_gates(Ask([pk]), new)[pk] if not line.passed]

    assert set(failed) >= {"", "streak", "time", "reads"}
    assert count_missing_kinds([pk], new)["streak"] == 1


def test_a_status_that_no_release_knows_is_no_match(wanted):
    (pk,) = make_ready(Phase.AWS, 1)
    ClientMigration.objects.filter(pk=pk).update(comparison_status="weird")

    failed = [line for line in judge_gates(Ask([pk]), Phase.AWS)[pk] if not line.passed]

    assert [(line.code, "Could not check" in str(line.text)) for line in failed] == [
        ("newest_comparison", True)
    ]
    assert judge_next_steps([pk])[pk].blocker == rules.DIFFERS


def test_a_blocker_is_the_same_in_every_language():
    numbers = dict.fromkeys(BLOCKERS.values(), 1)

    with translation.override("es"):
        assert all(numbers[blocker] == 1 for blocker in BLOCKERS.values())


@pytest.mark.parametrize("new", EVERY_MOVE)
def test_many_clients_take_as_many_queries_as_one(new):
    ids = make_ready(new, 12)

    def count(asked: list[int]) -> int:
        with CaptureQueriesContext(connection) as captured:
            judged = judge_gates(Ask(asked), new)
        assert set(judged) == set(asked)
        return len(captured)

    assert count(ids[:1]) == count(ids)


def test_all_of_a_page_are_judged_in_as_many_queries_whatever_their_phases():
    ids = [pk for new in EVERY_MOVE for pk in make_ready(new, 3)]

    def count(asked: list[int]) -> int:
        with CaptureQueriesContext(connection) as captured:
            judge_next_steps(asked)
        return len(captured)

    everywhere = ids[0], ids[3], ids[6], ids[9]
    assert count([*everywhere]) == count(ids)


# Statements that are put together once


@pytest.mark.parametrize("moves", [[new] for new in EVERY_MOVE] + [list(EVERY_MOVE)])
def test_a_kept_statement_is_for_each_ask_what_it_would_be_anew(moves, settings, db):
    asked = [rule for rule in BY_RANK if {*moves} & {*rule.moves_to}]

    for days in (0, 1, 400):
        for matches in (0, 3):
            settings.NOVA_CLEAN_STREAK = settings.NOVA_MIN_READS = matches
            settings.NOVA_DUAL_READ_HOURS = settings.NOVA_PURGE_AFTER_DAYS = days
            ask = Ask([9 + days, 8])
            ask.now += timedelta(days=days)
            vars(ask)["open_write_items"] = {8: RunItem()}
            vars(ask)["aws_login_tests"] = {9 + days: [LoginTest(outcome=LoginOutcome.REFUSED)]}
            assert ask.refused_in_aws == [9 + days]
            clients = all_clients().with_ids(ask.client_ids)
            anew = rules.annotate_rules(clients, ask, asked, moves).order_by()

            statements = []

            def note(execute, sql, params, many, context, noted=statements):
                noted.append((sql, *params))
                return execute(sql, params, many, context)

            with connection.execute_wrapper(note):
                rules.fetch_with_rules(ask, asked, moves)

            sql, params = anew.query.sql_with_params()
            assert statements == [(mark_statement(sql), *params)]


def test_an_id_that_is_no_integer_of_postgresql_is_nobodys(db):
    pk = make_full_client("idom")

    judged = judge_gates(Ask([pk, 2**31, 2**63, -1]), Phase.AWS)

    assert [pk for pk, (first, *_) in judged.items() if first.code == CLIENT_NOT_THERE.key] == [
        *(2**31, 2**63, -1)
    ]


def test_a_rule_that_asks_the_clock_itself_is_refused(monkeypatch, db):
    since = Q(client_migration__compared_at__gt=timezone.now())
    monkeypatch.setattr(rules.InNoRun, "list_conditions", lambda *_: [(rules.TAKEN_BY_RUN, since)])

    with pytest.raises(ValueError, match="asks the clock"):
        judge_gates(Ask([1]), Phase.AWS)


def test_lists_ask_all_clients_in_one_statement():
    make_full_client("idom")
    with CaptureQueriesContext(connection) as captured:
        assert [client.blocker for client in with_blocker(all_clients())] == [READY.code]

    assert len(captured) == 1
