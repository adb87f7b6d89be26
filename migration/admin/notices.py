"""The page of the notices: which events are told on which channel, whom they reach, and a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from unfold.widgets import CHECKBOX_CLASSES

from migration.core.clients import SET_NOTICES
from migration.core.notices import (
    CHOSEN_EVENTS,
    Notice,
    NoticeDelivery,
    NoticeEvent,
    NoticeSwitch,
    NoticeWay,
)
from migration.core.pages import AdminView, add_pages, get_signed_in_user, read_number
from migration.operations.notices import (
    list_recipient_reports,
    send_test_to_recipients,
    set_switches,
)

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

NEWEST_SHOWN = 20
# Who presses the button waits no longer; the workers try the rest.
TEST_SECONDS = 15.0


def get_notices_url() -> str:
    return reverse("admin:migration_run_notices")


class NoticesView(AdminView):
    """The page that says and sets what is told by mail and by webhook; a few queries however many notices there are."""

    template_name = "admin/migration/notices.html"
    is_of_site = True
    permission_required = SET_NOTICES

    @property
    def title(self) -> str:
        return _("Notices")

    def get(self, request: HttpRequest) -> HttpResponse:
        switches = NoticeSwitch.objects.in_bulk()
        tested = NoticeDelivery.objects.none()
        # The page shows how the test went that was just sent from it.
        if test_id := read_number(request.GET.get("test", "")):
            tested = NoticeDelivery.objects.filter(notice=test_id, notice__event=NoticeEvent.TEST)
        context = self.get_context_data(
            events=[
                (event, switches.get(event) or NoticeSwitch(event=event)) for event in CHOSEN_EVENTS
            ],
            recipients=list_recipient_reports(),
            tested=tested.order_by("pk"),
            newest=Notice.objects.prefetch_related("deliveries")[:NEWEST_SHOWN],
            checkbox_classes=" ".join(CHECKBOX_CLASSES),
        )
        return self.render_to_response(context)

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        """Set the events that the page showed."""
        fields = request.POST
        changed = set_switches(
            fields.getlist("shown"),
            by_mail=fields.getlist(NoticeWay.MAIL),
            by_webhook=fields.getlist(NoticeWay.WEBHOOK),
            by=get_signed_in_user(request),
        )
        if changed:
            messages.success(request, _("The notices are set."))
        else:
            messages.info(request, _("Nothing was changed."))
        return HttpResponseRedirect(get_notices_url())


class TestNoticesView(AdminView):
    """Sends a test to every recipient, and shows what came of it."""

    permission_required = SET_NOTICES

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        notice = send_test_to_recipients(by=get_signed_in_user(request), seconds=TEST_SECONDS)
        return HttpResponseRedirect(f"{get_notices_url()}?test={notice.pk}")


add_pages(
    "run",
    ("notices/", "notices", NoticesView),
    ("notices/test/", "test_notices", TestNoticesView),
)
