"""Says on the page of a user how they log in."""

from django import template
from django.contrib.auth.models import User

from migration.people.roles import logs_in_by_provider

register = template.Library()


@register.filter
def has_provider_login(user: User) -> bool:
    """Say whether the user logs in by OpenID Connect."""
    return logs_in_by_provider(user)
