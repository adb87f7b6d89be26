"""Decides whether policies allow a request, as IAM does it. Strict: what it doesn't know is an error, never a yes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Value = str | tuple[str, ...]
STATEMENT_KEYS = {"Sid", "Effect", "Action", "Resource", "Condition"}


@dataclass(frozen=True)
class Request:
    """One permission that a call needs, on which resource, and what IAM knows of the call."""

    action: str
    resource: str
    context: Mapping[str, Value] = field(default_factory=dict)


def allows(policies: Iterable[dict[str, Any]], request: Request) -> bool:
    """Whether some statement allows it and none denies it."""
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in _statements(policy)
        if _applies(statement, request)
    }
    return effects == {"Allow"}


def _statements(policy: dict[str, Any]) -> list[dict[str, Any]]:
    assert policy.keys() == {"Version", "Statement"}, policy.keys()
    assert policy["Version"] == "2012-10-17"
    for statement in policy["Statement"]:
        assert statement.keys() <= STATEMENT_KEYS, statement.keys()
        assert statement["Effect"] in ("Allow", "Deny")
    return policy["Statement"]


def _applies(statement: dict[str, Any], request: Request) -> bool:
    return (
        any(matches(a.lower(), request.action.lower()) for a in _listed(statement["Action"]))
        and any(matches(r, request.resource) for r in _listed(statement["Resource"]))
        and all(
            _holds(operator, key, _listed(wanted), request.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(c, re.escape(c)) for c in pattern), re.DOTALL)


def matches(pattern: str, text: str) -> bool:
    """IAM's wildcards: any number of characters, slashes too, or just one."""
    return _pattern(pattern).fullmatch(text) is not None


COMPARISONS = {
    "StringEquals": lambda wanted, given: wanted == given,
    "StringLike": matches,
    "NumericGreaterThanEquals": lambda wanted, given: float(given) >= float(wanted),
}


def _holds(operator: str, key: str, wanted: list[str], context: Mapping[str, Value]) -> bool:
    """A key that the call doesn't have holds for nothing but ForAllValues."""
    many, _, name = operator.rpartition(":")
    compare = COMPARISONS[name]
    names = {known.lower(): value for known, value in context.items()}
    value = names.get(key.lower())
    if not many:
        assert not isinstance(value, tuple), f"{key} has several values"
        return value is not None and any(compare(each, value) for each in wanted)
    given = () if value is None else (value,) if isinstance(value, str) else value
    judged = (any(compare(each, one) for each in wanted) for one in given)
    return {"ForAllValues": all, "ForAnyValue": any}[many](judged)
