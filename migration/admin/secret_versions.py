"""The client's secrets as AWS has them. They are read after the client's page is shown, which never waits for AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.conf import settings
from django.utils.translation import gettext as _

from credentials.localization import localize
from credentials.secret_names import find_name_problem
from migration.admin.base import RUN_PERMISSION, ClientView
from migration.models import ClientMigration, find_layout, find_other_layout
from migration.operations.aws_store import find_known_secrets, secret_names, secrets_manager
from migration.operations.keys import VersionKeys, version_keys
from nova_credentials.aws.secrets_manager import SecretsManagerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest, HttpResponse

    from credentials.models import Client
    from nova_credentials.aws.secrets_manager import SecretDescription

CURRENT = "AWSCURRENT"


class SecretVersionsView(ClientView):
    """The versions of the client's secrets: a part of its page for htmx, a page of their own for a link."""

    template_name = "admin/migration/client_versions_page.html"

    @property
    def title(self) -> str:
        return _("Secrets of %(name)s") % {"name": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        context = {
            "client": self.client,
            "secrets": list(describe_secrets(self.client)),
            "may_run": request.user.has_perm(RUN_PERMISSION),
        }
        if request.headers.get("HX-Request"):
            self.template_name = "admin/migration/client_versions.html"
            return self.render_to_response(context)
        return self.render_to_response(self.get_context_data(**context, shows_names=True))


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


def describe_secrets(client: Client) -> Iterator[dict[str, object]]:
    """Yield each secret of the client with its versions, or why they can't be read. Reads AWS."""
    own = ClientMigration.objects.filter(pk=client.pk).first() or ClientMigration()
    if find_name_problem(client.slug, find_layout(own.layout)):
        return
    names = list(secret_names(client.slug, own.layout).values())
    if own.other_secrets:
        other = find_other_layout(find_layout(own.layout))
        names += secret_names(client.slug, other).values()
    known, keys = find_known_secrets(names), version_keys()
    for name in names:
        found: dict[str, object] = {"name": name}
        try:
            description = secrets_manager(interactive=True).describe_secret(name)
        except SecretsManagerError as error:
            found |= {"missing": error.not_found, "error": localize(error.message)}
        else:
            pushed = known[name].version_id if name in known else ""
            found |= {
                "description": description,
                "versions": list(_describe_versions(description, pushed, keys)),
            }
        yield found


def _describe_versions(
    description: SecretDescription, pushed: str, keys: VersionKeys
) -> Iterator[dict[str, object]]:
    """Yield the versions, the current one first. AWS will delete those without a stage: they are left out."""
    staged = [(pk, stages) for pk, stages in description.versions.items() if stages]
    for pk, stages in sorted(staged, key=lambda version: CURRENT not in version[1]):
        yield {
            "id": pk,
            "stages": stages,
            "ours": keys.is_ours(description.name, pk),
            "pushed": pk == pushed,
        }
