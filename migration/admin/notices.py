"""The page of the notices: whom they reach, which events go on which way, and a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from unfold.widgets import CHECKBOX_CLASSES

from migration.admin.base import AdminView, get_signed_in_user, read_number
from migration.operations.notice_rules import set_notice_rules_of_site
from migration.operations.notice_sending import send_test_to_recipients
from migration.reports.notices import load_notices

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

SET_NOTICES = "migration.set_notices"
# Who presses the button waits no longer; the workers try the rest.
TEST_SECONDS = 15.0


def get_notices_url() -> str:
    return reverse("admin:migration_run_notices")


class NoticesView(AdminView):
    """The page that says which events go to whom, by mail or webhook, and shows the newest notices."""

    template_name = "admin/migration/notices.html"
    is_of_site = True
    permission_required = SET_NOTICES

    @property
    def title(self) -> str:
        return _("Notices")

    def get(self, request: HttpRequest) -> HttpResponse:
        report = load_notices(read_number(request.GET.get("test", "")))
        classes = " ".join(CHECKBOX_CLASSES)
        return self.render_to_response(
            self.get_context_data(notices=report, checkbox_classes=classes)
        )


class SetNoticeRulesView(AdminView):
    """Sets on which ways each event goes that the page showed."""

    permission_required = SET_NOTICES

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        fields = request.POST
        changed = set_notice_rules_of_site(
            fields.getlist("shown"),
            by_mail=fields.getlist("mail"),
            by_webhook=fields.getlist("webhook"),
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
