"""Judges whether a client's slug can be part of its secrets' names, beside others'; owns the layout of new clients."""

from __future__ import annotations

from django.conf import settings

from credentials.localization import localize
from credentials.models import Client
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


def find_slug_in_other_case(slug: str, *, of: Client) -> str | None:
    """Return the slug of another client that differs from this one in capital letters alone; None if there is none."""
    others = Client.objects.order_by().filter(slug__iexact=slug).exclude(slug=slug)
    others = others.exclude(pk=of.pk)
    return others.values_list("slug", flat=True).first()


def configured_layout() -> Layout:
    """Return whether a client that has no secret yet gets one, or one for each service, as the settings say."""
    return Layout(settings.NOVA_SECRET_LAYOUT)
