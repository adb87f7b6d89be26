"""Judges whether a client's slug can be part of its secrets' names, and owns the layout of new clients."""

from __future__ import annotations

from django.conf import settings

from credentials.localization import localize
from nova_credentials import document as documents
from nova_credentials.document import Layout


def find_name_problem(slug: str, layout: Layout | None = None) -> str | None:
    """Say, in the page's language, why no secret can be named after this slug; None if one can."""
    problem = documents.name_problem(
        slug, prefix=settings.NOVA_SECRET_PREFIX, layout=layout or configured_layout()
    )
    return localize(problem) or None


def find_name_warning(slug: str, layout: Layout | None = None) -> str | None:
    """Say, in the page's language, what is risky about a secret named after this slug; None if nothing is."""
    warning = documents.warn_of_arn_like_name(
        slug, prefix=settings.NOVA_SECRET_PREFIX, layout=layout or configured_layout()
    )
    return localize(warning) or None


def configured_layout() -> Layout:
    """Return whether a client that has no secret yet gets one, or one for each service, as the settings say."""
    return Layout(settings.NOVA_SECRET_LAYOUT)
