"""The evaluator by which the policies are judged: it says yes to nothing that IAM would refuse."""

import pytest

from tests.migration.doctor.iam.evaluator import Request, allows

READ, ARN = (
    "secretsmanager:GetSecretValue",
    "arn:aws:secretsmanager:us-east-1:1:secret:nova/a-abcdef",
)


def policy(*statements):
    made = [
        {"Effect": "Allow", "Action": READ, "Resource": "*", **statement}
        for statement in statements
    ]
    return {"Version": "2012-10-17", "Statement": made}


def test_what_nothing_allows_is_refused_and_deny_wins():
    assert not allows([policy()], Request(READ, ARN))
    assert allows([policy({})], Request(READ, ARN))
    assert not allows([policy({}), policy({"Effect": "Deny"})], Request(READ, ARN))


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("secretsmanager:Get*", "*", True),
        ("SecretsManager:getsecretvalue", "*", True),
        ("secretsmanager:Put*", "*", False),
        (READ, ARN, True),
        (READ, ARN.upper(), False),
        (READ, "arn:aws:secretsmanager:us-east-1:1:secret:nova/a-??????", True),
        (READ, "arn:aws:secretsmanager:us-east-1:1:secret:nova/a-?????", False),
        (READ, "arn:aws:secretsmanager:*:1:secret:nova/*", True),
        (READ, "arn:aws:secretsmanager:us-east-1:1:secret:nova/[a-z]*", False),
    ],
)
def test_wildcards(action, resource, allowed):
    judged = allows([policy({"Action": [action], "Resource": [resource]})], Request(READ, ARN))

    assert judged == allowed


@pytest.mark.parametrize(
    ("condition", "context", "allowed"),
    [
        ({"StringEquals": {"a": "x"}}, {"A": "x"}, True),
        ({"StringEquals": {"a": ["x", "y"]}}, {"a": "y"}, True),
        ({"StringEquals": {"a": "x*"}}, {"a": "xy"}, False),
        ({"StringLike": {"a": "x*"}}, {"a": "xy"}, True),
        ({"StringEquals": {"a": "x"}}, {}, False),
        ({"StringEquals": {"a": "x", "b": "y"}}, {"a": "x"}, False),
        ({"StringEquals": {"a": "x"}, "StringLike": {"b": "y"}}, {"a": "x", "b": "z"}, False),
        ({"NumericGreaterThanEquals": {"a": "30"}}, {"a": "30"}, True),
        ({"NumericGreaterThanEquals": {"a": "30"}}, {"a": "7"}, False),
        ({"NumericGreaterThanEquals": {"a": "30"}}, {}, False),
        ({"ForAllValues:StringEquals": {"a": ["x", "y"]}}, {"a": ("x",)}, True),
        ({"ForAllValues:StringEquals": {"a": ["x", "y"]}}, {"a": ("x", "z")}, False),
        ({"ForAllValues:StringEquals": {"a": ["x"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"a": ["x"]}}, {"a": ("z", "x")}, True),
        ({"ForAnyValue:StringEquals": {"a": ["x"]}}, {}, False),
    ],
)
def test_conditions(condition, context, allowed):
    assert allows([policy({"Condition": condition})], Request(READ, ARN, context)) == allowed


@pytest.mark.parametrize(
    "unknown",
    [
        {"NotAction": "x"},
        {"Condition": {"StringNotEquals": {"a": "x"}}},
        {"Condition": {"ForSomeValues:StringEquals": {"a": "x"}}},
    ],
)
def test_what_it_does_not_know_is_an_error(unknown):
    with pytest.raises((AssertionError, KeyError)):
        allows([policy(unknown)], Request(READ, ARN, {"a": "x"}))
