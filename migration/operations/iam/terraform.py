"""Writes a role's policy as Terraform (HCL). Knows no role and no fact: it only writes statements down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.iam.policies import Statement


def write_terraform(name: str, statements: list[Statement]) -> str:
    """Return a policy document and a policy of this name (letters and digits)."""
    return "\n".join(_list_lines(name, statements)) + "\n"


def _list_lines(name: str, statements: list[Statement]) -> Iterator[str]:
    yield f'data "aws_iam_policy_document" "nova_{name}" {{'
    for statement in statements:
        yield "  statement {"
        yield f"    sid       = {_quote(statement.sid)}"
        yield '    effect    = "Allow"'
        yield f"    actions   = {_quote_list(statement.actions)}"
        yield f"    resources = {_quote_list(statement.resources)}"
        for test, values_of in statement.conditions.items():
            for variable, values in values_of.items():
                listed = [values] if isinstance(values, str) else values
                yield "    condition {"
                yield f"      test     = {_quote(test)}"
                yield f"      variable = {_quote(variable)}"
                yield f"      values   = {_quote_list(listed)}"
                yield "    }"
        yield "  }"
    yield "}"
    yield ""
    yield f'resource "aws_iam_policy" "nova_{name}" {{'
    yield f'  name   = "nova-{name}"'
    yield f"  policy = data.aws_iam_policy_document.nova_{name}.json"
    yield "}"


def _quote_list(texts: list[str]) -> str:
    return f"[{', '.join(map(_quote, texts))}]"


def _quote(text: str) -> str:
    """Quote a text for HCL, in which ${ and %{ would begin an expression."""
    return json.dumps(text).replace("${", "$${").replace("%{", "%%{")
