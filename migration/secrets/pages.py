"""The pages of the versions of a client's secrets, and the site's page of their key and regions."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from credentials.models import CREDENTIAL_MODELS, NAMED_ROWS, ROW_NAMES
from migration.core.audit import ReasonError
from migration.core.clients import VIEW_CLIENTS, VIEW_RUNS, all_clients
from migration.core.keys import fingerprint_key_id
from migration.core.pages import (
    RESOLVE_PERMISSION,
    RUN_PERMISSION,
    AdminView,
    ClientListFilter,
    ClientView,
    add_pages,
    get_act_url,
    get_signed_in_user,
    get_typed_reason,
    read_raw_form_text,
)
from migration.core.secrets import Secret, client_has_settings_drift
from migration.pushes.models import KnownValue
from migration.pushes.resolutions import NotResolved
from migration.runs.acts import ACTS
from migration.secrets.acts import ApplySecretSettings, sum_up_drift
from migration.secrets.deletions import schedule_deletion_for_deleted_clients
from migration.secrets.settings import find_settings_drift
from migration.secrets.versions import (
    UnprovenLoginsError,
    list_secrets,
    plan_restore,
    restore_version,
    shorten,
    take_unneeded_pending_off,
)
from nova_credentials.aws.kms_keys import AWS_KEY
from nova_credentials.credential_types import CredentialType
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name

# More versions are on the page of their own.
SHOWN_IN_TAB = 6
# The page of the settings names so many clients; `apply_secret_settings --check` names all.
CLIENTS_SHOWN = 100
# So many secrets of deleted clients go at once: the page waits for AWS.
SECRETS_SHOWN = 20
# To delete them is as an offboarding, after which the secrets go too.
DELETE_PERMISSION = "migration.purge_client"


class SecretVersionsView(ClientView):
    """The versions of the client's secrets: a part of its page for htmx, a page of their own for a link."""

    template_name = "admin/migration/client_versions_page.html"

    @property
    def title(self) -> str:
        return gettext("Secrets of %(name)s") % {"name": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        client = self.client
        may_restore = request.user.has_perm(RESOLVE_PERMISSION)
        phase = all_clients().with_phase().values_list("phase", flat=True).get(pk=client.pk)
        context = {
            "client": client,
            "secrets": list(list_secrets(client)),
            "values": (values := describe_known_values(client_id)),
            "opens_values": any(value["is_to_rotate"] for value in values),
            "has_values_in_tables": any(value["is_in_tables"] for value in values),
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
        return gettext("Restore a former version: %(client)s") % {"client": self.client.name}

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
            messages.error(request, gettext("Nothing was restored: give a reason or a ticket."))
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
            return self._show(refused=refusal.message, reason=reason)
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
            context |= {"why_not": refusal.message, "refused": None}
        return self.render_to_response(context)


class TakePendingOffView(ClientView):
    """Says what it is to take AWSPENDING off a version that an interrupted write left, and does it on its button."""

    template_name = "admin/migration/take_pending_off.html"
    permission_required = RESOLVE_PERMISSION

    @property
    def title(self) -> str:
        return gettext("Remove AWSPENDING: %(client)s") % {"client": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        context = self.get_context_data(
            name=request.GET.get("name", ""),
            version_id=request.GET.get("version_id", ""),
            back=_get_versions_url(self.client.pk),
        )
        return self.render_to_response(context)

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
    known = list(KnownValue.objects.list_present(client_id))
    names = {
        (kind.value, pk): row.short_name
        for kind in {CredentialType(value.kind) for value in known}
        for pk, row in CREDENTIAL_MODELS[kind]
        ._default_manager.in_bulk([value.credential_id for value in known if value.kind == kind])
        .items()
    }
    return [
        {
            "login": _name_row(value, names.get((value.kind, value.credential_id), "")),
            "since": value.since,
            "places": _describe_places(value),
            "is_to_rotate": value.is_to_rotate,
            "is_in_tables": value.stands_in_tables,
            "is_in_doubt": value in in_doubt,
        }
        for value in known
    ]


def _name_row(value: KnownValue, name: str) -> str:
    """Name the row, one that is gone by its id."""
    kind = CredentialType(value.kind)
    if name:
        return localize(NAMED_ROWS[kind](name=escape_name(name)))
    return localize(ROW_NAMES[kind](id=str(value.credential_id)))


def _describe_places(value: KnownValue) -> list[str]:
    """Return where the value is or was in clear, then that it is to be rotated if the tables lack it now."""
    found = []
    if value.stands_in_tables:
        found.append(gettext("still in NOVA's tables"))
    elif value.stood_in_tables:
        found.append(gettext("was in NOVA's tables"))
    if value.stood_in_copy:
        found.append(gettext("a copy was found elsewhere in NOVA's database"))
    if value.stood_in_legacy:
        found.append(gettext("was found in NOVA's legacy table"))
    if not found:
        return [gettext("never stood in plain text, as far as this site has seen")]
    if not value.stands_in_tables:
        found.append(gettext("to be rotated"))
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


class SettingsFilter(ClientListFilter):
    """Filters by whether tags, description, KMS key and replicas of a client's secrets are as the settings say."""

    title = _("key and regions")
    parameter_name = "settings"
    options: ClassVar = [("differ", _("Differ from the settings"))]

    def find_condition(self, value: str) -> Q | None:
        return client_has_settings_drift() if value == "differ" else None


class SecretSettingsView(AdminView):
    """Shows, by what AWS last said, which clients' secrets differ, and leads to the page of the act over these."""

    template_name = "admin/migration/secret_settings.html"
    is_of_site = True

    @property
    def title(self) -> str:
        return gettext("Key and regions")

    def get(self, request: HttpRequest) -> HttpResponse:
        drift = find_settings_drift()
        replicas = settings.NOVA_REPLICA_REGIONS
        ids = sorted(drift.client_ids_to_look_at)
        may_act = ACTS[ApplySecretSettings.code].may(request.user)
        return self.render_to_response(
            self.get_context_data(
                drift=drift,
                number=len(ids),
                wants_change=bool(drift.clients),
                sums=sum_up_drift(drift),
                clients=drift.clients[:CLIENTS_SHOWN],
                key=settings.NOVA_KMS_KEY_ID,
                replicas=None
                if replicas is None
                else [(region, key or AWS_KEY) for region, key in sorted(replicas.items())],
                ids=" ".join(map(str, ids)),
                act_url=get_act_url(ApplySecretSettings.code, (), back=request.path),
                deleted=Secret.objects.of_deleted_clients().order_by("name")[:SECRETS_SHOWN],
                may_delete=request.user.has_perm(DELETE_PERMISSION),
                input_classes=" ".join(BASE_INPUT_CLASSES),
                may_act=may_act and request.user.has_perm(VIEW_CLIENTS),
                may_view_clients=request.user.has_perm("credentials.view_client"),
            )
        )

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        """Schedule the deletion of the secrets that the page showed."""
        if not request.user.has_perm(DELETE_PERMISSION):
            raise PermissionDenied
        try:
            done = schedule_deletion_for_deleted_clients(
                names=request.POST.getlist("deleted")[:SECRETS_SHOWN],
                reason=get_typed_reason(request),
                by=get_signed_in_user(request),
            )
        except ReasonError as error:
            messages.error(request, localize(error.message))
        else:
            for each in done:
                messages.info(request, localize(each))
        return HttpResponseRedirect(request.path)


add_pages(
    "run",
    ("secret-settings/", "secret_settings", SecretSettingsView),
)
