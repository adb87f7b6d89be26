"""The client's secrets as AWS has them: read after its page is there, so that the page never waits for AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.shortcuts import render
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from credentials.localization import localize
from credentials.models import Client
from credentials.secret_names import find_name_problem
from migration.operations.aws_store import find_known_secrets, secret_names, secrets_manager
from migration.operations.keys import VersionKeys, version_keys
from nova_credentials.aws.secrets_manager import SecretsManagerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    from nova_credentials.aws.secrets_manager import SecretDescription

CURRENT = "AWSCURRENT"


def urls(model_admin: Any) -> list[URLPattern]:
    @require_safe
    def versions(request: HttpRequest, client_id: int) -> HttpResponse:
        if not model_admin.has_view_permission(request):
            raise PermissionDenied
        client = Client.objects.filter(pk=client_id).first()
        if client is None:
            raise Http404
        context = {"client": client, "secrets": list(_secrets(client.slug))}
        if request.headers.get("HX-Request"):
            return render(request, "admin/migration/client_versions.html", context)
        context |= model_admin.admin_site.each_context(request)
        context |= {
            "named": True,
            "title": _("Secrets of %(name)s") % {"name": client.name},
            "model_admin": model_admin,
        }
        return render(request, "admin/migration/client_versions_page.html", context)

    view = model_admin.admin_site.admin_view
    name = "credentials_client_versions"
    return [path("<int:client_id>/versions/", view(versions), name=name)]


def console_url(name: str) -> str:
    """Where the secret is in the AWS console, of the region and the partition that the settings name."""
    region = settings.AWS_REGION
    host = f"{region}.console.aws.amazon.com"
    if region.startswith("cn-"):
        host = "console.amazonaws.cn"
    elif region.startswith("us-gov-"):
        host = "console.amazonaws-us-gov.com"
    query = urlencode({"name": name, "region": region})
    return f"https://{host}/secretsmanager/secret?{query}"


def _secrets(slug: str) -> Iterator[dict[str, Any]]:
    if find_name_problem(slug):
        return
    names = list(secret_names(slug).values())
    known, keys = find_known_secrets(names), version_keys()
    for name in names:
        found: dict[str, Any] = {"name": name}
        try:
            description = secrets_manager(interactive=True).describe_secret(name)
        except SecretsManagerError as error:
            found |= {"missing": error.not_found, "error": localize(error.message)}
        else:
            pushed = known[name].version_id if name in known else ""
            found |= {
                "description": description,
                "versions": list(_versions(description, pushed, keys)),
            }
        yield found


def _versions(
    description: SecretDescription, pushed: str, keys: VersionKeys
) -> Iterator[dict[str, Any]]:
    """The current one first; those without a stage are on their way out, and left out."""
    staged = [(pk, stages) for pk, stages in description.versions.items() if stages]
    for pk, stages in sorted(staged, key=lambda version: CURRENT not in version[1]):
        yield {
            "id": pk,
            "stages": stages,
            "ours": keys.is_ours(description.name, pk),
            "pushed": pk == pushed,
        }
