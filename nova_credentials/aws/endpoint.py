"""Decides at which address Secrets Manager is asked: one variable names it, and no other may. Knows no boto3.

boto3 itself would also take AWS_ENDPOINT_URL, which is meant for all services, and its configuration file's
`endpoint_url`: whoever sets these for S3, say, would get asked for every secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    class _BotocoreSession(Protocol):
        @property
        def full_config(self) -> Any: ...
        def get_scoped_config(self) -> Any: ...


VARIABLE, GENERIC_VARIABLE = "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"
NAME_IT = (
    f"Unset it, or name the address of Secrets Manager itself in {VARIABLE}"
    " (AWS's own is https://secretsmanager.us-east-1.amazonaws.com, with your region)."
)


def read_endpoint(environment: Mapping[str, str]) -> str | None:
    """Return the address that the environment names; None means AWS's own. RuntimeError says what to set."""
    endpoint = environment.get(VARIABLE, "").strip()
    if endpoint:
        if not _is_private(endpoint):
            raise RuntimeError(f"{VARIABLE} must be https://…; http:// is for this machine alone.")
        return endpoint
    if environment.get(GENERIC_VARIABLE, "").strip():
        raise RuntimeError(
            f"{GENERIC_VARIABLE} is for all services of AWS, so no secret is read there. {NAME_IT}"
        )
    return None


def refuse_configured_endpoint(session: _BotocoreSession) -> None:
    """Raise RuntimeError where boto3's configuration file names another address for Secrets Manager."""
    profile = session.get_scoped_config()
    services = session.full_config.get("services", {}).get(profile.get("services"), {})
    own = services.get("secrets_manager", {})
    if "endpoint_url" in profile or (isinstance(own, dict) and "endpoint_url" in own):
        raise RuntimeError(
            f"endpoint_url in boto3's configuration file is not used for secrets. {NAME_IT}"
        )


def _is_private(endpoint: str) -> bool:
    """Say whether nobody on the way can read what is sent there."""
    try:
        parts = urlsplit(endpoint)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))
    )


def _is_this_machine(host: str) -> bool:
    from ipaddress import ip_address  # a few ms that most processes never need

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
