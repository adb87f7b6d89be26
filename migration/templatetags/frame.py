"""What the frame of every page shows: its title, and the way back to the list or the object that it belongs to."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.template import Context, Library
from django.urls import NoReverseMatch, reverse
from django.utils.text import capfirst

from migration.site.menu import find_here

register = Library()


@dataclass(frozen=True)
class Heading:
    """The title of a page, and labels with addresses of what it stands below."""

    title: str
    above: list[tuple[str, str]]


@register.simple_tag(takes_context=True)
def find_heading(context: Context) -> Heading:
    """Return the page's heading: a page of the menu is called what the menu calls it."""
    request, original = context["request"], context.get("original")
    here = find_here(request) if request.user.is_authenticated else None
    # The list of clients answers with the page of an act on those that are selected: it has a title of its own.
    if here and here.is_place and not context.get("is_own_page"):
        return Heading(here.place.title, [])
    cl = context.get("cl")
    title = str(capfirst(cl.opts.verbose_name_plural) if cl else _read_title(context))
    # A page that belongs to no entry may say itself what it stands below.
    above = list(context.get("above") or ())
    if here and here.place.may_open(request):
        above.append((here.place.title, here.place.url))
    if (
        isinstance(original, Model)
        and str(original) != title
        and (url := _find_url(request, original))
    ):
        above.append((str(original), url))
    return Heading(title, above)


def _read_title(context: Context) -> Any:
    # Of an object's form Django's title is "Change user", and its subtitle the object.
    return context.get("subtitle") or context.get("title") or ""


def _find_url(request: Any, original: Model) -> str:
    """Return the address of the object's page, if the user may open it."""
    meta = original._meta
    if not request.user.has_perm(f"{meta.app_label}.view_{meta.model_name}"):
        return ""
    try:
        return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[original.pk])
    except NoReverseMatch:
        return ""
