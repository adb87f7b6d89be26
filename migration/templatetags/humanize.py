"""The filter `intcomma` in place of Django's library of this name, by the rule of each language."""

from django import template

from credentials.localization import intcomma

register = template.Library()
register.filter("intcomma", intcomma)
