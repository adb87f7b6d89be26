"""Says on the page of a user whether they have a second factor."""

from django import template
from django.contrib.auth.models import User

from migration.operations.second_factors import has_second_factor

register = template.Library()


@register.filter
def has_factor(user: User) -> bool:
    """Say whether the user has a second factor."""
    return has_second_factor(user)
