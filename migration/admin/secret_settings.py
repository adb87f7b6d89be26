"""The page that compares secrets with the settings, shows what a run would do, and starts it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseRedirect
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from credentials.prices import SECRET_A_MONTH
from migration.admin.base import (
    RUN_PERMISSION,
    AdminView,
    add_pages,
    get_signed_in_user,
    get_typed_reason,
    read_raw_form_text,
)
from migration.admin.run_starts import start_run
from migration.models.clients import all_clients, digest_clients
from migration.models.reasons import ReasonError
from migration.models.runs import Run
from migration.models.secrets import Secret
from migration.operations.deletions import schedule_deletion_for_deleted_clients
from migration.operations.secret_settings import describe_settings
from migration.operations.stored_looks import find_settings_drift
from nova_credentials.aws.kms_keys import AWS_KEY

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from migration.operations.stored_looks import SettingsDrift

# The page names so many clients; `apply_secret_settings --check` names all.
CLIENTS_SHOWN = 100
# So many are deleted at once: the page waits for AWS.
SECRETS_SHOWN = 20
# As for an offboarding, after which the secrets go too.
DELETE_PERMISSION = "migration.purge_client"


class SecretSettingsView(AdminView):
    """Shows, by what AWS last said, which clients' secrets differ; on POST, starts the run over these."""

    template_name = "admin/migration/secret_settings.html"
    is_of_site = True

    @property
    def title(self) -> str:
        return _("Key and regions of the secrets")

    def get(self, request: HttpRequest) -> HttpResponse:
        drift = find_settings_drift()
        replicas = settings.NOVA_REPLICA_REGIONS
        return self.render_to_response(
            self.get_context_data(
                drift=drift,
                number=len(drift.client_ids_to_look_at),
                clients=drift.clients[:CLIENTS_SHOWN],
                key=settings.NOVA_KMS_KEY_ID,
                replicas=None
                if replicas is None
                else [(region, key or AWS_KEY) for region, key in sorted(replicas.items())],
                dollars=SECRET_A_MONTH * abs(drift.net_new_replicas),
                seen=_describe_run(drift),
                deleted=Secret.objects.of_deleted_clients().order_by("name")[:SECRETS_SHOWN],
                may_delete=request.user.has_perm(DELETE_PERMISSION),
                input_classes=" ".join(BASE_INPUT_CLASSES),
                may_run=request.user.has_perm(RUN_PERMISSION),
                may_view_clients=request.user.has_perm("credentials.view_client"),
            )
        )

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        if names := request.POST.getlist("deleted"):
            return self._delete(request, names)
        if not request.user.has_perm(RUN_PERMISSION):
            raise PermissionDenied
        here = HttpResponseRedirect(request.path)
        drift = find_settings_drift()
        if read_raw_form_text(request, "seen") != _describe_run(drift):
            text = _(
                "Nothing was started: the settings or the clients are others than this page showed."
            )
            messages.error(request, text)
            return here
        chosen = all_clients().with_ids(drift.client_ids_to_look_at)
        if not chosen.exists():
            messages.info(request, _("Nothing was started: no secret differs."))
            return here
        return start_run(
            request, Run.Kind.SECRET_SETTINGS, chosen, secret_settings=describe_settings()
        )

    def _delete(self, request: HttpRequest, names: list[str]) -> HttpResponseRedirect:
        """Schedule the deletion of the secrets that the page showed."""
        if not request.user.has_perm(DELETE_PERMISSION):
            raise PermissionDenied
        try:
            done = schedule_deletion_for_deleted_clients(
                names=names[:SECRETS_SHOWN],
                reason=get_typed_reason(request),
                by=get_signed_in_user(request),
            )
        except ReasonError as error:
            messages.error(request, localize(error.message))
        else:
            for each in done:
                messages.info(request, localize(each))
        return HttpResponseRedirect(request.path)


def _describe_run(drift: SettingsDrift) -> str:
    """Return the settings and the clients as one text, by which a page that shows others is known."""
    settings_now = json.dumps(describe_settings(), sort_keys=True)
    return f"{settings_now} {digest_clients(drift.client_ids_to_look_at)}"


add_pages(
    "run",
    ("secret-settings/", "secret_settings", SecretSettingsView),
)
