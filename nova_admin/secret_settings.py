"""Reads the settings of what secrets have beside their values: the KMS key, and the regions with replicas."""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import ImproperlyConfigured

from nova_admin.environment import Environment, parse_region, split_at_commas
from nova_credentials.aws.kms_keys import KeyName

# An unset variable leaves replicas as they are; this word wants none.
NO_REGIONS = "none"

Replicas = dict[str, str]  # region -> KMS key there


def parse_kms_key(value: str) -> str:
    """Return the key's id, alias or ARN; raises ValueError for what names none."""
    KeyName.parse(value)
    return value


def parse_replica_regions(value: str) -> Replicas:
    """Split the value at its commas into REGION or REGION=KEY; raises ValueError."""
    if value.strip().lower() == NO_REGIONS:
        return {}
    replicas: Replicas = {}
    for part in split_at_commas(value):
        region, _equals, key = (each.strip() for each in part.partition("="))
        if parse_region(region) in replicas:
            raise ValueError("a region is named twice")
        if region == NO_REGIONS:
            raise ValueError(f"regions and {NO_REGIONS} at once")
        replicas[region] = parse_kms_key(key) if key else ""
    if not replicas:  # of commas alone: nobody wants all replicas removed by these
        raise ValueError(f"without a region; {NO_REGIONS} wants none")
    return replicas


SCHEME: dict[str, tuple[Callable[[str], object], object]] = {
    "NOVA_KMS_KEY_ID": (parse_kms_key, ""),
    "NOVA_REPLICA_REGIONS": (parse_replica_regions, None),
}


def read_secret_settings(env: Environment) -> tuple[str, Replicas | None]:
    """Return the key ("": left as it is) and the replicas (None: left as they are).

    Raises ImproperlyConfigured where a key isn't in the region that it is for, or a replica would have none.
    """
    home, key, replicas = (
        str(env("AWS_REGION")),
        str(env("NOVA_KMS_KEY_ID")),
        env("NOVA_REPLICA_REGIONS"),
    )
    _require_region("NOVA_KMS_KEY_ID", key, home)
    if replicas is None:
        return key, None
    if home in replicas:
        raise ImproperlyConfigured(
            f"NOVA_REPLICA_REGIONS names {home}, where the secrets are: see AWS_REGION."
        )
    for region, named in replicas.items():
        _require_region("NOVA_REPLICA_REGIONS", named, region)
        replicas[region] = named or _find_key_there(key, region)
    return key, replicas


def _require_region(variable: str, key: str, region: str) -> None:
    named = KeyName.parse(key).region
    if named not in ("", region):
        raise ImproperlyConfigured(
            f"{variable} names a KMS key in {named}: a secret in {region} needs one there."
        )


def _find_key_there(key: str, region: str) -> str:
    """Return the key of a replica for which none is named: AWS's own only where the secret has it, too."""
    there = KeyName.parse(key).find_name_in_region(region)
    if not there:
        raise ImproperlyConfigured(
            f"NOVA_REPLICA_REGIONS names no key for {region}, and that of NOVA_KMS_KEY_ID is in one region only."
            f" Name one: {region}=KEY."
        )
    return there if key else ""
