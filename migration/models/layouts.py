"""Owns which secrets a client has: in which layout, and whether those of the other layout are there too."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from credentials.secret_names import configured_layout
from nova_credentials.document import Layout


class LayoutChoices(models.TextChoices):
    """The layouts, as pages call them."""

    CLIENT = Layout.CLIENT.value, _("One secret per client")
    SERVICE = Layout.SERVICE.value, _("One secret per service")


class OtherSecrets(models.TextChoices):
    """What the secrets of a client's other layout are, where there may be some."""

    # A change of layout began to write them. Nobody reads them, and if it isn't finished they go.
    BEGUN = "begun", _("Begun")
    # They were the client's own before a change. Every write goes to them too, until they go.
    KEPT = "kept", _("Kept")


def find_layout(stored: str | None) -> Layout:
    """Return a client's layout; the settings decide for a client that has none stored."""
    return Layout(stored) if stored else configured_layout()


def has_layout(layout: Layout) -> models.Q:
    """Return the condition that this is a client's layout, stored or by the settings."""
    stored = models.Q(client_migration__layout=layout)
    if layout == configured_layout():
        stored |= models.Q(client_migration__layout=None)
    return stored


def find_other_layout(layout: Layout) -> Layout:
    """Return the layout that is not this one."""
    return next(other for other in Layout if other != layout)
