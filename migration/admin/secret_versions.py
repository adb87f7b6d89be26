"""A client's versions in AWS, which are read after its page is shown; one is restored, a stage is taken off."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from credentials.sentences import ROWS
from migration.admin.base import (
    RESOLVE_PERMISSION,
    RUN_PERMISSION,
    ClientView,
    get_signed_in_user,
    get_typed_reason,
    read_raw_form_text,
)
from migration.models.clients import all_clients
from migration.models.known_values import KnownValue
from migration.models.permissions import VIEW_RUNS
from migration.models.reasons import ReasonError
from migration.operations.keys import fingerprint_key_id
from migration.operations.listed_versions import list_secrets
from migration.operations.pending_stages import take_unneeded_pending_off
from migration.operations.resolutions import NotResolved
from migration.operations.restored_versions import plan_restore, restore_version
from migration.operations.version_logins import UnprovenLoginsError, shorten
from nova_credentials.credential_types import CredentialType
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

# More are on the page of their own.
SHOWN_IN_TAB = 6


class SecretVersionsView(ClientView):
    """The versions of the client's secrets: a part of its page for htmx, a page of their own for a link."""

    template_name = "admin/migration/client_versions_page.html"

    @property
    def title(self) -> str:
        return _("Secrets of %(name)s") % {"name": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        client = self.client
        may_restore = request.user.has_perm(RESOLVE_PERMISSION)
        phase = all_clients().with_phase().values_list("phase", flat=True).get(pk=client.pk)
        context = {
            "client": client,
            "secrets": list(list_secrets(client)),
            "values": describe_known_values(client_id),
            "may_view_runs": request.user.has_perm(VIEW_RUNS)
            or request.user.has_perm(RUN_PERMISSION),
            "may_run": request.user.has_perm(RUN_PERMISSION),
            "may_take_off": may_restore,
            "may_restore": may_restore and phase != Phase.POSTGRES,
        }
        if request.headers.get("HX-Request"):
            self.template_name = "admin/migration/client_versions.html"
            return self.render_to_response({**context, "most": SHOWN_IN_TAB})
        return self.render_to_response(self.get_context_data(**context, shows_names=True))


class RestoreVersionView(ClientView):
    """Shows by codes what a former version would change, and restores it once a reason is given and its logins work."""

    template_name = "admin/migration/restore_version.html"
    permission_required = RESOLVE_PERMISSION

    @property
    def title(self) -> str:
        return _("Restore a former version: %(client)s") % {"client": self.client.name}

    @property
    def name_and_version(self) -> dict[str, str]:
        """Return `name` and `version_id` as the address has them, unchecked; "" for one that it lacks."""
        asked = self.request.GET
        return {key: asked.get(key, "") for key in ("name", "version_id")}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        return self._show()

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        here = HttpResponseRedirect(request.get_full_path())
        reason = get_typed_reason(request)
        if not reason:
            messages.error(request, _("Nothing was restored: give a reason or a ticket."))
            return here
        try:
            restored = restore_version(
                client_id=self.client.pk,
                **self.name_and_version,
                seen=read_raw_form_text(request, "seen"),
                reason=reason,
                by=get_signed_in_user(request),
                accepted_digest=read_raw_form_text(request, "unproven"),
            )
        except UnprovenLoginsError as refusal:
            return self._show(unproven=refusal, reason=reason)
        except (NotResolved, ReasonError) as refusal:
            messages.error(request, localize(refusal.message))
            return here
        messages.success(request, localize(restored.message))
        return HttpResponseRedirect(_get_versions_url(self.client.pk))

    def _show(self, **more: object) -> HttpResponse:
        may_view = self.request.user.has_perm("migration.view_comparison")
        context = self.get_context_data(
            **more,
            name=self.name_and_version["name"],
            version=shorten(self.name_and_version["version_id"]),
            back=_get_versions_url(self.client.pk),
            input_classes=" ".join(BASE_INPUT_CLASSES),
            may_view_comparisons=may_view,
        )
        try:
            context["plan"] = plan_restore(self.client.pk, **self.name_and_version)
        except NotResolved as refusal:
            context["why_not"] = refusal.message
        return self.render_to_response(context)


class TakePendingOffView(ClientView):
    """Takes AWSPENDING off a version that an interrupted write left."""

    permission_required = RESOLVE_PERMISSION

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        try:
            done = take_unneeded_pending_off(
                client_id=self.client.pk,
                name=read_raw_form_text(request, "name"),
                version_id=read_raw_form_text(request, "version_id"),
                by=get_signed_in_user(request),
            )
        except NotResolved as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, localize(done))
        return HttpResponseRedirect(_get_versions_url(self.client.pk))


def _get_versions_url(client_id: int) -> str:
    return reverse("admin:credentials_client_versions", args=[client_id])


def describe_known_values(client_id: int) -> list[dict[str, object]]:
    """Return what is known of the value of each of the client's credentials, in words."""
    in_doubt = KnownValue.objects.list_present_maybe_former(client_id, key_id=fingerprint_key_id())
    return [
        {
            "login": localize(ROWS[CredentialType(value.kind)](id=str(value.credential_id))),
            "since": value.since,
            "places": _describe_places(value),
            "is_to_rotate": value.is_to_rotate,
            "is_in_doubt": value in in_doubt,
        }
        for value in KnownValue.objects.list_present(client_id)
    ]


def _describe_places(value: KnownValue) -> list[str]:
    """Return where the value is or was in clear, then that it is to be rotated if the tables lack it now."""
    found = []
    if value.stands_in_tables:
        found.append(_("stands in the credential tables"))
    elif value.stood_in_tables:
        found.append(_("stood in the credential tables"))
    if value.stood_in_copy:
        found.append(_("a copy was found elsewhere in NOVA's database"))
    if value.stood_in_legacy:
        found.append(_("was found in NOVA's legacy table"))
    if not found:
        return [_("never stood in plain text, as far as this site has seen")]
    if not value.stands_in_tables:
        found.append(_("to be rotated"))
    return found


def get_console_url(name: str) -> str:
    """Return the secret's address in the AWS console of the configured region and partition."""
    region = settings.AWS_REGION
    host = f"{region}.console.aws.amazon.com"
    if region.startswith("cn-"):
        host = "console.amazonaws.cn"
    elif region.startswith("us-gov-"):
        host = "console.amazonaws-us-gov.com"
    query = urlencode({"name": name, "region": region})
    return f"https://{host}/secretsmanager/secret?{query}"
