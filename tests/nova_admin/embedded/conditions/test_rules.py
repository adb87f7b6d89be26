"""Which calls a fault's rule strikes."""

from collections import Counter

import pytest

from nova_admin.embedded.faults import Fault, FaultInjector, FaultRule, mixed_rules
from tests.nova_admin.embedded.conditions.calls import Clock


def drawn(rules, *operations, seed=0, clock=None):
    faults = FaultInjector(rules, seed=seed, clock=clock or Clock())
    return [
        rule.fault if (rule := faults.draw_rule(operation)) else None for operation in operations
    ]


def test_a_rule_strikes_so_many_calls():
    rules = [FaultRule(fault=Fault.RESET, calls=2)]
    assert drawn(rules, *["GetSecretValue"] * 4) == [Fault.RESET, Fault.RESET, None, None]


def test_a_rule_strikes_certain_operations():
    rules = [FaultRule(fault=Fault.DENIED, operations=("CreateSecret", "TagResource"))]
    assert drawn(rules, "CreateSecret", "GetSecretValue", "TagResource") == [
        Fault.DENIED,
        None,
        Fault.DENIED,
    ]


def test_a_rule_strikes_for_some_seconds():
    clock = Clock()
    faults = FaultInjector([FaultRule(fault=Fault.DOWN, seconds=5)], clock=clock)
    assert faults.draw_rule("CreateSecret")
    clock.now += 4.9
    assert faults.draw_rule("CreateSecret")
    clock.now += 0.1
    assert faults.draw_rule("CreateSecret") is None


def test_a_mix_strikes_its_share_of_the_calls_with_every_fault_as_often():
    operations = ["PutSecretValue"] * 50_000
    counts = Counter(drawn(mixed_rules(0.1), *operations))
    assert 1 - counts[None] / 50_000 == pytest.approx(0.1, abs=0.005)
    assert set(counts) == {*Fault, None}
    assert all(counts[fault] == pytest.approx(500, rel=0.25) for fault in Fault)


def test_a_mix_may_last_longer_than_a_refusal_of_all():
    assert {rule.seconds for rule in mixed_rules(0.1, seconds=600)} == {600}


def test_the_same_seed_strikes_the_same_calls():
    operations = ["PutSecretValue"] * 200
    first, again, other = (drawn(mixed_rules(0.5), *operations, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_probabilities_add_up_to_certainty():
    rules = mixed_rules(1, (Fault.RESET, Fault.LOST))
    assert set(drawn(rules, *["CreateSecret"] * 200)) == {Fault.RESET, Fault.LOST}
