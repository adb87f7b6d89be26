"""Refuses names of the site in production that let others in: what ALLOWED_HOSTS and CSRF_TRUSTED_ORIGINS may hold."""

import re

from django.core.exceptions import ImproperlyConfigured


def require_hosts_or_domains(hosts: list[str]) -> None:
    """Raise ImproperlyConfigured where an entry of ALLOWED_HOSTS lets in any name, or can't be one."""
    if not all(map(is_host_or_domain, hosts)):
        raise ImproperlyConfigured(
            "ALLOWED_HOSTS has an entry that lets any name in, or is no host name. Name each host"
            " (nova.example.com), or a domain with all below it (.example.com), without scheme and port."
        )


def require_https_origins(origins: list[str]) -> None:
    """Raise ImproperlyConfigured for an entry of CSRF_TRUSTED_ORIGINS that isn't https:// and a host or domain."""
    for origin in origins:
        parts = re.fullmatch(r"https://(?:\*(?=\.))?([^:/]+|\[[^\]/]*\])(?::[0-9]{1,5})?", origin)
        if parts is None or not is_host_or_domain(parts[1]):
            raise ImproperlyConfigured(
                "CSRF_TRUSTED_ORIGINS has an entry that isn't https:// and a host"
                " (https://nova.example.com, https://*.example.com), so others could post forms."
            )


def is_host_or_domain(text: str) -> bool:
    """Say whether it is a host's name or address, or a dot and a domain of at least two parts."""
    if re.fullmatch(r"\[[0-9A-Fa-f:.]+\]", text):
        return True
    name = text.removeprefix(".")
    label = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
    return bool(re.fullmatch(rf"{label}(\.{label})*", name)) and (name == text or "." in name)
