"""NOVA's module of credentials, after the adoption: this one line."""

from nova_credentials.reader import *  # noqa: F403
