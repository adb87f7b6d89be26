"""Onboarding with a run: the page that adds a client also offers to migrate it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfold.widgets import CHECKBOX_CLASSES

from credentials.onboarding_views import OnboardClientView
from migration.admin.base import RUN_PERMISSION
from migration.admin.legacy_import import get_legacy_url
from migration.admin.new_login_tests import link_new_test
from migration.admin.run_starts import start_run
from migration.models.clients import all_clients
from migration.models.runs import Run
from migration.operations.saves import record_save
from migration.people.roles import LEGACY_IMPORT_PERMISSIONS

if TYPE_CHECKING:
    from credentials.models import Client
    from credentials.onboarding import OnboardingForms


class OnboardAndMigrateView(OnboardClientView):
    """The onboarding page with a test of each login and a checkbox that starts a run over the new client."""

    template_name = "admin/migration/client_onboard.html"

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        context = super().get_context_data(**kwargs)
        for section in context.get("sections", ()):
            section["test"] = link_new_test(self.request, section["form"], None)
        return context | {
            "may_run": self.request.user.has_perm(RUN_PERMISSION),
            "legacy_url": self.request.user.has_perms(LEGACY_IMPORT_PERMISSIONS)
            and get_legacy_url(),
            "migrate_now": "migrate_now" in self.request.POST,
            "checkbox_classes": " ".join(CHECKBOX_CLASSES),
        }

    def act_before_commit(self, client: Client, forms: OnboardingForms) -> None:
        record_save(client, [forms.client, *forms.filled_logins.values()], added=True)

    def act_after_commit(self, client: Client) -> None:
        if "migrate_now" in self.request.POST and self.request.user.has_perm(RUN_PERMISSION):
            start_run(self.request, Run.Kind.MIGRATE, all_clients().filter(pk=client.pk))
