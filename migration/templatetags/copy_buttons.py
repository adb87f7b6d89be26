"""The button beside a name or an id that copies it. Hidden where the browser has no scripts or no clipboard."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

register = template.Library()


@register.simple_tag
def copy_button(text: str) -> SafeString:
    """Return the button that copies this text, which must be no secret."""
    label = _("Copy %(text)s") % {"text": text}
    return format_html(
        '<button type="button" class="copy-button" data-copy="{}" data-copied="{}" aria-label="{}" title="{}" hidden>'
        '<span class="material-symbols-outlined" aria-hidden="true">content_copy</span></button>',
        text,
        _("Copied."),
        label,
        label,
    )
