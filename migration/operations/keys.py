"""The keys of this site's digests, and what is made with them. Knows no store."""

from __future__ import annotations

import hmac

from django.utils.crypto import salted_hmac


def fingerprint_key(client_id: int) -> bytes:
    """The key of the short codes in a client's comparisons: equal values of two clients have different codes."""
    root = keyed_digest("fingerprint").encode()
    return hmac.digest(root, f"client {client_id}".encode(), "sha256")


def keyed_digest(purpose: str, *parts: str) -> str:
    """64 hexadecimal digits that only this site can compute."""
    # The lengths keep ("ab", "c") apart from ("a", "bc").
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return salted_hmac(f"nova_admin.{purpose}", text, algorithm="sha256").hexdigest()
