"""Encrypts what second factors are made of, for allauth, which stores it. The keys are derived from SECRET_KEY."""

from __future__ import annotations

from base64 import urlsafe_b64encode

from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac

SALT = "nova_admin.second_factor"


class UnreadableFactorError(Exception):
    """A second factor was encrypted with a key that this site no longer has."""


class FactorAdapter(DefaultMFAAdapter):
    """Has allauth store secrets and seeds of recovery codes encrypted. The newest key encrypts, all of them decrypt."""

    def encrypt(self, text: str) -> str:
        return _make_ciphers().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return the text; raises UnreadableFactorError where it was encrypted with none of the keys."""
        try:
            return _make_ciphers().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            raise UnreadableFactorError from None


def encrypt_anew(encrypted_text: str) -> str:
    """Decrypt, and encrypt with the newest key; raises UnreadableFactorError as `decrypt` does."""
    try:
        return _make_ciphers().rotate(encrypted_text.encode()).decode()
    except InvalidToken:
        raise UnreadableFactorError from None


def _make_ciphers() -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    derived = (salted_hmac(SALT, "", secret=key, algorithm="sha256").digest() for key in keys)
    return MultiFernet([Fernet(urlsafe_b64encode(key)) for key in derived])
