"""Knows how KMS keys are named, and when two names are of one key. Asks nobody."""

from __future__ import annotations

import re
from dataclasses import dataclass

# AWS's own key for Secrets Manager, which costs nothing; DescribeSecret leaves it out.
AWS_KEY = "alias/aws/secretsmanager"
KMS_ARN = re.compile(
    r"arn:(?P<partition>[a-z0-9-]+):kms:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):"
    r"(?:key/(?P<key>[A-Za-z0-9-]+)|(?P<alias>alias/[A-Za-z0-9/_-]+))"
)
KMS_NAME = re.compile(r"(?:alias/[A-Za-z0-9/_-]+|(?:mrk-)?[A-Fa-f0-9-]{32,40})")


@dataclass(frozen=True)
class KeyName:
    """A key as somebody named it. `name` is an alias (alias/…) or an id; only an ARN has the rest."""

    name: str
    region: str = ""
    account: str = ""
    partition: str = ""

    @classmethod
    def parse(cls, text: str) -> KeyName:
        """Read a key's id, alias or ARN; nothing is AWS's own key. Raises ValueError for what names none."""
        if found := KMS_ARN.fullmatch(text):
            name = found["key"] or found["alias"]
            return cls(name, found["region"], found["account"], found["partition"])
        if text and not KMS_NAME.fullmatch(text):
            raise ValueError("not a KMS key's id, alias (alias/…) or ARN")
        return cls(text or AWS_KEY)

    @property
    def is_alias(self) -> bool:
        return self.name.startswith("alias/")

    @property
    def is_aws_own(self) -> bool:
        return self.name == AWS_KEY

    def find_name_in_region(self, region: str) -> str:
        """Return the name by which another region can have the same key: an alias, a multi-Region key; else nothing.

        Of an ARN it is an ARN: the bare name would be looked for in the secret's account.
        """
        if not (self.is_alias or self.name.startswith("mrk-")):
            return ""
        resource = self.name if self.is_alias else f"key/{self.name}"
        arn = f"arn:{self.partition}:kms:{region}:{self.account}:{resource}"
        return arn if self.account else self.name


def is_same_key(one: str, other: str) -> bool | None:
    """Say whether both name the same key; None where that can't be told: one is an alias, the other an id."""
    try:
        first, second = KeyName.parse(one), KeyName.parse(other)
    except ValueError:
        return one == other
    if first.is_alias != second.is_alias:
        # AWS never names its own key by its id.
        return False if first.is_aws_own or second.is_aws_own else None
    pairs = ((first.region, second.region), (first.account, second.account))
    differs = any(a and b and a != b for a, b in pairs)
    # Ids are hexadecimal; aliases that differ by their letters' case are two.
    names = {each.name if each.is_alias else each.name.lower() for each in (first, second)}
    return len(names) == 1 and not differs
