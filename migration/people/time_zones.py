"""Shows times in the zone that each user chose, and has the page on which they choose it."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.urls import reverse_lazy
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.generic import FormView
from unfold.widgets import UnfoldAdminSelectWidget

from migration.core.pages import get_signed_in_user
from migration.people.models import TimeZoneChoice

# In the session, so that no page asks the database: every login reads the row, and a choice renews it.
TIME_ZONE = "time_zone"
# The rest are other names of these, of countries or of offsets.
PARTS_OF_THE_WORLD = {
    *("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe"),
    *("Indian", "Pacific"),
}


@cache
def list_time_zones() -> dict[str, list[str]]:
    """Return the names of the zones by part of the world, the site's own first."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(available_timezones()):
        part, _slash, place = name.partition("/")
        if place and part in PARTS_OF_THE_WORLD:
            found[part].append(name)
    return {settings.TIME_ZONE: [settings.TIME_ZONE]} | found


def find_time_zone(name: object) -> ZoneInfo | None:
    """Return the zone of this name; None, which is the site's own, where there is none."""
    is_known = any(name in names for names in list_time_zones().values())
    return ZoneInfo(str(name)) if is_known else None


@receiver(user_logged_in, dispatch_uid="migration.read_time_zone")
def read_time_zone(request: HttpRequest, user: User, **_kwargs: object) -> None:
    """Note the user's zone in the session that begins."""
    if chosen := TimeZoneChoice.objects.filter(pk=user.pk).first():
        request.session[TIME_ZONE] = chosen.name


class TimeZoneForm(forms.Form):
    zone = forms.ChoiceField(label=_("Time zone"), widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["zone"].choices = [  # type: ignore[attr-defined]
            (part, [(name, name.removeprefix(f"{part}/").replace("_", " ")) for name in names])
            for part, names in list_time_zones().items()
        ]


class TimeZoneView(FormView):  # type: ignore[type-arg]  # it takes none at run time
    """The page on which users choose the zone in which they read times. It changes nobody else's."""

    template_name = "admin/time_zone.html"
    form_class = TimeZoneForm
    success_url = reverse_lazy("admin:time_zone")

    def get_initial(self) -> dict[str, object]:
        return {"zone": self.request.session.get(TIME_ZONE, settings.TIME_ZONE)}

    def form_valid(self, form: TimeZoneForm) -> HttpResponse:
        name = form.cleaned_data["zone"]
        user = get_signed_in_user(self.request)
        TimeZoneChoice.objects.update_or_create(user=user, defaults={"name": name})
        self.request.session[TIME_ZONE] = name
        messages.success(self.request, _("Times are shown in %(zone)s.") % {"zone": name})
        return super().form_valid(form)

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        shown = admin.site.each_context(self.request) | {
            "title": _("Time zone"),
            "now": timezone.now(),
        }
        return super().get_context_data(**shown, **kwargs)
